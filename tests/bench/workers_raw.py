"""A raw Faust agent as a process of its own, for the bench: ``python -m tests.bench.workers_raw SERVERS TOPIC EVENTS``.

It takes batches as Faust's own documentation has it, does nothing with them, and writes how many events it took a
second, from its first batch on.
"""

import asyncio
import logging
import sys
import tempfile
import time
from typing import Any
from uuid import uuid4

import faust
import uvloop

BATCH_EVENTS_MAX = 2_000
WITHIN_SECONDS = 0.05


async def measure(servers: str, topic: str, events: int, folder: str) -> float:
    """Events a second. In the folder Faust makes those of tables, though there are none."""
    app = faust.App(
        f"bench-{uuid4().hex}",
        broker=f"kafka://{servers}",
        datadir=folder,
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
    )
    done = asyncio.get_running_loop().create_future()

    async def agent(stream: Any) -> None:
        began, first, taken = 0.0, 0, 0
        async for batch in stream.take_events(BATCH_EVENTS_MAX, within=WITHIN_SECONDS):
            if not taken:
                began, first = time.perf_counter(), len(batch)
            taken += len(batch)
            if taken >= events and not done.done():
                done.set_result((taken - first) / (time.perf_counter() - began))

    app.agent(app.topic(topic, value_type=bytes), concurrency=1)(agent)
    await app.start()
    rate: float = await done
    await app.stop()
    return rate


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        found = uvloop.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), folder))
    sys.stdout.write(f"{found}\n")
