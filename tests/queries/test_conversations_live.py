"""Whom a change in a conversation wakes, and what he is told of, where views are folded partition by partition."""

import asyncio
from collections.abc import Sequence
from itertools import permutations

import pytest

from domain import snowflake
from domain.block import AccountBlocked, AccountUnblocked
from domain.conversation import (
    DirectOpened,
    GroupCreated,
    GroupHandedOver,
    GroupJoined,
    GroupLeft,
    GroupMemberRemoved,
    GroupRenamed,
)
from domain.event import Event, Id
from domain.message import MessageSent
from domain.read_marker import MarkerMoved
from infra.conversation_signals import concerned
from infra.postgres import pool
from infra.queries.conversations import company, stamps
from infra.rows import transaction
from infra.signals import MemorySignals
from infra.tables import Table
from projections.catalogue import ALL
from projections.core import touched_keys
from projections.stepping import fold_into
from read_api.live.conversations import ConversationSceneLimits, ConversationsScene
from read_api.live.following import NOW, Follower, FollowLimits
from read_api.live.registry import Topics
from read_api.live.topics import Event as Told
from schemas.envelope import Recorded
from streams.announcing import to_wake
from tests.queries.site import Site, ident

HERE, THERE, ADA, BOB, CAT, EVE = (ident("talk", n) for n in range(6))
VIEWS = ("conversations", "conversation_members", "channel_activity", "read_markers", "blocks")


def sent(where: Id, number: int, server: Id | None = None) -> MessageSent:
    return MessageSent(snowflake.as_id(number << 22), where, server, ADA, None, b"", "x", "")


def fold(site: Site, event: Recorded) -> dict[str, int]:
    """Fold one event that comes from a partition of its own; the channels to wake after it."""
    views = {name: ALL[name] for name in VIEWS if touched_keys(ALL[name], [event])}
    with transaction(site._connection, {name: Table(view) for name, view in views.items()}) as opened:
        done = {
            name: fold_into(view, [event], opened.rows(name), touched_keys(view, [event]))
            for name, view in views.items()
        }
    return to_wake(site._connection, ALL, done, event.position)


def happened(site: Site, *events: Event) -> Sequence[Recorded]:
    for event in events:
        site.happen(event)
    return site.log[-len(events) :]


def of(*people: Id, kind: str = "conversations") -> set[str]:
    return {f"{kind}:{one}" for one in people}


def test_what_is_said_in_a_group_wakes_those_who_are_in_it_and_nobody_else(site: Site) -> None:
    joined = [GroupJoined(HERE, one, ADA) for one in (ADA, BOB, CAT)]
    said, elsewhere = sent(HERE, 1), sent(EVE, 2, server=THERE)
    *before, there, other = happened(
        site, GroupCreated(HERE, ADA, ""), DirectOpened(THERE, ADA, EVE), *joined, said, elsewhere
    )
    for event in before:
        fold(site, event)
    assert set(fold(site, there)) == of(ADA, BOB, CAT) | {f"activity:{HERE}"}
    assert set(fold(site, other)) == {f"activity:{THERE}"}, "a server is not a conversation"


def test_who_comes_or_goes_is_woken_himself_and_the_others_for_their_company(site: Site) -> None:
    first, second, third, renamed, left, out = happened(
        site,
        GroupJoined(HERE, ADA, ADA),
        GroupJoined(HERE, BOB, ADA),
        GroupJoined(HERE, CAT, ADA),
        GroupRenamed(HERE, ADA, "Trip"),
        GroupLeft(HERE, CAT),
        GroupMemberRemoved(HERE, BOB, ADA),
    )
    company = {"kind": "company"}
    fold(site, first)
    assert set(fold(site, second)) == of(ADA, BOB) | of(ADA, BOB, **company) | {f"standing:{HERE}"}
    fold(site, third)
    assert set(fold(site, renamed)) == of(ADA, BOB, CAT)
    assert set(fold(site, left)) == of(ADA, BOB, CAT) | of(ADA, BOB, CAT, **company) | {f"standing:{HERE}"}
    assert set(fold(site, out)) == of(ADA, BOB) | of(ADA, BOB, **company) | {f"standing:{HERE}"}


@pytest.mark.parametrize("kind", [AccountBlocked, AccountUnblocked])
def test_a_block_wakes_both_and_the_conversations_that_they_share(site: Site, kind: type[Event]) -> None:
    opened = [DirectOpened(HERE, ADA, BOB), GroupJoined(THERE, ADA, ADA), GroupJoined(THERE, CAT, ADA)]
    *before, event = happened(site, *opened, kind(BOB, ADA))  # type: ignore[call-arg]  # both have these fields
    for one in before:
        fold(site, one)
    assert set(fold(site, event)) == of(ADA, BOB, kind="company") | {f"standing:{HERE}", f"blocks:{BOB}"}


def test_nothing_is_asked_where_nothing_of_conversations_changed(site: Site) -> None:
    (event,) = happened(site, sent(HERE, 1, server=THERE))
    view = ALL["channel_activity"]
    with transaction(site._connection, {view.name: Table(view)}) as opened:
        done = {view.name: fold_into(view, [event], opened.rows(view.name), touched_keys(view, [event]))}
    site._connection.close()
    assert concerned(site._connection, done) == set()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_in_whatever_order_partitions_bring_it_all_of_it_is_told(site: Site, order: Sequence[int]) -> None:
    """Joining a group, being written to there, and being written to elsewhere: of three partitions."""
    joined, said, elsewhere = happened(site, GroupJoined(HERE, BOB, ADA), sent(HERE, 1), sent(THERE, 2))
    site.happen(GroupCreated(HERE, ADA, ""))
    site.happen(DirectOpened(THERE, ADA, BOB))
    for event in site.log[-2:]:
        fold(site, event)
    heard: asyncio.Queue[Told] = asyncio.Queue()

    async def scene() -> None:
        pooled, signals = pool(site.conninfo), MemorySignals()
        await pooled.open(wait=True)
        topics = Topics(signals, pooled, FollowLimits())

        async def ready() -> None: ...

        def made(begins: bool, ids: Sequence[Id], gone: Sequence[Id]) -> set[Id]:
            assert not gone
            return set(ids)

        limits = ConversationSceneLimits(coalesce_seconds=0.0, check_seconds=0.0)
        async with topics.following(ConversationsScene(BOB, limits, made), Follower(BOB, NOW, heard.put_nowait), ready):
            assert (await asyncio.wait_for(heard.get(), 10)).payload == {THERE}
            folded: list[Recorded] = []
            for number in order:
                event = (joined, said, elsewhere)[number]
                signals.publish(fold(site, event), event.position)
                if event is elsewhere:
                    assert (await asyncio.wait_for(heard.get(), 10)).payload == {THERE}
                elif event is joined or joined in folded:  # before that it is none of his
                    assert (await asyncio.wait_for(heard.get(), 10)).payload == {HERE}
                folded.append(event)
        await pooled.close()

    asyncio.run(scene())


def test_a_stamp_is_another_after_anything_that_is_seen_of_a_conversation(site: Site) -> None:
    async def seen() -> dict[Id, object]:
        return dict(await site.ask(lambda connection: stamps(connection, BOB, 10)))

    for event in happened(
        site,
        DirectOpened(THERE, ADA, BOB),
        GroupCreated(HERE, ADA, ""),
        GroupJoined(HERE, ADA, ADA),
        GroupJoined(HERE, BOB, ADA),
    ):
        fold(site, event)
    before = asyncio.run(seen())
    assert list(before) == [HERE, THERE], "the last joined first"
    both, here, there = {HERE, THERE}, {HERE}, {THERE}
    changes: list[tuple[list[Event], set[Id]]] = [
        ([sent(HERE, 1)], here),
        ([MarkerMoved(BOB, THERE, snowflake.as_id(1 << 22))], there),
        ([MarkerMoved(ADA, HERE, snowflake.as_id(1 << 22))], set()),
        ([GroupRenamed(HERE, ADA, "Trip")], here),
        ([GroupHandedOver(HERE, ADA, BOB)], here),
        ([GroupJoined(HERE, CAT, ADA)], here),
        ([GroupMemberRemoved(HERE, CAT, BOB), GroupJoined(HERE, EVE, ADA)], here),
        ([GroupLeft(HERE, BOB), GroupJoined(HERE, BOB, ADA)], here),
        ([AccountBlocked(BOB, CAT)], both),
        ([AccountBlocked(BOB, EVE), AccountUnblocked(BOB, CAT)], both),
        ([AccountBlocked(ADA, BOB)], there),
        ([AccountBlocked(ADA, CAT)], set()),
    ]  # fmt: skip
    for events, wanted in changes:
        for event in happened(site, *events):
            fold(site, event)
        after = asyncio.run(seen())
        assert {one for one, stamp in after.items() if before[one] != stamp} == wanted, events
        before = after


def test_company_is_of_the_conversations_that_one_came_to_last(site: Site) -> None:
    def met(viewer: Id, where: Id | None, limit: int = 10) -> list[Id]:
        async def asked() -> list[Id]:
            return await site.ask(lambda connection: company(connection, viewer, where, limit))

        return asyncio.run(asked())

    joined = [GroupJoined(HERE, one, ADA) for one in (ADA, BOB, EVE)]
    for event in happened(site, *joined, DirectOpened(THERE, BOB, CAT)):
        fold(site, event)
    last = sorted((BOB, CAT))
    assert met(BOB, None) == [*last, *sorted((ADA, EVE))]
    assert met(BOB, None, 2) == last
    assert met(BOB, HERE) == sorted((ADA, BOB, EVE))
    assert met(CAT, HERE) == []
    for event in happened(site, AccountBlocked(EVE, BOB), AccountBlocked(BOB, ADA)):
        fold(site, event)
    assert met(BOB, None) == last
    assert met(ADA, None) == sorted((ADA, EVE))
