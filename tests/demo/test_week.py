"""The demo's week, played over the store in memory."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

from domain import snowflake
from domain.account import AccountRegistered
from domain.ballot import VoteCast
from domain.comment import CommentSubmitted
from domain.follow import AccountFollowed
from domain.limits import Limits
from domain.message import MessageEdited, MessageSent
from domain.post import PostSubmitted
from domain.reaction import ReactionAdded
from domain.server_member import RoleGranted, ServerJoined
from infra.event_store import GroupCommitStore, memory_store
from schemas.envelope import Recorded
from streams.demo.week import SPAN, Size, Week

NOW = datetime(2026, 1, 8, tzinfo=UTC)
SMALL = Size(people=60, posts=60, comments=300, votes=1_200, follows=200, joins=100, chats=360)


async def played(store: GroupCommitStore, until: datetime = NOW) -> list[Recorded]:
    week = Week(store, name_key=bytes(32), limits=Limits(), until=until, size=SMALL)
    seen: list[int] = []
    await week.play(seen.append)
    assert seen == sorted(seen)
    assert seen[-1] <= week.total + len(seen)
    return list(await store.read(0, 100_000))


def test_a_week_is_lively() -> None:
    log = asyncio.run(played(memory_store()))
    kinds = Counter(type(recorded.event) for recorded in log)
    assert kinds[AccountRegistered] == 60
    assert kinds[PostSubmitted] >= 50
    assert kinds[VoteCast] >= 900
    depths = Counter(recorded.event.depth for recorded in log if isinstance(recorded.event, CommentSubmitted))
    assert depths[3] >= 10
    followers = Counter(recorded.event.followed_id for recorded in log if isinstance(recorded.event, AccountFollowed))
    ranked = [number for _, number in followers.most_common()]
    assert ranked[0] > 4 * ranked[len(ranked) // 2], "few should have most followers"
    votes = Counter(recorded.event.target_id for recorded in log if isinstance(recorded.event, VoteCast))
    ranked = [number for _, number in votes.most_common()]
    assert ranked[0] > 5 * ranked[len(ranked) // 2], "few should have most votes"


def test_they_chat() -> None:
    log = asyncio.run(played(memory_store()))
    sent = [recorded.event for recorded in log if isinstance(recorded.event, MessageSent)]
    assert len(sent) > 200
    assert len({event.channel_id for event in sent}) == 4
    assert len([event for event in sent if event.reply_to_id]) > 20
    assert len([event for event in sent if event.mentions]) > 10
    kinds = Counter(type(recorded.event) for recorded in log)
    assert kinds[ServerJoined] == 40
    assert kinds[RoleGranted] == 3
    assert kinds[ReactionAdded] > 20
    assert kinds[MessageEdited] > 3
    ids = [snowflake.of_id(event.message_id) for event in sent]
    assert max(map(snowflake.milliseconds, ids)) <= int(1000 * NOW.timestamp())


def test_it_happened_in_the_past_week_and_replies_come_after_what_they_answer() -> None:
    log = asyncio.run(played(memory_store()))
    times = {recorded.stream_id: recorded.occurred_at for recorded in reversed(log)}
    assert min(times.values()) == NOW - SPAN
    assert max(times.values()) <= NOW + timedelta(seconds=1)
    for recorded in log:
        if isinstance(recorded.event, CommentSubmitted):
            above = recorded.event.parent_id or recorded.event.post_id
            assert times[above] <= recorded.occurred_at


def test_playing_it_again_changes_nothing() -> None:
    async def twice() -> tuple[int, int]:
        store = memory_store()
        first = len(await played(store))
        return first, len(await played(store, NOW + timedelta(hours=3)))

    first, second = asyncio.run(twice())
    assert first == second
