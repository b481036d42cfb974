"""The log on Kafka: written and read through librdkafka, looked after through kafka-python.

Which client does what was measured: see docs/adr/0008. Nothing is ever aborted here. After any failure the producer
is dropped, and the next one, under the same transactional id, has the broker decide what was left undecided; that is
the way back after a crash, and the only one.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from kafka import TopicPartition as AdminPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError as AdminError
from kafka.errors import TopicAlreadyExistsError

from infra.event_log import (
    Fenced,
    GivingUp,
    LogRecord,
    LogUnavailable,
    Partition,
    Span,
    TopicsMissing,
    TopicState,
    never,
    nobody,
)
from infra.kafka.limits import KafkaLimits

T = TypeVar("T")

TRANSACTIONAL_ID: Final = "moot-relay"
"""What makes one writer shut out another."""

LANES: Final = 2
"""Producers of one writer: with one, half of all transactions wait for the marks of the last; a third gains nothing."""
SLICE_SECONDS: Final = 0.5
"""How long a call into either library may block before it is looked whether to give up."""
READ_RECORDS: Final = 10_000
"""Taken from librdkafka's queue at a time."""
READ_RETRIES_MAX: Final = 5
"""Of reading on where it broke off, in a row."""
READ_PAUSE_SECONDS: Final = 0.2
"""Before the first of them, about; before each later one so much more."""

_FENCED = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
}
_log = structlog.get_logger(__name__)
_library = logging.getLogger("librdkafka")


class _Interrupted(Exception):
    """Reading broke off, and may go on where it was."""


class KafkaLog:
    """See ``EventLog``. ``servers`` are bootstrap servers, ``host:port`` separated by commas.

    ``stopping`` may be asked at any time, and makes what waits give up with ``LogUnavailable``.
    """

    def __init__(
        self,
        servers: str,
        *,
        transactional_id: str = TRANSACTIONAL_ID,
        limits: KafkaLimits | None = None,
        stopping: GivingUp = never,
    ) -> None:
        self._servers = servers
        self._transactional_id = transactional_id
        self._limits = limits or KafkaLimits()
        self._stopping = stopping

    # -- writing and reading -----------------------------------------------------------------------------------

    def writer(self, giving_up: GivingUp = never) -> "KafkaWriter":
        """See ``EventLog``."""
        return KafkaWriter(self._servers, self._transactional_id, self._limits, lambda: self._stopping() or giving_up())

    def read(
        self, spans: Mapping[Partition, Span], ahead: Callable[[], Collection[Partition]] = nobody
    ) -> Iterator[Sequence[LogRecord]]:
        """See ``EventLog``."""
        left = {place: span for place, span in spans.items() if span[0] < span[1]}
        retries = 0
        while left:
            try:
                for page in self._pages(left, ahead):
                    retries = 0
                    yield page
            except _Interrupted as error:
                retries += 1
                if retries > READ_RETRIES_MAX or self._stopping():
                    raise LogUnavailable(str(error)) from error
                _log.warning("log.read_again", partitions=len(left), error=str(error))
                time.sleep(retries * READ_PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    def _pages(
        self, left: dict[Partition, Span], ahead: Callable[[], Collection[Partition]]
    ) -> Iterator[Sequence[LogRecord]]:
        """What is ``left`` to be read, which is kept up to date, with one consumer."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": "moot-reader",  # required, and never used: nothing is committed, nobody is assigned
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.queue.backoff.ms": 10,
                "fetch.message.max.bytes": 4 * 1024**2,
                "queued.max.messages.kbytes": self._limits.read_ahead_bytes_max // 1024,
                "socket.timeout.ms": round(1000 * self._limits.request_seconds_max),
                "reconnect.backoff.max.ms": 1000,
            },
            logger=_library,
        )
        try:
            consumer.assign([TopicPartition(topic, number, first) for (topic, number), (first, _) in left.items()])
            yield from self._take(consumer, left, ahead)
        except KafkaException as error:
            raise _Interrupted(_said(error)) from error
        finally:
            consumer.close()

    def _take(
        self, consumer: Consumer, left: dict[Partition, Span], ahead: Callable[[], Collection[Partition]]
    ) -> Iterator[Sequence[LogRecord]]:
        """Until every partition is at its end."""
        heard = time.monotonic()
        resting: set[Partition] = set()
        while left:
            messages = consumer.consume(READ_RECORDS, 0.02)
            if messages:
                heard = time.monotonic()
            elif self._stopping() or time.monotonic() - heard > self._limits.request_seconds_max:
                raise LogUnavailable(
                    f"nothing was read for {time.monotonic() - heard:.0f} s, of {len(left)} partitions"
                )
            before = list(left)
            page, broken = _sorted_out(messages, left)
            if page:
                yield page
                heard = time.monotonic()  # the caller may have taken a while
            if broken is not None:
                raise broken
            done = [place for place in before if place not in left]
            if done and left:
                consumer.incremental_unassign([TopicPartition(topic, number) for topic, number in done])
            if page:
                now = left.keys() & set(ahead())
                if now != resting & left.keys():
                    consumer.pause([TopicPartition(*place) for place in now - resting])
                    consumer.resume([TopicPartition(*place) for place in (resting & left.keys()) - now])
                resting = now

    # -- looking after -----------------------------------------------------------------------------------------

    def ends(self, topics: Sequence[str], *, decided: bool = True) -> Mapping[Partition, Span]:
        """See ``EventLog``."""
        return self._unless_stopped(lambda: self._ends(topics, decided=decided))

    def _ends(self, topics: Sequence[str], *, decided: bool) -> Mapping[Partition, Span]:
        with self._admin() as admin:
            there = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
            if missing := [name for name in topics if name not in there]:
                raise TopicsMissing(", ".join(missing))
            partitions = [AdminPartition(name, number) for name in topics for number in range(there[name])]
            first = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
            last = admin.list_partition_offsets(
                dict.fromkeys(partitions, OffsetSpec.LATEST),
                isolation_level="read_committed" if decided else "read_uncommitted",
            )
        return {(at.topic, at.partition): (first[at].offset, last[at].offset) for at in partitions}

    def _unless_stopped(self, ask: Callable[[], T]) -> T:
        """What is asked, by a client that cannot be interrupted: whoever is told to stop does not wait for it."""
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(ask())
            except BaseException as error:  # noqa: BLE001 - raised by whoever waits
                answer.set_exception(error)

        threading.Thread(target=run, name="moot-kafka-admin", daemon=True).start()
        while not wait([answer], SLICE_SECONDS).done:
            if self._stopping():
                raise LogUnavailable("told to stop while Kafka did not answer")
        return answer.result()

    def topics(self) -> Mapping[str, TopicState]:
        """See ``EventLog``."""
        with self._admin() as admin:
            described = [topic for topic in admin.describe_topics() if not topic["is_internal"]]
            wanted = [ConfigResource(ConfigResourceType.TOPIC, topic["name"]) for topic in described]
            configs = admin.describe_configs(wanted, config_filter="modified").get("topic", {}) if wanted else {}
        found = {}
        for topic in described:
            name, partitions = topic["name"], topic["partitions"]
            config = {key: str(entry["value"]) for key, entry in configs.get(name, {}).items()}
            found[name] = TopicState(len(partitions), len(partitions[0]["replica_nodes"]), config)
        return found

    def create_topic(self, name: str, topic: TopicState) -> None:
        """See ``EventLog``."""
        wanted = {
            "num_partitions": topic.partitions,
            "replication_factor": topic.replicas,
            "configs": dict(topic.config),
        }
        with self._admin() as admin:
            try:
                admin.create_topics({name: wanted})
            except TopicAlreadyExistsError:
                _log.info("topic.exists_already", topic=name)
            admin.wait_for_topics([name])

    def configure_topic(self, name: str, config: Mapping[str, str]) -> None:
        """See ``EventLog``."""
        with self._admin() as admin:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(config))], incremental=True)

    def delete_topics(self, names: Sequence[str]) -> None:
        """Delete topics with all that is in them: for tests, and for nothing else."""
        with self._admin() as admin:
            admin.delete_topics(list(names))

    @contextmanager
    def _admin(self) -> Iterator[Any]:
        """A client for a few questions. It is not kept: it would go on looking for brokers that are away."""
        milliseconds = round(1000 * self._limits.request_seconds_max)
        client = None
        try:
            client = KafkaAdminClient(
                bootstrap_servers=self._servers.split(","),
                client_id="moot",
                request_timeout_ms=milliseconds,
                bootstrap_timeout_ms=milliseconds,
            )
            yield client
        except (AdminError, OSError, TimeoutError) as error:
            raise LogUnavailable(f"{type(error).__name__}: {error}") from error
        finally:
            if client is not None:
                client.close()


class KafkaWriter:
    """See ``LogWriter``. Takes turns with several producers, each with a transactional id of its own.

    A transaction is decided when its commit is answered, but the broker refuses the next one of the same id until its
    marks are set in every partition, and the library asks again after 20 ms. Under another id the next one can begin
    at once; and never before the one before it is decided, so that they still follow each other.
    """

    def __init__(self, servers: str, transactional_id: str, limits: KafkaLimits, giving_up: GivingUp) -> None:
        self._limits = limits
        self._giving_up = giving_up
        self._producers: deque[Producer] = deque()
        self._away = False
        # All ids are taken over before anything is read or written: whoever had them can then decide nothing more.
        for lane in range(LANES):
            self._producers.append(_producer(servers, f"{transactional_id}-{lane}", limits, self._heard))
        for producer in tuple(self._producers):
            self._until_done(producer.init_transactions)
        self._away = False

    def write(self, records: Sequence[LogRecord]) -> None:
        """See ``LogWriter``."""
        if not self._producers:
            raise LogUnavailable("this writer is closed")
        self._look()
        producer = self._producers[0]
        try:
            producer.begin_transaction()
            produce = producer.produce
            for record in records:
                produce(
                    record.topic,
                    record.value,
                    record.key,
                    record.partition,
                    timestamp=record.timestamp_ms,
                    headers=record.headers,  # type: ignore[arg-type]  # bytes are among what may be
                )
        except (KafkaException, BufferError) as error:
            self.close()
            raise _raised(error) from error
        self._until_done(producer.commit_transaction)
        self._producers.rotate(-1)

    def close(self) -> None:
        """See ``LogWriter``."""
        while self._producers:
            # The library's own close() would abort what is open, and wait for a broker that may be gone.
            self._producers.pop().purge(blocking=False)

    def _until_done(self, call: Callable[[float], None]) -> None:
        """Repeat what the library goes on with after a timeout, for as long as a transaction may take."""
        deadline = time.monotonic() + self._limits.transaction_seconds_max
        while True:
            try:
                return call(SLICE_SECONDS)
            except KafkaException as error:
                goes_on = error.args[0].retriable() and time.monotonic() < deadline
                if not goes_on or self._giving_up():
                    self.close()
                    raise _raised(error) from error
                self._look()

    def _look(self) -> None:
        """Make sure that the brokers were not away. Those that started again may have lost what they acknowledged.

        The library would go on without a word, and what comes next would hide what is missing before it. One of several
        may go: what it had, others have.
        """
        for producer in self._producers:
            producer.poll(0)
        if self._away:
            self.close()
            raise LogUnavailable("the brokers were away")

    def _heard(self, error: KafkaError) -> None:
        self._away = self._away or error.code() == KafkaError._ALL_BROKERS_DOWN


def _producer(
    servers: str, transactional_id: str, limits: KafkaLimits, heard: Callable[[KafkaError], None]
) -> Producer:
    return Producer(
        {
            "error_cb": heard,
            "bootstrap.servers": servers,
            "client.id": "moot",
            "transactional.id": transactional_id,
            "transaction.timeout.ms": round(1000 * limits.transaction_seconds_max),
            "acks": "all",
            "linger.ms": 0,
            "batch.size": 1_000_000,
            "message.max.bytes": limits.record_bytes_max,
            "compression.type": "none",
            "retry.backoff.ms": 5,
            "reconnect.backoff.max.ms": 1000,
            "socket.timeout.ms": round(1000 * limits.request_seconds_max),
        },
        logger=_library,
    )


def _raised(error: Exception) -> Fenced | LogUnavailable:
    code = error.args[0].code() if isinstance(error, KafkaException) else None
    return Fenced(_said(error)) if code in _FENCED else LogUnavailable(_said(error))


def _said(error: Exception) -> str:
    return error.args[0].str() if isinstance(error, KafkaException) else str(error)


def _sorted_out(
    messages: Sequence[Message], left: dict[Partition, Span]
) -> tuple[list[LogRecord], _Interrupted | None]:
    """The records of these messages up to one that says that reading broke off; what is ``left`` then.

    Those of partitions that are not left, and those past an end, are left out. The end is also told by the library,
    where what stands last is no record of a transaction that was committed.
    """
    page: list[LogRecord] = []
    reached: dict[Partition, int] = {}
    broken = None
    every: Sequence[Any] = messages  # what has no error has a place, an offset and bytes
    for message in every:
        place, offset, error = (message.topic(), message.partition()), message.offset(), message.error()
        span = left.get(place)
        if error is None:
            if span is not None:
                reached[place] = offset + 1
                if offset < span[1]:
                    key, headers, at = message.key() or b"", message.headers() or [], message.timestamp()[1]
                    page.append(LogRecord(*place, key, message.value(), headers, at, offset))
        elif None in place or offset is None:
            broken = _Interrupted(error.str())
            break
        elif span is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                broken = _Interrupted(f"{place[0]}, partition {place[1]}, offset {offset}: {error.str()}")
                break
            reached[place] = max(reached.get(place, 0), offset)
    for place, to in reached.items():
        first, end = left[place]
        if to >= end:
            del left[place]
        else:
            left[place] = (max(first, to), end)
    return page, broken
