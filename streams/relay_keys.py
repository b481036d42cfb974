"""The author keys that the relay brings to Kafka: before the first event that needs one, and never after its end.

What Kafka has lost of them by itself is found by comparing all of them, once by each leader, and sent again.
"""

import time
from collections.abc import Generator, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from domain.event import Id
from infra.event_log import EventLog, LogRecord
from infra.log_records import key_record
from infra.relay_store import RelayStore
from schemas.topics import AUTHOR_KEYS
from streams.limits import RelayLimits

_FIRST = Id(str(UUID(int=0)))

_log = structlog.get_logger(__name__)


class AuthorKeys:
    """Which keys are in Kafka already, as far as one leader knows. Used from its thread.

    A key that is sent again replaces itself. One that was destroyed is looked for at intervals, all of them when a
    leader begins: so a leader that died before it could say so is no harm.
    """

    def __init__(self, limits: RelayLimits) -> None:
        self._limits = limits
        self._sent: dict[Id, None] = {}
        self._buried: dict[Id, datetime] = {}
        self._since: datetime | None = None
        self._due = 0.0
        self._comparing: Generator[list[LogRecord]] | None = None
        self.compared = False
        """Whether all keys were looked for. For any thread."""

    def start_over(self, store: RelayStore, log: EventLog) -> None:
        """A leader begins, and knows nothing of what others sent."""
        self.close()
        self._sent, self._buried, self._since, self._due = {}, {}, None, 0.0
        self._comparing, self.compared = self._compare(store, log), False

    def close(self) -> None:
        """A leader has ended."""
        if self._comparing is not None:
            self._comparing.close()

    def needed(self, store: RelayStore, authors: Iterable[Id]) -> list[LogRecord]:
        """The keys of those of these authors whose keys are not known to be in Kafka."""
        unsent = [author for author in authors if author not in self._sent]
        if not unsent:
            return []
        return [key_record(author, wrapped) for author, wrapped in store.keys(unsent).items()]

    def sent(self, authors: Iterable[Id]) -> None:
        """The keys of these are in Kafka now."""
        self._sent.update(dict.fromkeys(authors))
        for author in list(self._sent)[: max(0, len(self._sent) - self._limits.keys_remembered_max)]:
            del self._sent[author]

    def lost(self) -> list[LogRecord] | None:
        """Keys that should be in Kafka and are not. Each call looks a little further; ``None`` once all was looked at.

        Call it while nothing else is urgent. Raises ``LogUnavailable`` and ``TopicsMissing``.
        """
        return next(self._comparing, None) if self._comparing is not None else None

    def _compare(self, store: RelayStore, log: EventLog) -> Generator[list[LogRecord]]:
        """What is in Kafka as this begins, page by page; then what it lacks, if anything."""
        # Those made later go with their first event.
        began = store.compare_keys()
        for page in log.read(log.ends([AUTHOR_KEYS.name])):
            store.there(_keys(page))
            yield []
        after: Id | None = _FIRST
        while after is not None:
            found, after = store.not_there(began, after, self._limits.batch_events_max)
            lost = [key_record(author, wrapped) for author, wrapped in found.items() if author not in self._sent]
            if lost:
                # Some may be of authors who never came to write anything.
                _log.warning("relay.kafka_lacked_keys", authors=len(lost))
            yield lost
        store.compared_keys()
        self.compared = True

    def destroyed(self, store: RelayStore) -> list[LogRecord]:
        """Word that keys are destroyed, once for each; looked for when it is time."""
        if time.monotonic() < self._due:
            return []
        self._due = time.monotonic() + self._limits.keys_seconds
        found = store.destroyed(self._since, self._limits.keys_margin_seconds)
        if found:
            self._since = found[-1][1]
            oldest = self._since - timedelta(seconds=self._limits.keys_margin_seconds)
            self._buried = {author: at for author, at in self._buried.items() if at > oldest}
        fresh = {author: at for author, at in found if author not in self._buried}
        self._buried |= fresh
        return [key_record(author, None) for author in fresh]


def _keys(page: Sequence[LogRecord]) -> dict[Id, bytes | None]:
    """The newest of each author."""
    found = {}
    for record in page:
        try:
            found[Id(str(UUID(record.key.decode())))] = record.value
        except ValueError:
            _log.warning("relay.foreign_key", offset=record.offset)
    return found
