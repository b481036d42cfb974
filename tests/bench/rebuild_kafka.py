"""How fast a view is rebuilt from the topics of a real Kafka, beside a transaction per event.

Everything is counted from asking where the topics end: reading all partitions, putting them into the order of the log,
folding, loading, indexes, catching up with the event store and the exchange. Broker, database and rebuild share the
machine.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from infra.event_log import EventLog
from infra.event_store import GroupCommitStore, postgres_store
from infra.kafka.log import KafkaLog
from infra.postgres import connect
from infra.rows import create_missing
from infra.stack import start_stack
from projections.catalogue import ALL
from streams.rebuild import rebuild
from tests.bench.rebuild import MASTER_KEY, VOTES, VOTES_LONG, Shown, database, one_by_one, votes
from tests.equivalence.recording import Filler, make_topics, relay_all

GOAL = 100_000
RELAYED_AT_A_TIME = 20_000


def run(long: bool) -> list[dict[str, Any]]:
    """The result ``rate``."""
    views = [ALL["scores"]]
    with (
        database() as conninfo,
        tempfile.TemporaryDirectory(prefix="moot-bench-kafka-") as folder,
        start_stack(Path(folder), services=("kafka",)) as stack,
    ):
        store, topics = postgres_store(conninfo, MASTER_KEY), KafkaLog(stack.kafka.url)
        try:
            sys.stderr.write("filling the log and its topics …\n")
            make_topics(topics)
            with connect(conninfo) as connection:
                Filler(connection, store.codec).fill(votes(VOTES_LONG if long else VOTES))
                create_missing(connection, views)
            _relay(store, topics)
            slow = one_by_one(conninfo, store, views)
            sys.stderr.write(f"a transaction per event: {slow:,.0f} events/s\n")
            summary = rebuild(conninfo, store, views, progress=Shown(), topics=topics)
        finally:
            store.close()
    sys.stderr.write(f"rebuilt scores from {summary.events:,} events in topics in {summary.seconds:.1f} s\n")
    return [
        {
            "name": "rate",
            "value": round(summary.rate),
            "unit": "votes/s",
            "baseline": round(slow),
            "ratio": round(summary.rate / slow, 1),
            "goal": f"at least {GOAL:,} votes/s; the baseline is a transaction per event",
            "holds": summary.rate >= GOAL,
        }
    ]


def _relay(store: GroupCommitStore, topics: EventLog) -> None:
    after = 0
    while rows := store.recorder.page(after, RELAYED_AT_A_TIME):
        relay_all(topics, rows, batch=RELAYED_AT_A_TIME)
        after = rows[-1][0]
