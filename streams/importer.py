"""The import of archives: lines in, events out, in bounded memory; once, whatever is imported how often.

Each record is one event in a stream whose id is derived from the archive's own name of it, so what was imported
before meets its own stream and adds nothing. Authors and communities become accounts and communities when first
met. A comment whose parent is not known yet stands directly below its post, until ``streams/attaching.py`` finds
it its place.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from typing import Generic, TypeVar

from msgspec import Struct

from commands.archive import SOURCE, Author, BadRecordError, Community, Reply, Submission, read_line
from commands.ports import Append, Conflict
from domain import comment as comments
from domain import name
from domain.account import AccountImported
from domain.comment import SEGMENT_BYTES, CommentImported, segment
from domain.community import CommunityImported
from domain.event import Event, Id
from domain.limits import Limits
from domain.post import PostImported
from infra.event_store import GroupCommitStore
from schemas.envelope import Metadata, Recorded
from streams.archive_files import LINE_BYTES_MAX, ArchiveFile, ArchiveLine

BATCH_RECORDS = 2_000
"""Records that are looked up, appended and bookmarked together."""
KNOWN_NAMES_MAX = 100_000
"""Authors and communities remembered as imported, about 200 bytes each."""
KNOWN_PLACES_MAX = 100_000
"""Comments whose place in their thread is remembered for their replies, about 300 bytes each."""

_T = TypeVar("_T")
_Strangers = dict[Id, tuple[Author | Community, Submission | Reply]]


class Rejected(Struct, frozen=True):
    """A line that was passed over, by its number from 1, and why."""

    number: int
    reason: str


class Imported(Struct):
    """What came of an archive so far. ``known`` records were in the log already; ``rejected`` lines are no records."""

    lines: int = 0
    submissions: int = 0
    comments: int = 0
    accounts: int = 0
    communities: int = 0
    known: int = 0
    rejected: int = 0
    orphans: int = 0

    @property
    def records(self) -> int:
        """Records that are in the log now and were not before."""
        return self.submissions + self.comments


class Place(Struct, frozen=True, gc=False):
    """Where a comment stands in its thread."""

    path: bytes
    depth: int


class _Known(Struct, frozen=True, gc=False):
    """A comment that is in the log, or is about to be."""

    post_id: Id
    place: Place


def below(parent: Place, own: bytes, depth_max: int) -> Place:
    """The place of a reply with that segment. What is deeper than ``depth_max`` is kept at that depth."""
    path = parent.path[: (depth_max - 1) * SEGMENT_BYTES] + own
    return Place(path, len(path) // SEGMENT_BYTES)


class _Read(Struct):
    """A batch of lines as it was read. ``lines`` is the number of the last one, 0 if there was none any more.

    ``cut_off`` ended the reading after these.
    """

    lines: int = 0
    records: list[Submission | Reply] = []
    rejected: list[Rejected] = []
    cut_off: Exception | None = None


class _Recent(Generic[_T]):
    """The most recently used of a mapping, at most so many."""

    def __init__(self, size_max: int) -> None:
        self._entries: OrderedDict[Id, _T] = OrderedDict()
        self._size_max = size_max

    def get(self, key: Id) -> _T | None:
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: Id, value: _T) -> None:
        self._entries[key] = value
        if len(self._entries) > self._size_max:
            self._entries.popitem(last=False)


class Importer:
    """Imports archives into one event store. Not to be shared by threads; several may run at once, each its own.

    ``run_id`` becomes the correlation id of all that is recorded; ``at`` is now.
    """

    def __init__(self, store: GroupCommitStore, *, name_key: bytes, run_id: Id, at: datetime, limits: Limits) -> None:
        self._store = store
        self._name_key = name_key
        self._run_id = run_id
        self._at = at
        self._depth_max = limits.comment_depth_max
        self._names: _Recent[bool] = _Recent(KNOWN_NAMES_MAX)
        self._places: _Recent[_Known] = _Recent(KNOWN_PLACES_MAX)

    def run(
        self,
        archive: ArchiveFile,
        *,
        skip_lines: int = 0,
        on_batch: Callable[[Imported], None] = lambda _: None,
        on_reject: Callable[[Rejected], None] = lambda _: None,
    ) -> Imported:
        """Import all lines after the first ``skip_lines``. ``on_batch`` is called when a batch is durable.

        Raises ``CutOffError`` after everything before the cut is imported, and what the event store raises.
        """
        done = Imported(lines=skip_lines)
        lines = (line for line in archive.lines() if line.number > skip_lines)
        # While PostgreSQL works on one batch, the next one is unpacked and read.
        with ThreadPoolExecutor(1, "archive-reader") as reader:
            batch = reader.submit(self._read, lines).result()
            while batch.lines:
                following = None if batch.cut_off else reader.submit(self._read, lines)
                done.rejected += len(batch.rejected)
                for rejected in batch.rejected:
                    on_reject(rejected)
                self._batch(batch.records, done)
                done.lines = batch.lines
                on_batch(done)
                if following is None:
                    break
                batch = following.result()
        if batch.cut_off is not None:
            raise batch.cut_off
        return done

    def _read(self, lines: Iterator[ArchiveLine]) -> "_Read":
        found = _Read()
        try:
            for line in islice(lines, BATCH_RECORDS):
                found.lines = line.number
                if line.content is None:
                    found.rejected.append(Rejected(line.number, f"longer than {LINE_BYTES_MAX:,} bytes"))
                    continue
                try:
                    found.records.append(read_line(line.content, now=self._at))
                except BadRecordError as error:
                    found.rejected.append(Rejected(line.number, str(error)))
        except Exception as error:  # noqa: BLE001 - raised when what came before it is imported
            found.cut_off = error
        return found

    def _batch(self, records: Sequence[Submission | Reply], done: Imported) -> None:
        present = self._present(records)
        self._introduce(records, present, done)
        new: OrderedDict[Id, tuple[Sequence[Append], Metadata]] = OrderedDict()
        for record in records:
            stream_id = record.post_id if isinstance(record, Submission) else record.comment_id
            if stream_id in present or stream_id in new:
                done.known += 1
                continue
            event: Event = _submission(record) if isinstance(record, Submission) else self._reply(record)
            new[stream_id] = self._command(record, Append(stream_id, 0, (event,)))
        outcomes = self._store.append_many(list(new.values()))
        for (appends, _), outcome in zip(new.values(), outcomes, strict=True):
            recorded = appends[0].events[0]
            if isinstance(outcome, Conflict):
                done.known += 1
            elif isinstance(recorded, CommentImported):
                done.comments += 1
                done.orphans += recorded.orphan
            else:
                done.submissions += 1

    def _present(self, records: Sequence[Submission | Reply]) -> set[Id]:
        """Which records are in the log already. Remembers names and the places of comments and parents met there."""
        asked: set[Id] = set()
        for record in records:
            asked.update(person.account_id for person in _author(record) if self._names.get(person.account_id) is None)
            if self._names.get(record.community.community_id) is None:
                asked.add(record.community.community_id)
            if isinstance(record, Submission):
                asked.add(record.post_id)
                continue
            asked.add(record.comment_id)
            if record.parent_id is not None and self._places.get(record.parent_id) is None:
                asked.add(record.parent_id)
        streams = self._store.load_sync(list(asked))
        present = {stream_id for stream_id, events in streams.items() if events}
        for stream_id in present:
            self._remember(stream_id, streams[stream_id])
        return present

    def _remember(self, stream_id: Id, events: Sequence[Recorded]) -> None:
        if isinstance(events[0].event, AccountImported | CommunityImported):
            self._names.put(stream_id, True)
            return
        comment = comments.START
        for recorded in events:
            comment = comments.evolve(comment, recorded.event)
        if comment is not None:
            self._places.put(stream_id, _Known(comment.post_id, Place(comment.path, comment.depth)))

    # -- authors and communities -------------------------------------------------------------------------------

    def _introduce(self, records: Sequence[Submission | Reply], present: set[Id], done: Imported) -> None:
        """Record the accounts and communities that are met for the first time, under a name that is free."""
        strangers: _Strangers = {}
        for record in records:
            people: tuple[Author | Community, ...] = (*_author(record), record.community)
            for whom in people:
                stream_id = whom.account_id if isinstance(whom, Author) else whom.community_id
                if stream_id not in present and self._names.get(stream_id) is None:
                    strangers.setdefault(stream_id, (whom, record))
        suffix = ""
        while strangers:
            commands = [self._introduction(whom, record, suffix) for whom, record in strangers.values()]
            outcomes = self._store.append_many(commands)
            taken: _Strangers = {}
            for (stream_id, (whom, record)), outcome in zip(strangers.items(), outcomes, strict=True):
                if isinstance(outcome, Conflict) and stream_id not in outcome.stream_ids:
                    taken[stream_id] = (whom, record)
                    continue
                self._names.put(stream_id, True)
                if not isinstance(outcome, Conflict):
                    done.accounts += isinstance(whom, Author)
                    done.communities += isinstance(whom, Community)
            strangers = taken
            suffix += f"_{SOURCE}"

    def _introduction(
        self, whom: Author | Community, record: Submission | Reply, suffix: str
    ) -> tuple[Sequence[Append], Metadata]:
        """Its first event and the claim to its name; with a suffix where that is taken here, or the site's own."""
        called = whom.name + (suffix or (f"_{SOURCE}" if name.folded(whom.name) in name.RESERVED else ""))
        event: Event
        if isinstance(whom, Author):
            kind: name.Kind = "account"
            stream_id = whom.account_id
            event = AccountImported(account_id=stream_id, name=called, source=SOURCE)
        else:
            kind = "community"
            stream_id = whom.community_id
            event = CommunityImported(community_id=stream_id, name=called, source=SOURCE)
        claim = name.NameClaimed(kind=kind, holder_id=stream_id)
        return self._command(
            record, Append(stream_id, 0, (event,)), Append(name.claim_id(kind, called, self._name_key), 0, (claim,))
        )

    # -- events ------------------------------------------------------------------------------------------------

    def _command(self, record: Submission | Reply, *appends: Append) -> tuple[Sequence[Append], Metadata]:
        meta = Metadata(
            command_id=appends[0].stream_id,
            correlation_id=self._run_id,
            causation_id=None,
            actor_id=None,
            occurred_at=record.submitted_at,
            recorded_at=record.submitted_at,
        )
        return appends, meta

    def _reply(self, record: Reply) -> CommentImported:
        own = segment(record.comment_id, record.submitted_at)
        parent = None if record.parent_id is None else self._places.get(record.parent_id)
        if parent is not None and parent.post_id != record.post_id:
            parent = None  # an archive that has it below a comment of another post is wrong: it would be shown nowhere
        place = Place(own, 1) if parent is None else below(parent.place, own, self._depth_max)
        # A thread's comments share its id, which is most of what is remembered of each.
        self._places.put(record.comment_id, _Known(record.post_id if parent is None else parent.post_id, place))
        return CommentImported(
            comment_id=record.comment_id,
            post_id=record.post_id,
            community_id=record.community.community_id,
            author_id=_author_id(record),
            parent_id=record.parent_id,
            orphan=record.parent_id is not None and parent is None,
            path=place.path,
            depth=place.depth,
            body=record.body,
            edited_at=record.edited_at,
            up=record.up,
            down=record.down,
            removed=record.removed,
            source_id=record.source_id,
        )


def _author(record: Submission | Reply) -> Iterable[Author]:
    return () if record.author is None else (record.author,)


def _author_id(record: Submission | Reply) -> Id | None:
    return None if record.author is None else record.author.account_id


def _submission(record: Submission) -> PostImported:
    return PostImported(
        post_id=record.post_id,
        community_id=record.community.community_id,
        author_id=_author_id(record),
        kind=record.kind,
        title=record.title,
        body=record.body,
        url=record.url,
        edited_at=record.edited_at,
        up=record.up,
        down=record.down,
        locked=record.locked,
        sticky=False,
        removed=record.removed,
        source_id=record.source_id,
    )
