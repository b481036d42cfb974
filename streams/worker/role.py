"""The worker's process: its groups, each in a consumer group of its own, from the start to the end.

Whatever is away is waited for, for as long as it takes. When Faust or the client of Kafka gives up, the group starts
afresh, in the same process: nothing is lost by that, as everything is in the checkpoints.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Literal

import structlog
from msgspec import Struct

from infra.breaker import Breaker
from infra.cassandra.log import LogStore
from infra.codec import Codec
from infra.event_log import EventLog, LogUnavailable, TopicsMissing
from infra.postgres import in_short
from projections.catalogue import GROUPS
from schemas.topics import located
from streams.runner import Publisher
from streams.topic_plan import check_partitions
from streams.worker.faust_app import FetchConsumer, WorkerApp
from streams.worker.folding import Folding
from streams.worker.keeping import Keeper
from streams.worker.limits import WorkerLimits
from streams.worker.watchdog import Watchdog

_LOOK_SECONDS: Final = 0.1
_STOP_SECONDS_MAX: Final = 5.0
"""How long a group that starts afresh waits for what it was before to have left."""

_EXPECTED: Final = (OSError, TopicsMissing, LogUnavailable)
"""What may happen while all of Moot is right, besides what the client of Kafka raises."""

_log = structlog.get_logger(__name__)

State = Literal["starting", "following", "waiting", "stopped"]


class GroupStatus(Struct, frozen=True):
    """How a group does. ``trouble``: why it waits. ``events``: folded since it started in this process."""

    group: str
    state: State = "starting"
    partitions: Sequence[int] = ()
    events: int = 0
    trouble: str | None = None


class Means(Struct, frozen=True):
    """What a worker works with: PostgreSQL, the brokers (``host:port, …``) and the log there, and whom to tell.

    ``breaker`` is that of PostgreSQL, for all groups together; ``message_log`` where messages go, if not to PostgreSQL.
    """

    conninfo: str
    servers: str
    log: EventLog
    codec: Codec
    publisher: Publisher | None = None
    breaker: Breaker | None = None
    message_log: LogStore | None = None


class GroupWorker:
    """One group of views. ``run`` it in an event loop, once."""

    def __init__(self, group: str, means: Means, limits: WorkerLimits) -> None:
        self.group = group
        self._means = means
        self._limits = limits
        self._projections = GROUPS[group]
        self._keeper: Keeper | None = None
        self._app: WorkerApp | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._ended = False
        self._trouble: str | None = None
        self._events_before = 0

    @property
    def status(self) -> GroupStatus:
        """As of now. For any thread."""
        keeper, app = self._keeper, self._app
        trouble = self._trouble or (keeper.trouble if keeper is not None else None)
        events = self._events_before + (keeper.events if keeper is not None else 0)
        if self._ended:
            return GroupStatus(self.group, "stopped", events=events)
        state: State = "waiting" if trouble else "starting" if app is None else "following"
        return GroupStatus(self.group, state, self.holds(), events, trouble)

    def views(self) -> Collection[str]:
        """See ``Watched``."""
        stale = self._keeper.folding.stale if self._keeper is not None else frozenset()
        return [projection.name for projection in self._projections if projection.name not in stale]

    def holds(self) -> Sequence[int]:
        """See ``Watched``."""
        return _assigned(self._app)

    def furthest(self) -> Mapping[int, int]:
        """See ``Watched``."""
        return dict(self._keeper.furthest) if self._keeper is not None else {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep the views until told to stop."""
        pause, jitter = self._limits.retry_seconds_min, random.Random()  # noqa: S311 - no secret
        while not stopping.is_set():
            began = asyncio.get_running_loop().time()
            try:
                await self._follow(stopping)
            except Exception as error:  # noqa: BLE001 - said, and the group starts afresh
                expected = isinstance(error, _EXPECTED) or type(error).__module__.startswith("aiokafka")
                self._trouble = in_short(error)
                _log.warning("worker.starts_afresh", group=self.group, trouble=self._trouble, exc_info=not expected)
            if asyncio.get_running_loop().time() - began > self._limits.stall_seconds_max:
                pause = self._limits.retry_seconds_min
            await _first(stopping, pause * jitter.uniform(0.5, 1.5))
            pause = min(2 * pause, self._limits.retry_seconds_max)
        await asyncio.gather(*self._leaving, return_exceptions=True)
        self._ended = True

    async def _follow(self, stopping: asyncio.Event) -> None:
        """Be in the consumer group until told to stop, or until something gives up."""
        folding = Folding(
            self._means.conninfo,
            self._projections,
            self._means.codec,
            self._means.publisher,
            breaker=self._means.breaker,
            name=f"moot worker {self.group}",
            transaction_seconds_max=self._limits.transaction_seconds_max,
            message_log=self._means.message_log,
        )
        topics = sorted({located(number)[0].name for number in folding.partitions})
        await asyncio.to_thread(_check_topics, self._means.log, folding.partitions)
        keeper = Keeper(self.group, folding, self._limits)
        app = WorkerApp(keeper, self._means.servers, topics, self._limits)
        try:
            self._keeper = keeper
            await app.start()
            self._app, self._trouble = app, None
            await self._look_after(app, keeper, stopping)
            if app.crash_reason is not None:
                raise app.crash_reason
        finally:
            await self._leave(app)
            await keeper.close()
            self._events_before += keeper.events
            self._keeper = self._app = None

    async def _leave(self, app: WorkerApp) -> None:
        """Stop it. What takes longer than is waited for goes on beside.

        It is never broken off: a client of Kafka that nobody stops stays in its consumer group for as long as the
        process lives, and keeps partitions that nobody reads.
        """
        leaving = asyncio.create_task(app.stop(), name=f"moot-leave-{self.group}")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._left)
        await asyncio.wait([leaving], timeout=_STOP_SECONDS_MAX)
        if not leaving.done():
            _log.warning("worker.stop_not_waited_for", group=self.group)

    def _left(self, leaving: "asyncio.Task[None]") -> None:
        self._leaving.discard(leaving)
        if not leaving.cancelled() and (error := leaving.exception()) is not None:
            _log.warning("worker.not_stopped", group=self.group, trouble=in_short(error))

    async def _look_after(self, app: WorkerApp, keeper: Keeper, stopping: asyncio.Event) -> None:
        """Wait for the end. Now and then it is looked whether views stand otherwise than when they were looked for."""
        clock = asyncio.get_running_loop().time
        due = clock() + self._limits.watch_seconds
        while not (stopping.is_set() or app.crashed or app.should_stop):
            await _first(stopping, _LOOK_SECONDS)
            if clock() >= due:
                due = clock() + self._limits.watch_seconds
                if isinstance(app.consumer, FetchConsumer) and not app.rebalancing:
                    await keeper.place_if_otherwise(app.consumer)


class Worker:
    """Groups of views in one process. ``run`` it in an event loop, once."""

    def __init__(
        self,
        groups: Sequence[str],
        means: Means,
        *,
        limits: WorkerLimits | None = None,
        changed: Callable[[GroupStatus], None] = lambda _: None,
    ) -> None:
        self._limits = limits or WorkerLimits()
        self._changed = changed
        self._groups = [GroupWorker(group, means, self._limits) for group in groups]
        self._publisher = means.publisher
        self._watchdog = Watchdog(
            means.conninfo, means.log, lambda: self._groups, self._limits, messages=means.message_log
        )

    def status(self) -> list[GroupStatus]:
        """How each group does. For any thread."""
        return [group.status for group in self._groups]

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep the views until told to stop; ``changed`` hears of each group that does otherwise than before."""
        self._watchdog.start()
        beside = [asyncio.create_task(self._tell()), asyncio.create_task(self._mend())]
        try:
            await asyncio.gather(*(group.run(stopping) for group in self._groups))
        finally:
            for each in beside:
                each.cancel()
            self._watchdog.stop()

    async def _mend(self) -> None:
        """Views that stand still have nothing to say, and so nothing that would tell what was lost before."""
        while self._publisher is not None:
            await asyncio.sleep(self._limits.watch_seconds)
            await asyncio.to_thread(self._publisher.mend)

    async def _tell(self) -> None:
        before: dict[str, tuple[object, ...]] = {}
        while True:
            for status in self.status():
                now = (status.state, tuple(status.partitions), status.trouble)
                if before.get(status.group) != now:
                    before[status.group] = now
                    self._changed(status)
            await asyncio.sleep(_LOOK_SECONDS)


def _check_topics(log: EventLog, partitions: Sequence[int]) -> None:
    """Make sure that the topics are there: a client of Kafka may make them otherwise, with other partitions."""
    there = {name: topic.partitions for name, topic in log.topics().items()}
    check_partitions(there, list(dict.fromkeys(located(number)[0] for number in partitions)))


def _assigned(app: WorkerApp | None) -> Sequence[int]:
    consumer = app.consumer if app is not None else None
    if not isinstance(consumer, FetchConsumer):
        return ()
    return consumer.assigned()


async def _first(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, or so long."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
