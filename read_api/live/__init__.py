"""Live updates: topics read once for all who watch, rendered once per selection, sent as graphql-transport-ws."""
