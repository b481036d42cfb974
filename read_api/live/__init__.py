"""Live updates: topics read once for all who watch them, rendered once per selection, sent over graphql-transport-ws."""
