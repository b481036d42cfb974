"""What every event store does with streams that were only read: a part of its suite."""

import pytest

from commands.ports import Append, Conflict
from infra.event_store import GroupCommitStore
from infra.recorders import Entry
from tests.conformance.event_store import assert_whole, meta, new_id, one, run


class GuardsConformance:
    """The suite. ``store`` is empty."""

    @pytest.fixture
    def store(self) -> GroupCommitStore:
        raise NotImplementedError

    def test_a_guard_is_a_stream_that_must_not_have_moved(self, store: GroupCommitStore) -> None:
        read, absent, moved = new_id(), new_id(), new_id()

        async def append() -> None:
            await store.append([*one(read), *one(moved)], meta())
            guards = [Append(read, 1, ()), Append(absent, 0, ())]
            assert await store.append([*guards, *one(new_id())], meta()) == 3
            assert await store.append([*one(new_id()), *guards], meta()) == 4
            with pytest.raises(Conflict) as conflict:
                await store.append([*one(new_id()), *guards, Append(moved, 0, ())], meta())
            assert conflict.value.stream_ids == (moved,)
            assert_whole(await store.read(0, 10), 4)
            assert {id_: len(events) for id_, events in (await store.load([read, absent])).items()} == {
                read: 1,
                absent: 0,
            }

        run(append())

    def test_guards_alone_are_no_append(self, store: GroupCommitStore) -> None:
        with pytest.raises(ValueError, match="nothing to append"):
            run(store.append([Append(new_id(), 0, ()), Append(new_id(), 0, ())], meta()))

    def test_a_stream_that_many_only_read_keeps_none_of_them_waiting(
        self, store: GroupCommitStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = new_id()
        store.append_sync(one(read), meta())
        batches: list[int] = []
        append = store.recorder.append
        monkeypatch.setattr(store.recorder, "append", lambda batch: batches.append(len(batch)) or append(batch))
        found = store.append_many([([Append(read, 1, ()), *one(new_id())], meta()) for _ in range(64)])
        assert found == list(range(2, 66))
        assert batches == [64]

    def test_who_waits_in_front_of_a_writer_is_not_disturbed_and_who_waits_behind_is(
        self, store: GroupCommitStore
    ) -> None:
        stream_id = new_id()
        guard = Append(stream_id, 0, ())
        found = store.append_many(
            [
                ([guard, *one(new_id())], meta()),
                (one(stream_id), meta()),
                ([guard, *one(new_id())], meta()),
                ([Append(stream_id, 1, ()), *one(new_id())], meta()),
                (one(stream_id, 1), meta()),
            ]
        )
        assert [type(outcome).__name__ for outcome in found] == ["int", "int", "Conflict", "int", "int"]
        assert_whole(store.read_sync(0, 10), 4)

    def test_a_writer_that_fails_disturbs_nobody(self, store: GroupCommitStore) -> None:
        stream_id = new_id()
        found = store.append_many(
            [
                ([*one(stream_id), *one(new_id(), 7)], meta()),
                ([Append(stream_id, 0, ()), *one(new_id())], meta()),
            ]
        )
        assert [type(outcome).__name__ for outcome in found] == ["Conflict", "int"]

    def test_who_is_held_back_keeps_its_place_before_a_writer(self, store: GroupCommitStore) -> None:
        read, own = new_id(), new_id()
        commands = [one(own), [Append(read, 0, ()), *one(own, 1)], one(read)]
        assert store.append_many([(appends, meta()) for appends in commands]) == [1, 2, 3]

    def test_what_was_recorded_is_found_whatever_guarded_it(self, store: GroupCommitStore) -> None:
        raw_meta = store.codec.encode_meta(meta())
        record = ("name.claimed@1", b'{"data":{"kind":"account","holder_id":"1"},"meta":%b}' % raw_meta)
        entries = [Entry(new_id(), 0, (record,)), Entry(new_id(), 0, ())]
        assert store.recorder.recorded(entries) is None
        assert store.recorder.append([entries]) == [1]
        assert store.recorder.recorded(entries) == 1
