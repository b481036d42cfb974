"""Faust, cut down to what it is needed for.

Its consumer hands the agent whole fetches, each as one message, rather than records: what Faust does for a message
takes 70 microseconds, which is five times as long as folding a vote. It reads what was committed only, seeks where the
checkpoints say, and tells the broker its offsets as a hint for tools, nothing more. Acknowledging, and with it the way
in which an event that failed could count as done, is off; so are its web server, tables, producer and transactions.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import faust
import structlog
from aiokafka import AIOKafkaConsumer, OffsetAndMetadata
from aiokafka.errors import IllegalStateError, KafkaError
from faust.app.base import BootStrategy
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from yarl import URL

from infra.log_records import NUMBERS
from schemas.topics import located
from streams.worker.folding import Read
from streams.worker.keeping import Fetch, Keeper, Moved
from streams.worker.limits import WorkerLimits

GROUP_PREFIX: Final = "moot-"
"""Of the names of consumer groups; the rest is that of the group of views."""

_HINT_SECONDS_MAX = 2.0
_LOOK_SECONDS = 0.1

_log = structlog.get_logger(__name__)


class FetchThread(driver.AIOKafkaConsumerThread):
    """The thread that the client of Kafka runs in. Knows from where to where each fetch was."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._epoch = 0
        self._next: dict[Any, int] = {}

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        # Of all that depends on it, what is decided here is the isolation level: committed records only.
        self.consumer.in_transaction = True
        try:
            return super()._create_worker_consumer(transport)
        finally:
            self.consumer.in_transaction = False

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - as Faust declares it
        max_records: int | None = None,
    ) -> Any:
        found = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        # Nothing is awaited from here on, so nobody has sought elsewhere since these were taken.
        reads = []
        for place, records in found.items():
            begin, end = self._next.get(place, -1), records[-1].offset + 1
            self._next[place] = end
            reads.append(Read(NUMBERS[place.topic].numbered(place.partition), begin, end, records))
        return Fetch(self._epoch, reads) if reads else None

    async def go_to(self, offsets: Mapping[TP, int]) -> int:
        """Seek, in the thread. Raises ``Moved`` when other partitions are assigned by now."""
        return int(await self.call_thread(self._go_to, offsets))

    async def _go_to(self, offsets: Mapping[TP, int]) -> int:
        consumer = self._ensure_consumer()
        if {*map(tuple, consumer.assignment())} != {*map(tuple, offsets)}:
            raise Moved("other partitions were assigned meanwhile")
        try:
            for place, offset in offsets.items():
                consumer.seek(driver.ensure_aiokafka_TP(place), offset)
        except IllegalStateError as error:
            raise Moved(str(error)) from error
        self._next = {driver.ensure_aiokafka_TP(place): offset for place, offset in offsets.items()}
        self._epoch += 1
        return self._epoch

    async def hint(self, offsets: Mapping[TP, int]) -> None:
        """Tell the broker how far the group is. It may fail: nobody relies on it."""
        try:
            await asyncio.wait_for(self.call_thread(self._hint, offsets), _HINT_SECONDS_MAX)
        except TimeoutError:  # the thread has ended, or does something else for as long
            _log.info("worker.offsets_not_told", error="nothing came back from the thread of the client")

    async def _hint(self, offsets: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        mine = {*map(tuple, consumer.assignment())}
        told = {
            driver.ensure_aiokafka_TP(place): OffsetAndMetadata(offset, "")
            for place, offset in offsets.items()
            if tuple(place) in mine
        }
        try:
            if told:
                await asyncio.wait_for(consumer.commit(told), _HINT_SECONDS_MAX)
        except (KafkaError, TimeoutError) as error:
            _log.info("worker.offsets_not_told", error=f"{type(error).__name__}: {error}")


class FetchConsumer(driver.Consumer):
    """Faust's consumer; each message is a whole fetch."""

    _thread: FetchThread
    app: "WorkerApp"

    def _new_consumer_thread(self) -> FetchThread:
        return FetchThread(self, loop=self.loop, beacon=self.beacon)

    # What the keeper asks for.

    def assigned(self) -> Sequence[int]:
        """See ``streams.worker.keeping.Consumer``."""
        return sorted(NUMBERS[place.topic].numbered(place.partition) for place in self.assignment())

    async def go_to(self, offsets: Mapping[int, int]) -> int:
        """See ``streams.worker.keeping.Consumer``."""
        places = {_place(number): offset for number, offset in offsets.items()}
        epoch = await self._thread.go_to(places)
        self._read_offset.clear()
        return epoch

    # What Faust asks for.

    async def perform_seek(self) -> None:
        """Go where the checkpoints say. Faust calls this before it lets records flow, after each rebalance."""
        await self.app.keeper.place(self)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - as Faust declares it
        """One fetch as one message, once the agent has taken the one before."""
        if not await self._wanted():
            return
        fetch, _ = await self._wait_next_records(timeout)
        if not isinstance(fetch, Fetch) or self.should_stop or not self.flow_active:
            return
        place = _place(fetch.reads[0].partition)
        offset = fetch.reads[0].records[-1].offset
        # Faust leaves out what it believes to have seen, by offsets. Those of a topic that was cut short come again.
        self._read_offset.clear()
        yield (
            place,
            ConsumerMessage(
                place.topic,
                place.partition,
                offset,
                0.0,
                0,
                None,
                None,
                fetch,  # FetchSchema passes it on as it is
                None,
                tp=place,
                generation_id=self.app.consumer_generation_id,
            ),
        )

    async def _wanted(self) -> bool:
        """Wait until the agent can take another fetch; ``False`` when Faust has to look around first."""
        app = self.app
        if app.waiting():
            app.taken.clear()
            await self.wait_first(app.taken.wait(), timeout=_LOOK_SECONDS)
        return not (app.waiting() or self.should_stop)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Tell the broker how far the views are; nothing depends on it."""
        places = {_place(number): offset for number, offset in self.app.keeper.offsets.items() if offset}
        if places:
            await self._thread.hint(places)
        return bool(places)

    async def wait_empty(self) -> None:
        """Wait for the batch under way, before partitions are given away and at the end."""
        await self.commit()
        await self.app.keeper.release()

    async def verify_all_partitions_active(self) -> None:
        """Nothing: the worker's own watchdog looks whether it gets on, by its checkpoints."""


class FetchTransport(driver.Transport):
    """Faust's transport with that consumer."""

    Consumer = FetchConsumer


class FetchSchema(faust.Schema[Any, Any]):
    """Passes the value of a message on as it is."""

    def compile(self, app: Any, **_: Any) -> Any:
        """See Faust."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(None, message.value, None, message)

        return decode


class _Boot(BootStrategy):
    enable_kafka_producer = False
    enable_web = False
    enable_sensors = False


class WorkerApp(faust.App):
    """One group of views in one consumer group: start it, wait for it, stop it. It is of no use after that."""

    BootStrategy = _Boot
    keeper: Keeper

    def __init__(self, keeper: Keeper, servers: str, topics: Sequence[str], limits: WorkerLimits) -> None:
        super().__init__(
            GROUP_PREFIX + keeper.group,
            broker=[URL(f"kafka://{server.strip()}") for server in servers.split(",")],
            autodiscover=False,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,  # which also has partitions dealt out in turn
            value_serializer="raw",
            processing_guarantee="at_least_once",
            stream_wait_empty=True,
            stream_recovery_delay=0.0,
            broker_commit_interval=limits.hint_seconds,
            broker_max_poll_records=limits.batch_events_max,
            broker_session_timeout=limits.session_seconds,
            broker_heartbeat_interval=limits.heartbeat_seconds,
            broker_rebalance_timeout=limits.rebalance_seconds,
            # A request to join a group is answered when all have joined.
            broker_request_timeout=limits.session_seconds + limits.rebalance_seconds + limits.release_seconds_max,
            consumer_auto_offset_reset="earliest",
            # Topics that are made again are seen by who asks alone; of itself it would do so every five minutes.
            consumer_metadata_max_age_ms=round(1000 * limits.watch_seconds),
        )
        self.keeper = keeper
        self.taken = asyncio.Event()
        self._queue: asyncio.Queue[Any] | None = None
        channel = self.topic(*topics, schema=FetchSchema(), acks=False)
        self.agent(channel, name=f"{keeper.group}", concurrency=1)(self._follow)

    async def on_first_start(self) -> None:
        """Makes no folders, as Faust does in the working directory for its tables: there are none."""

    def _new_transport(self) -> Any:
        return FetchTransport(self.conf.broker_consumer, self)

    def waiting(self) -> bool:
        """Whether the agent has not taken the fetch before."""
        return self._queue is None or not self._queue.empty()

    async def _follow(self, stream: Any) -> None:
        """The agent. It ends with the app only."""
        self._queue = stream.channel.queue
        async for event in stream.events():
            self.taken.set()
            assert isinstance(self.consumer, FetchConsumer)
            await self.keeper.take(self.consumer, event.value)


def _place(number: int) -> TP:
    topic, partition = located(number)
    return TP(topic.name, partition)
