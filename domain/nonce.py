"""A nonce: the client's own word for one message, so that sending it again finds the message that there is.

The id of a message grows with time, so it cannot be derived from the client's key: this stream is, and says which one
was sent.
"""

from domain.event import Event, Id


class NonceUsed(Event, frozen=True):
    """The message was sent under this nonce."""

    message_id: Id
    channel_id: Id
    author_id: Id
