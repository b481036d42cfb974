"""The topics are made as they are declared, and what would harm them is refused."""

import msgspec
import pytest

from infra.event_log import TopicsMissing, TopicsOtherwise, TopicState
from infra.log_memory import MemoryLog
from schemas.topics import AUTHOR_KEYS, PEOPLE, THREADS, TOPICS
from streams.topic_plan import Change, apply, check_partitions, plan


def planned(log: MemoryLog, replicas: int = 1) -> list[Change]:
    return plan(log.topics(), replicas=replicas, record_bytes_max=2_000_000)


def test_what_was_applied_is_in_sync() -> None:
    log = MemoryLog()
    changes = planned(log)
    assert [(change.topic, change.kind) for change in changes] == [(topic.name, "create") for topic in TOPICS]
    apply(log, changes, replicas=1)
    assert planned(log) == []
    assert {name: state.partitions for name, state in log.topics().items()} == {
        topic.name: topic.partitions for topic in TOPICS
    }


def test_events_are_kept_for_ever_and_only_keys_are_compacted() -> None:
    log = MemoryLog()
    apply(log, planned(log, replicas=3), replicas=3)
    for topic in TOPICS:
        state = log.topics()[topic.name]
        assert (state.replicas, state.config["min.insync.replicas"]) == (3, "2")
        assert (state.config["retention.ms"], state.config["retention.bytes"]) == ("-1", "-1")
        assert state.config["cleanup.policy"] == ("compact" if topic is AUTHOR_KEYS else "delete")
        assert state.config["max.message.bytes"] == "2000000"


def test_settings_that_were_changed_are_set_again() -> None:
    log = MemoryLog()
    apply(log, planned(log), replicas=1)
    log.configure_topic(THREADS.name, {"retention.ms": "604800000"})
    (change,) = planned(log)
    assert (change.topic, change.kind, change.config) == (THREADS.name, "configure", {"retention.ms": "-1"})
    assert change.what == "retention.ms: 604800000 → -1"
    apply(log, [change], replicas=1)
    assert planned(log) == []


@pytest.mark.parametrize("partitions", [1, 100])
def test_another_count_of_partitions_is_refused_and_nothing_done(partitions: int) -> None:
    log = MemoryLog()
    log.create_topic(PEOPLE.name, TopicState(partitions, 1, {}))
    changes = planned(log)
    assert [change.kind for change in changes if change.topic == PEOPLE.name] == ["refused", "configure"]
    with pytest.raises(ValueError, match="keys would change places"):
        apply(log, changes, replicas=1)
    assert list(log.topics()) == [PEOPLE.name]


def test_topics_with_other_partitions_are_named_with_both_counts_and_are_none_that_are_missing() -> None:
    there = {topic.name: topic.partitions for topic in TOPICS}
    check_partitions(there)
    with pytest.raises(TopicsOtherwise) as found:
        check_partitions(there | {PEOPLE.name: 1})
    assert str(found.value).startswith(f"{PEOPLE.name} has 1 partition, declared are {PEOPLE.partitions}")
    assert "delete" in str(found.value)
    with pytest.raises(TopicsMissing, match=THREADS.name) as missing:
        check_partitions({name: count for name, count in there.items() if name != THREADS.name})
    assert "moot topics apply" in str(missing.value)
    assert not isinstance(missing.value, TopicsOtherwise)


def test_copies_of_a_topic_that_is_there_are_left_to_the_broker() -> None:
    log = MemoryLog()
    apply(log, planned(log), replicas=1)
    assert planned(log, replicas=3) == []
    assert msgspec.to_builtins(planned(MemoryLog(), replicas=3))[0]["config"]["min.insync.replicas"] == "2"
