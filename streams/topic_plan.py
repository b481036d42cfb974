"""What has to be done so that the topics are as ``schemas/topics.py`` declares them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from infra.event_log import EventLog, TopicsMissing, TopicsOtherwise, TopicState
from schemas.topics import TOPICS, Topic

FOR_EVER: Final = "-1"
ANY_TIME: Final = str(2**63 - 1)
ERASED_WITHIN_MS: Final = 24 * 60 * 60 * 1000
"""A key that was destroyed is gone from the brokers' disks within about a day."""
FENCE_KEPT_MS: Final = 100 * 365 * 24 * 60 * 60 * 1000
"""A hundred years: word that a key was destroyed is kept as long as the events that it made unreadable. (The largest
number there is would overflow in the broker's sum with the time, and the word would be gone at once.)"""

MAKE_ANEW: Final = (
    "Stop the relays, delete that topic (kafka-topics.sh --delete), then moot topics apply, and start them:"
    " the relay fills it anew. Or name another Kafka (MOOT_KAFKA_URL)."
)
"""What to do about a topic with other partitions than declared. A relay that goes on would not look what it lacks."""


class Change(Struct, frozen=True):
    """One thing to do. ``allowed`` is false for what is never done: it would harm what is there."""

    topic: str
    kind: Literal["create", "configure", "refused"]
    what: str
    config: Mapping[str, str] = {}
    allowed: bool = True


def wanted(topic: Topic, *, replicas: int, record_bytes_max: int) -> TopicState:
    """How a topic should be made."""
    config = {
        "retention.ms": FOR_EVER,
        "retention.bytes": FOR_EVER,
        "max.message.bytes": str(record_bytes_max),
        "min.insync.replicas": str(max(1, replicas - 1)),
        "unclean.leader.election.enable": "false",
        "message.timestamp.type": "CreateTime",
        # A broker refuses records from a clock that is an hour ahead of its own, and with them all that come after.
        "message.timestamp.after.max.ms": ANY_TIME,
        "cleanup.policy": "delete",
    }
    if topic.compacted:
        config |= {
            "cleanup.policy": "compact",
            "max.compaction.lag.ms": str(ERASED_WITHIN_MS),
            "segment.ms": str(ERASED_WITHIN_MS),
            "delete.retention.ms": str(FENCE_KEPT_MS),
        }
    return TopicState(topic.partitions, replicas, config)


def plan(
    there: Mapping[str, TopicState], *, replicas: int, record_bytes_max: int, topics: Sequence[Topic] = TOPICS
) -> list[Change]:
    """All changes, in the order of the declaration; empty when the topics are as they should be."""
    changes: list[Change] = []
    for topic in topics:
        state = wanted(topic, replicas=replicas, record_bytes_max=record_bytes_max)
        found = there.get(topic.name)
        if found is None:
            what = f"{topic.partitions} partitions, {replicas} {'copy' if replicas == 1 else 'copies'}, kept for ever"
            changes.append(Change(topic.name, "create", what, state.config))
            continue
        if found.partitions != topic.partitions:
            what = f"it {_otherwise(found.partitions, topic)}: keys would change places"
            changes.append(Change(topic.name, "refused", what, allowed=False))
        # The copies of a topic that exists are the broker's administrator's to move; what they allow goes with them.
        config = dict(state.config) | {"min.insync.replicas": str(max(1, found.replicas - 1))}
        # Nothing is left to a broker's defaults: they may be others on the next one.
        odd = {key: value for key, value in config.items() if found.config.get(key) != value}
        if odd:
            said = ", ".join(f"{key}: {found.config.get(key, 'default')} → {value}" for key, value in odd.items())
            changes.append(Change(topic.name, "configure", said, odd))
    return changes


def check_partitions(there: Mapping[str, int], topics: Collection[Topic] = TOPICS) -> None:
    """Make sure that these topics have as many partitions as declared; ``there`` has the number of each that exists.

    Raises ``TopicsOtherwise`` and ``TopicsMissing``, both with what to do.
    """
    odd = [topic for topic in topics if there.get(topic.name, topic.partitions) != topic.partitions]
    if odd:
        said = "; ".join(f"{topic.name} {_otherwise(there[topic.name], topic)}" for topic in odd)
        raise TopicsOtherwise(f"{said}: {MAKE_ANEW}")
    if missing := [topic.name for topic in topics if topic.name not in there]:
        raise TopicsMissing(f"{', '.join(missing)} (run: moot topics apply)")


def _otherwise(partitions: int, topic: Topic) -> str:
    return f"has {partitions} {'partition' if partitions == 1 else 'partitions'}, declared are {topic.partitions}"


def apply(log: EventLog, changes: Sequence[Change], *, replicas: int) -> None:
    """Do them. Raises ``ValueError`` for one that is not allowed, before anything is done."""
    if refused := [change for change in changes if not change.allowed]:
        raise ValueError(f"{refused[0].topic}: {refused[0].what}")
    partitions = {topic.name: topic.partitions for topic in TOPICS}
    for change in changes:
        if change.kind == "create":
            log.create_topic(change.topic, TopicState(partitions[change.topic], replicas, change.config))
        else:
            log.configure_topic(change.topic, change.config)
