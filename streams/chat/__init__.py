"""A chat in the terminal: a client of the public API like any other, over one WebSocket.

``wire`` speaks graphql-transport-ws, ``places`` finds or makes servers and channels, ``room`` is what is known of one
channel, ``talk`` keeps it up to date and carries out what is typed, ``screen`` and ``plain`` show it.
"""
