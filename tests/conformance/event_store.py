"""What every event store does, whatever it is made of: subclass, give ``store``, and all of this runs against it."""

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from threading import Event as Flag
from threading import Thread
from typing import Any, TypeVar

import pytest

from commands.ports import Append, Conflict
from domain.account import AccountRegistered, DisplayNameChanged
from domain.comment import CommentSubmitted
from domain.event import Event, Id
from domain.ids import derived
from domain.name import NameClaimed
from domain.post import PostSubmitted
from infra.codec import AuthorErased
from infra.event_store import EventTooLarge, GroupCommitStore
from infra.recorders import Entry
from infra.store_limits import LIMITS
from schemas.envelope import Metadata, Recorded, Undecodable

T = TypeVar("T")

RECORDED_AT = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
OCCURRED_AT = datetime(2014, 1, 2, 3, 4, 5, tzinfo=UTC)
SECONDS_MAX = 30
"""A test that waits longer than this has failed."""

_numbers = count()


def new_id() -> Id:
    """An id that no other test has."""
    return derived("conformance", str(next(_numbers)))


def meta(**changes: Any) -> Metadata:
    """Metadata of some command; what is not given is made up."""
    given = {"correlation_id": new_id(), "causation_id": None, "actor_id": new_id(), "occurred_at": OCCURRED_AT}
    return Metadata(**{"command_id": new_id(), "recorded_at": OCCURRED_AT, **given, **changes})


def claimed() -> Event:
    """Some event without personal fields."""
    return NameClaimed("account", new_id())


def one(stream_id: Id, expected_version: int = 0, events: int = 1) -> list[Append]:
    """An append to a single stream."""
    return [Append(stream_id, expected_version, tuple(claimed() for _ in range(events)))]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it on an event loop; to hang is to fail."""
    return asyncio.run(asyncio.wait_for(work, SECONDS_MAX))


async def outcomes(work: Iterable[Awaitable[int]]) -> list[int | BaseException]:
    """What came of each, all at once."""
    return await asyncio.gather(*work, return_exceptions=True)


def assert_whole(log: Sequence[Recorded], events: int) -> None:
    """The log has that many events, its positions no gaps, and each stream's versions neither."""
    assert [recorded.position for recorded in log] == list(range(1, events + 1))
    versions: dict[Id, int] = {}
    for recorded in log:
        versions[recorded.stream_id] = versions.get(recorded.stream_id, 0) + 1
        assert recorded.version == versions[recorded.stream_id]


class EventStoreConformance:
    """The suite. ``store`` is empty, its clock stands at ``RECORDED_AT``."""

    @pytest.fixture
    def store(self) -> GroupCommitStore:
        raise NotImplementedError

    # -- one after the other -----------------------------------------------------------------------------------

    def test_an_empty_log(self, store: GroupCommitStore) -> None:
        stream_id = new_id()

        async def look() -> None:
            assert await store.head() == 0
            assert await store.read(0, 10) == []
            assert await store.load([stream_id]) == {stream_id: []}

        run(look())

    def test_what_was_appended_comes_back_as_it_was(self, store: GroupCommitStore) -> None:
        author, post_id, comment_id, community_id = new_id(), new_id(), new_id(), new_id()
        post = PostSubmitted(post_id, community_id, author, False, "text", "Überschrift 🐍", "", None)
        comment = CommentSubmitted(
            comment_id, post_id, community_id, author, None, author, bytes(range(10)), 1, '"quoted"\n\x00\\ end'
        )
        said = meta()

        async def roundtrip() -> None:
            assert await store.append([Append(post_id, 0, (post,)), Append(comment_id, 0, (comment,))], said) == 2
            assert await store.append([Append(post_id, 1, (claimed(), claimed()))], meta()) == 4
            streams = await store.load([comment_id, post_id])
            assert [r.event for r in streams[comment_id]] == [comment]
            assert [r.version for r in streams[post_id]] == [1, 2, 3]
            log = await store.read(0, 10)
            assert_whole(log, 4)
            assert [log[0].event, log[1].event] == [post, comment]
            assert [log[0].stream_id, log[1].stream_id] == [post_id, comment_id]
            assert await store.head() == 4
            assert log[0].meta == log[1].meta
            assert log[0].meta == Metadata(
                said.command_id, said.correlation_id, None, said.actor_id, OCCURRED_AT, RECORDED_AT
            )

        run(roundtrip())

    def test_reading_starts_after_a_position_and_ends_at_the_limit(self, store: GroupCommitStore) -> None:
        async def read() -> list[list[int]]:
            await store.append(one(new_id(), events=5), meta())
            pages = [await store.read(0, 2), await store.read(3, 10), await store.read(5, 10)]
            return [[recorded.position for recorded in page] for page in pages]

        assert run(read()) == [[1, 2], [4, 5], []]

    @pytest.mark.parametrize("expected", [0, 1, 3, 100])
    def test_any_other_version_than_the_real_one_conflicts(self, store: GroupCommitStore, expected: int) -> None:
        stream_id = new_id()

        async def twice() -> None:
            await store.append(one(stream_id, events=2), meta())
            with pytest.raises(Conflict) as conflict:
                await store.append(one(stream_id, expected), meta())
            assert conflict.value.stream_ids == (stream_id,)
            assert await store.append(one(stream_id, 2), meta()) == 3
            assert_whole(await store.read(0, 10), 3)

        run(twice())

    def test_a_stream_that_does_not_exist_stands_at_nothing_else_than_zero(self, store: GroupCommitStore) -> None:
        async def append() -> None:
            with pytest.raises(Conflict):
                await store.append(one(new_id(), 1), meta())
            assert await store.head() == 0

        run(append())

    def test_several_streams_are_appended_to_together_or_not_at_all(self, store: GroupCommitStore) -> None:
        taken, free, gap = new_id(), new_id(), new_id()

        async def append() -> None:
            await store.append(one(taken), meta())
            with pytest.raises(Conflict) as conflict:
                await store.append([*one(free), *one(taken), *one(gap, 7)], meta())
            assert set(conflict.value.stream_ids) == {taken, gap}
            streams = await store.load([free, gap])
            assert streams == {free: [], gap: []}
            assert await store.append(one(free), meta()) == 2

        run(append())

    def test_what_is_no_append_is_refused_and_harms_nobody(self, store: GroupCommitStore) -> None:
        author, stream_id = new_id(), new_id()
        lone_surrogate = DisplayNameChanged(author, "\ud800")
        huge = DisplayNameChanged(author, "x" * LIMITS.event_bytes_max)
        unknown = Undecodable("x@1", "never written")
        bad: list[tuple[list[Append], type[Exception]]] = [
            ([], ValueError),
            ([Append(stream_id, 0, ())], ValueError),
            ([*one(stream_id), Append(stream_id, 0, ())], ValueError),
            ([Append(stream_id, -1, (claimed(),))], ValueError),
            ([Append(stream_id, 2**63, (claimed(),))], ValueError),
            ([*one(stream_id), *one(stream_id)], ValueError),
            (one(Id("no-uuid")), ValueError),
            (one(Id(stream_id.upper())), ValueError),
            ([Append(stream_id, 0, (unknown,))], TypeError),
            ([Append(stream_id, 0, (lone_surrogate,))], UnicodeEncodeError),
            ([Append(stream_id, 0, (huge,))], EventTooLarge),
        ]

        async def append() -> None:
            good = [store.append(one(new_id()), meta()) for _ in range(4)]
            found = await outcomes([*good, *(store.append(appends, meta()) for appends, _ in bad)])
            assert [type(one) for one in found] == [int] * 4 + [kind for _, kind in bad]
            assert_whole(await store.read(0, 100), 4)
            assert await store.load([Id("no-uuid"), stream_id]) == {"no-uuid": [], stream_id: []}

        run(append())

    # -- all at once -------------------------------------------------------------------------------------------

    def test_many_at_once_each_get_their_own_position(self, store: GroupCommitStore) -> None:
        async def append() -> None:
            found = await outcomes(store.append(one(new_id(), events=2), meta()) for _ in range(64))
            assert sorted(found) == list(range(2, 129, 2))
            assert_whole(await store.read(0, 1000), 128)

        run(append())

    def test_of_many_on_one_stream_one_wins(self, store: GroupCommitStore) -> None:
        stream_id = new_id()

        async def append() -> None:
            found = await outcomes(store.append(one(stream_id), meta()) for _ in range(64))
            assert sorted(type(outcome).__name__ for outcome in found) == ["Conflict"] * 63 + ["int"]
            assert_whole(await store.read(0, 1000), 1)

        run(append())

    def test_a_conflict_fails_only_the_command_that_caused_it(self, store: GroupCommitStore) -> None:
        taken = new_id()

        async def append() -> None:
            await store.append(one(taken), meta())
            found = await outcomes(
                store.append([*one(new_id()), *one(taken if number % 3 == 0 else new_id(), number % 2)], meta())
                for number in range(64)
            )
            for number, outcome in enumerate(found):
                # An odd number expects version 1, which only the taken stream has, and only the first may go on there.
                if number == 3 or (number % 2 == 0 and number % 3 != 0):
                    assert isinstance(outcome, int), number
                else:
                    assert isinstance(outcome, Conflict), number
            recorded = sum(isinstance(outcome, int) for outcome in found)
            assert_whole(await store.read(0, 1000), 1 + 2 * recorded)

        run(append())

    def test_appends_that_follow_each_other_may_wait_together(self, store: GroupCommitStore) -> None:
        stream_id = new_id()

        async def append() -> list[int | BaseException]:
            return await outcomes(store.append(one(stream_id, version), meta()) for version in range(10))

        assert run(append()) == list(range(1, 11))

    def test_a_command_that_fails_does_not_take_the_stream_from_the_next(self, store: GroupCommitStore) -> None:
        contested, other = new_id(), new_id()

        async def append() -> list[int | BaseException]:
            return await outcomes(
                [store.append([*one(contested), *one(other, 5)], meta()), store.append(one(contested), meta())]
            )

        first, second = run(append())
        assert isinstance(first, Conflict)
        assert first.stream_ids == (other,)
        assert second == 1

    def test_clients_that_load_and_try_again_lose_nothing(self, store: GroupCommitStore) -> None:
        streams = [new_id() for _ in range(4)]

        async def client(number: int) -> int:
            done = tries = 0
            while done < 5:
                tries += 1
                stream_id = streams[(number + tries) % 4]
                version = len((await store.load([stream_id]))[stream_id])
                try:
                    await store.append(one(stream_id, version), meta())
                    done += 1
                except Conflict:
                    continue
            return done

        async def clients() -> None:
            assert await asyncio.gather(*(client(number) for number in range(32))) == [5] * 32
            assert_whole(await store.read(0, 1000), 160)
            loaded = await store.load(streams)
            assert sum(len(events) for events in loaded.values()) == 160

        run(clients())

    def test_threads_and_event_loops_append_together(self, store: GroupCommitStore) -> None:
        def in_thread(number: int) -> int:
            if number % 2:
                return store.append_sync(one(new_id()), meta())
            return run(store.append(one(new_id()), meta()))

        with ThreadPoolExecutor(16) as threads:
            assert sorted(threads.map(in_thread, range(64))) == list(range(1, 65))
        assert len(store.load_sync([store.read_sync(63, 1)[0].stream_id])) == 1

    def test_append_sync_refuses_as_append_does(self, store: GroupCommitStore) -> None:
        stream_id = new_id()
        store.append_sync(one(stream_id), meta())
        with pytest.raises(Conflict):
            store.append_sync(one(stream_id), meta())

    def test_append_many_tells_the_outcome_of_each(self, store: GroupCommitStore) -> None:
        taken, chained = new_id(), new_id()
        store.append_sync(one(taken), meta())
        commands = [(one(new_id()), meta()) for _ in range(50)]
        commands += [(one(taken), meta()), (one(chained), meta()), (one(chained, 1), meta()), (one(chained, 1), meta())]
        found = store.append_many(commands)
        assert sorted(outcome for outcome in found if isinstance(outcome, int)) == list(range(2, 54))
        assert [type(outcome).__name__ for outcome in found[50:]] == ["Conflict", "int", "int", "Conflict"]
        assert_whole(store.read_sync(0, 1000), 53)
        assert store.append_many([]) == []

    # -- following ---------------------------------------------------------------------------------------------

    def test_followers_see_everything_in_order_while_it_is_appended(self, store: GroupCommitStore) -> None:
        total = 400

        async def follower(after: int) -> list[Recorded]:
            seen: list[Recorded] = []
            async for page in store.follow(after):
                seen += page
                if seen[-1].position >= total + 1:
                    return seen
            raise AssertionError("follow ended")

        async def all_together() -> None:
            await store.append(one(new_id()), meta())
            following = [asyncio.create_task(follower(after)) for after in (0, 0, 1)]
            await outcomes(store.append(one(new_id()), meta()) for _ in range(total // 2))
            for _ in range(total // 20):
                await outcomes(store.append(one(new_id()), meta()) for _ in range(10))
            seen = await asyncio.gather(*following)
            for log in seen[:2]:
                assert_whole(log, total + 1)
            assert [recorded.position for recorded in seen[2]] == list(range(2, total + 2))

        run(all_together())

    def test_a_thread_waits_for_more(self, store: GroupCommitStore) -> None:
        assert not store.wait_for_more(0, 0)
        waiting, found = Flag(), []

        def wait() -> None:
            waiting.set()
            found.append(store.wait_for_more(0, SECONDS_MAX))

        thread = Thread(target=wait)
        thread.start()
        waiting.wait()
        store.append_sync(one(new_id()), meta())
        thread.join(SECONDS_MAX)
        assert found == [True]
        assert store.wait_for_more(0, 0)
        assert not store.wait_for_more(1, 0)

    # -- what is in the bytes ----------------------------------------------------------------------------------

    def test_personal_text_is_not_in_the_log_and_gone_with_the_key(self, store: GroupCommitStore) -> None:
        author, other = new_id(), new_id()
        registered = AccountRegistered(author, "guido_secret", "Guido Secret")
        kept = AccountRegistered(other, "barbara", "Barbara")
        store.append_sync([Append(author, 0, (registered,)), Append(other, 0, (kept,))], meta())
        assert [recorded.event for recorded in store.read_sync(0, 10)] == [registered, kept]
        assert not any(b"ecret" in state for *_, state in store.recorder.page(0, 10))
        store.codec.keyring.destroy(author)
        assert [recorded.event for recorded in store.read_sync(0, 10)] == [AccountRegistered(author, "", ""), kept]
        with pytest.raises(AuthorErased):
            store.append_sync([Append(author, 1, (DisplayNameChanged(author, "back"),))], meta())
        store.append_sync([Append(author, 1, (claimed(),))], meta())

    def test_an_event_that_cannot_be_read_stands_in_nobodys_way(self, store: GroupCommitStore) -> None:
        stream_id = new_id()
        raw_meta = store.codec.encode_meta(meta())
        records = (
            ("from.the_future@9", b'{"data":{"x":1},"meta":%b}' % raw_meta),
            ("name.claimed@1", b'{"data":{"kind":"neither","holder_id":"1"},"meta":%b}' % raw_meta),
            ("name.claimed@1", b"not even JSON \xff"),
            ("name.claimed@1", b'{"data":{"kind":"account","holder_id":"1"},"meta":%b}' % raw_meta),
        )
        store.recorder.append([[Entry(stream_id, 0, records)]])
        page = store.read_sync(0, 10)
        assert [type(recorded.event).__name__ for recorded in page] == ["Undecodable"] * 3 + ["NameClaimed"]
        assert [recorded.version for recorded in page] == [1, 2, 3, 4]
        unknown, wrong, _, _ = (recorded.event for recorded in page)
        assert isinstance(unknown, Undecodable)
        assert isinstance(wrong, Undecodable)
        assert unknown.wire == "from.the_future@9"
        assert "'from.the_future@9'" in unknown.reason
        assert "$.data.kind" in wrong.reason
        assert page[0].meta.occurred_at == page[1].meta.occurred_at == OCCURRED_AT
