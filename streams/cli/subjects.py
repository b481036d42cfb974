"""What a person types to name a stream, an id or a kind and a name; and to name views."""

from collections.abc import Sequence
from uuid import UUID

import psycopg

from domain import snowflake
from domain.event import Id
from domain.name import NameClaimed, claim_id
from infra.event_store import GroupCommitStore
from infra.failures import Failure
from projections.catalogue import ALL
from projections.core import Projection

_NAMED = {
    "account": "SELECT account_id::text FROM views.profiles WHERE lower(name) = lower(%s)",
    "community": "SELECT community_id::text FROM views.communities WHERE lower(name) = lower(%s)",
}
_KINDS = ("account", "community", "post", "comment", "server", "channel", "conversation", "message", "stream")


class NoSuchSubject(Failure):
    """Nothing in the log goes by what was typed."""


class NoSuchProjection(Failure):
    """A name that no projection has."""


def find_views(names: Sequence[str]) -> list[Projection]:
    """The projections with these names, each once. Raises ``NoSuchProjection``."""
    if unknown := [name for name in names if name not in ALL]:
        raise NoSuchProjection(
            f"There is no projection called {', '.join(unknown)}.",
            f"There are: {', '.join(ALL)}.",
            "moot projections list",
        )
    return [ALL[name] for name in dict.fromkeys(names)]


def find_subject(text: str, store: GroupCommitStore, database_url: str, name_key: bytes) -> Id:
    """The stream id behind ``KIND:NAME``, ``KIND:ID`` or an id, the API's own or a UUID. Raises ``NoSuchSubject``."""
    kind, separator, rest = text.partition(":")
    if separator and kind not in _KINDS:
        raise NoSuchSubject(
            f"{kind!r} is no kind of stream.", f"The kinds are {', '.join(_KINDS)}.", "For example: account:ada"
        )
    name = rest if separator else text
    found = _message(name) if kind == "message" else None
    found = found or _id(name)
    if found is None and kind in _NAMED and separator:
        found = _holder(kind, name, store, name_key) or _viewed(kind, name, database_url)
    if found is None:
        raise NoSuchSubject(
            f"{text!r} names nothing here.",
            "It is no id that the API gave out, no UUID, no message:SNOWFLAKE, and no account:NAME or community:NAME "
            "of one there is.",
            "Copy an id from an answer of the API, or look one up: moot events tail",
        )
    return found


def _message(text: str) -> Id | None:
    """The message of that Snowflake in decimal."""
    digits = text.isascii() and text.isdigit() and len(text) < 20
    return snowflake.as_id(int(text)) if digits and int(text) < 1 << snowflake.BITS else None


def _id(text: str) -> Id | None:
    try:
        return Id(str(UUID(text)))
    except ValueError:
        pass
    # All of GraphQL comes with these, and most commands name nothing by an id of the API.
    from read_api.errors import BadInput  # noqa: PLC0415
    from read_api.ids import parse_id  # noqa: PLC0415

    try:
        return parse_id(text)[1]
    except BadInput:
        return None


def _holder(kind: str, name: str, store: GroupCommitStore, name_key: bytes) -> Id | None:
    """Who claimed the name: exact, and as new as the log."""
    stream_id = claim_id("account" if kind == "account" else "community", name, name_key)
    claims = [recorded.event for recorded in store.load_sync([stream_id])[stream_id]]
    holders = [event.holder_id for event in claims if isinstance(event, NameClaimed)]
    return holders[-1] if holders else None


def _viewed(kind: str, name: str, database_url: str) -> Id | None:
    """Who is shown under the name; what an archive brought claims none."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(_NAMED[kind], (name,)).fetchone()
    return Id(row[0]) if row else None
