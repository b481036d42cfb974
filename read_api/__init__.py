"""The GraphQL API over HTTP and WebSocket, and signing in."""
