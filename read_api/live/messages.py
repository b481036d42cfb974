"""Messages of graphql-transport-ws as its protocol page has them, read strictly and written as text.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

from enum import IntEnum
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from read_api.json_reasons import reason

PROTOCOL = "graphql-transport-ws"
"""The name of the subprotocol. The legacy ``graphql-ws`` is another protocol and is not spoken."""

OPERATION_ID_LENGTH_MAX = 1024
"""Characters of an operation's id: it is sent with every result."""

REASON_BYTES_MAX = 123
"""RFC 6455, section 5.5: a control frame holds 125 bytes, two of which are the close code."""


class CloseCode(IntEnum):
    """Why the server closed the socket.

    Those of the protocol page come first; a client of the reference library does not connect again after 4400, 4401,
    4406, 4409, 4429 and 4500, and does so after the others.
    """

    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406
    INITIALISATION_TIMEOUT = 4408
    SUBSCRIBER_EXISTS = 4409
    TOO_MANY_INITIALISATIONS = 4429
    INTERNAL_ERROR = 4500
    """As in the reference implementation."""
    MESSAGE_TOO_BIG = 1009
    """RFC 6455, as the next."""
    TRY_AGAIN_LATER = 1013
    TOO_SLOW = 4290
    """Ours: the client did not read as fast as it was sent to. Connect again and resume from the last cursors."""
    SILENT = 4291
    """Ours: a ping was not answered in time."""


class InvalidMessage(Exception):
    """A message that the protocol does not know, with the reason for the client."""


class ConnectionInit(Struct, frozen=True, tag_field="type", tag="connection_init"):
    """The client wants to begin."""

    payload: dict[str, Any] | None = None


class Ping(Struct, frozen=True, tag_field="type", tag="ping"):
    """Are you there? ``payload`` comes back in the pong, as it is."""

    payload: Raw | UnsetType = UNSET


class Pong(Struct, frozen=True, tag_field="type", tag="pong"):
    """I am here, asked or not."""

    payload: dict[str, Any] | None = None


class SubscribePayload(Struct, frozen=True):
    """An operation of any kind: query, mutation or subscription."""

    query: str
    variables: dict[str, Any] | None = None
    operationName: str | None = None  # noqa: N815 - the protocol's spelling
    extensions: dict[str, Any] | None = None


class Subscribe(Struct, frozen=True, tag_field="type", tag="subscribe"):
    """The client asks for an operation."""

    id: Annotated[str, Meta(min_length=1, max_length=OPERATION_ID_LENGTH_MAX)]
    payload: SubscribePayload


class Complete(Struct, frozen=True, tag_field="type", tag="complete"):
    """The client has no more interest in an operation."""

    id: Annotated[str, Meta(min_length=1)]


Message = ConnectionInit | Ping | Pong | Subscribe | Complete

_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_object: msgspec.json.Decoder[dict[str, Any] | None] = msgspec.json.Decoder(dict[str, Any] | None)


def parsed(text: str) -> Message:
    """The message in a text frame. Raises ``InvalidMessage``."""
    try:
        message = _decoder.decode(text)
        if isinstance(message, Ping) and not isinstance(message.payload, UnsetType):
            _object.decode(message.payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidMessage(f"Invalid message: {reason(error, text.encode('utf-8', 'replace'))}") from None
    return message


CONNECTION_ACK = '{"type":"connection_ack"}'
PING = '{"type":"ping"}'


def pong(ping: Ping) -> str:
    """The answer to a ping, with its payload."""
    if isinstance(ping.payload, UnsetType):
        return '{"type":"pong"}'
    return f'{{"type":"pong","payload":{bytes(ping.payload).decode()}}}'


def json_text(value: object) -> str:
    """Compact JSON. Text, because bytes would leave as a binary frame, which the protocol does not have."""
    return orjson.dumps(value).decode()


def quoted(operation_id: str) -> str:
    """An id as JSON, made once for all messages of its operation."""
    return json_text(operation_id)


def next_message(quoted_id: str, payload: str) -> str:
    """A result; ``payload`` is JSON already, the same text for everybody who made the same selection."""
    return f'{{"id":{quoted_id},"type":"next","payload":{payload}}}'


def error_message(quoted_id: str, errors: list[dict[str, Any]]) -> str:
    """The end of an operation that failed; nothing of it follows."""
    return f'{{"id":{quoted_id},"type":"error","payload":{json_text(errors)}}}'


def complete_message(quoted_id: str) -> str:
    """The end of an operation."""
    return f'{{"id":{quoted_id},"type":"complete"}}'


def clipped(reason: str) -> str:
    """A close reason that fits, cut between characters."""
    raw = reason.encode("utf-8", "replace")
    return reason if len(raw) <= REASON_BYTES_MAX else raw[:REASON_BYTES_MAX].decode("utf-8", "ignore")
