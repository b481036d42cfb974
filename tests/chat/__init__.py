"""The chat in the terminal, without an API: its texts, what it knows of a channel, what it shows."""
