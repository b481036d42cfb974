"""The author keys that the relay brings to Kafka: before the first event that needs one, and never after its end."""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from domain.event import Id
from infra.event_log import LogRecord
from infra.log_records import key_record
from infra.relay_store import RelayStore
from streams.limits import RelayLimits


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

    def start_over(self) -> None:
        """A leader begins, and knows nothing of what others sent."""
        self._sent, self._buried, self._since, self._due = {}, {}, None, 0.0

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
