"""A small site for the tests of queries: events folded by the real projections into a real PostgreSQL.

It keeps every event, so that a test can say, in plain Python, what was true as of any position.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from domain.account import AccountRegistered
from domain.ballot import Target, Value, VoteCast
from domain.comment import CommentDeleted, CommentSubmitted, segment
from domain.community import CommunityCreated, Visibility
from domain.event import Event, Id
from domain.ids import ballot_id, derived
from domain.membership import MemberJoined
from domain.post import PostDeleted, PostImported, PostSubmitted
from infra import migrate
from infra.postgres import connect, connect_async
from infra.queries.rows import Connection
from infra.rows import create_missing, transaction
from infra.tables import Table
from projections.catalogue import ALL
from projections.stepping import step
from schemas.envelope import Metadata, Recorded

T = TypeVar("T")
NOW = datetime(2026, 3, 14, 12, 0, 0, tzinfo=UTC)


def ident(kind: str, number: int | str) -> Id:
    """The id of a thing of a test."""
    return derived("test", kind, str(number))


class Site:
    """What happened so far; ``fold`` brings the views up to it."""

    def __init__(self, conninfo: str) -> None:
        migrate.migrate(conninfo)
        self.conninfo = conninfo
        self.log: list[Recorded] = []
        self._folded = dict.fromkeys(ALL, 0)
        self._tables = {name: Table(projection) for name, projection in ALL.items()}
        self._ballots: dict[Id, Value] = {}
        self._paths: dict[Id, bytes] = {}
        self._connection = connect(conninfo)
        create_missing(self._connection, list(ALL.values()))

    def close(self) -> None:
        self._connection.close()

    @property
    def position(self) -> int:
        return len(self.log)

    def happen(self, event: Event, at: datetime = NOW) -> Id:
        stream = ident("stream", len(self.log))
        meta = Metadata(stream, stream, None, None, at, at)
        self.log.append(Recorded(len(self.log) + 1, stream, 1, event, msgspec.json.encode(meta)))
        return stream

    def fold(self, *, without: str | None = None) -> None:
        """Bring all views up to what happened, but for one that stays behind."""
        with transaction(self._connection, self._tables) as opened:
            for name, projection in ALL.items():
                if name != without:
                    behind = self._folded[name]
                    step(projection, self.log[behind:], opened.rows(name), expected=behind, to=len(self.log))
                    self._folded[name] = len(self.log)

    def ask(self, question: Callable[[Connection], Awaitable[T]]) -> Awaitable[T]:
        """The answer to a query, over a connection of its own."""

        async def asked() -> T:
            async with await connect_async(self.conninfo) as connection:
                return await question(connection)

        return asked()

    def account(self, number: int | str, at: datetime = NOW) -> Id:
        account_id = ident("account", number)
        self.happen(AccountRegistered(account_id, f"Name{number}", f"Display {number}"), at)
        return account_id

    def community(self, number: int | str, creator_id: Id, visibility: Visibility = "public") -> Id:
        community_id = ident("community", number)
        self.happen(CommunityCreated(community_id, creator_id, f"Place{number}", "A title", "", visibility, True))
        self.happen(MemberJoined(community_id, creator_id))
        return community_id

    def post(
        self, number: int | str, community_id: Id, author_id: Id, at: datetime = NOW, *, anonymous: bool = False
    ) -> Id:
        post_id = ident("post", number)
        self.happen(
            PostSubmitted(post_id, community_id, author_id, anonymous, "text", f"Title {number}", "Body", None), at
        )
        return post_id

    def imported_post(
        self, number: int | str, community_id: Id, author_id: Id | None, at: datetime, up: int, down: int
    ) -> Id:
        post_id = ident("post", number)
        self.happen(
            PostImported(
                post_id, community_id, author_id, "text", f"Title {number}", "Body", None, None,
                up, down, False, False, False, f"t3_{number}",
            ),
            at,
        )  # fmt: skip
        return post_id

    def delete_post(self, post_id: Id, community_id: Id, author_id: Id) -> None:
        self.happen(PostDeleted(post_id, community_id, author_id, author_id))

    def comment(
        self,
        number: int | str,
        post_id: Id,
        community_id: Id,
        author_id: Id,
        parent_id: Id | None = None,
        at: datetime = NOW,
        replied_to_id: Id | None = None,
    ) -> Id:
        comment_id = ident("comment", number)
        path = self._paths.get(parent_id, b"") if parent_id else b""
        path += segment(comment_id, at)
        self._paths[comment_id] = path
        self.happen(
            CommentSubmitted(
                comment_id, post_id, community_id, author_id, parent_id, replied_to_id, path, len(path) // 10,
                f"Comment {number}",
            ),
            at,
        )  # fmt: skip
        return comment_id

    def delete_comment(self, comment_id: Id, post_id: Id, community_id: Id, author_id: Id) -> None:
        self.happen(CommentDeleted(comment_id, post_id, community_id, author_id, author_id))

    def vote(
        self,
        voter_id: Id,
        target_id: Id,
        value: Value,
        *,
        post_id: Id,
        community_id: Id,
        author_id: Id | None,
        target: Target = "post",
        at: datetime = NOW,
    ) -> None:
        ballot = ballot_id(voter_id, target_id)
        previous = self._ballots.get(ballot, 0)
        if previous != value:
            self._ballots[ballot] = value
            self.happen(VoteCast(voter_id, target_id, target, post_id, community_id, author_id, previous, value), at)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)
