"""People who write in one channel as fast as they are answered, and whether log, followers and history agree on it."""

from collections import Counter
from random import Random
from typing import Any
from uuid import uuid4

from domain.message import MessageSent
from domain.snowflake import of_id
from projections.catalogue import ALL
from read_api.ids import Kind, global_id, parse_id
from tests.api.stack import Client
from tests.api.test_messages import Talk
from tests.api.test_servers import SERVER, done
from tests.stack.crowd import Crowd, Person, Wish
from tests.stack.followers import TOLD_SECONDS_MAX, Follower, Following
from tests.stack.roles import until
from tests.stack.whole import Whole

PAGE = 100
"""Messages, the most there are in one."""
VIEWS = [name for name in ALL if name != "messages"]
"""Those that PostgreSQL keeps in any case."""
TOLD = """subscription($id: ID!, $after: String) { messageChanged(channelId: $id, after: $after) {
  cursor message { id body } } }"""
HISTORY = """query($id: ID!, $first: Int, $after: String, $last: Int, $before: String) { node(id: $id) {
  ... on Channel { messages(first: $first, after: $after, last: $last, before: $before) {
    nodes { id body } pageInfo { startCursor endCursor hasNextPage hasPreviousPage } } } } }"""

Said = tuple[str, str]
"""A message, by its id and its text."""


class Talkers(Crowd):
    """Write in the channel, each person over so many ``lines`` at a time.

    Each message has a nonce, with which it is sent again where no answer came.
    """

    def __init__(self, whole: Whole, channel_id: str, lines: int, pause_seconds: float) -> None:
        self.channel_id = channel_id
        urls = [api.url for api in whole.apis]
        super().__init__(urls, whole.people * lines, asks_again=True, pause_seconds=pause_seconds)

    def person(self, who: Client, seed: int) -> Person:
        """See ``Crowd``."""
        return Talker(self, who, seed)


class Talker(Person):
    """One of them."""

    def __init__(self, talkers: Talkers, who: Client, seed: int) -> None:
        super().__init__(talkers, who, seed)
        self._channel_id = talkers.channel_id

    def wish(self) -> Wish:
        """See ``Person``."""
        nonce = str(uuid4())
        given = {"channelId": self._channel_id, "body": nonce, "nonce": nonce}
        return Wish(kind="SendMessage", key=f"{self._channel_id}:{nonce}", actor_id=self.actor_id, given=given)


class Channel:
    """A channel of which all of the site's people are members, each of whom follows it on several devices."""

    def __init__(self, whole: Whole, devices: int) -> None:
        self._whole = whole
        ada, bob, *others = whole.people
        people = iter((ada, bob))
        talk = Talk(lambda: next(people))
        for one in others:
            one.position = ada.position
            done(one, "joinServer", SERVER, "InviteInput", code=talk.code)
            ada.position = one.position
        self.id = talk.channel
        self._before = whole.caught_up()
        self._given = {"id": self.id, "after": ada.position}
        self._ways = [whole.same(ada, number) for number in range(2)]
        self.followers = [self._follower(who, seed) for seed, who in enumerate(whole.people * devices)]
        self.following = Following(list(self.followers))

    def _follower(self, who: Client, seed: int) -> Follower:
        return Follower(self._whole, TOLD, who, self._given, restless=Random(seed))

    def one_more(self) -> Following:
        """One who comes now and wants to be told everything from the beginning."""
        self.followers.append(self._follower(self._whole.people[0], len(self.followers)))
        return Following(self.followers[-1:])

    def talkers(self, *, lines: int = 1, pause_seconds: float = 0.0) -> Talkers:
        """The people, about to write."""
        return Talkers(self._whole, self.id, lines, pause_seconds)

    def refusals(self) -> set[str]:
        """Codes that any of the followers was told."""
        return set().union(*(one.refusals for one in self.followers))

    def assert_told(self, talkers: Talkers) -> int:
        """What was acknowledged is in the log once, and that is what everybody was told and what the history is.

        All other views, such as the counts of what is unread, are that of the log, too. Gives how many messages
        there are.
        """
        log = self._whole.log()
        talkers.assert_kept(log, self._before, self._whole.sealer)
        _, place = parse_id(self.id)
        sent = [r for r in log if isinstance(r.event, MessageSent) and r.event.channel_id == place]
        said = [(global_id(Kind.MESSAGE, r.event.message_id), r.event.body) for r in sent]
        places = [r.position for r in sent]
        for one in self.followers:
            until(lambda one=one: one.places(last=1) == places[-1:], TOLD_SECONDS_MAX)  # type: ignore[misc]
            _assert_same([_said(event["message"]) for event in one.heard], said, "live")
            assert one.places() == places, "the right messages with wrong cursors"
        newest_first = sorted(said, key=lambda each: of_id(parse_id(each[0])[1]), reverse=True)
        _assert_same(self._forward(), newest_first, "the history from its end")
        _assert_same(self._backward(), newest_first, "the history from its beginning")
        self._whole.assert_views(log, VIEWS)
        return len(sent)

    def unavailable(self) -> bool:
        """Whether each process answers so whoever asks for the newest messages now."""
        answers = [way.post(HISTORY, {"id": self.id, "first": PAGE}) for way in self._ways]
        codes = [{error["extensions"]["code"] for error in answer.get("errors", ())} for answer in answers]
        return codes == [{"UNAVAILABLE"}] * 2

    def _forward(self) -> list[Said]:
        """All messages, page by page from the newest, by one process."""
        client, found, after = self._ways[0], list[Said](), None
        while True:
            page = client.ask(HISTORY, id=self.id, first=PAGE, after=after)["node"]["messages"]
            found += [_said(node) for node in page["nodes"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                return found

    def _backward(self) -> list[Said]:
        """All messages, page by page from the oldest, by the other process; the newest first."""
        client, found, before = self._ways[1], list[Said](), None
        while True:
            page = client.ask(HISTORY, id=self.id, last=PAGE, before=before)["node"]["messages"]
            found = [*(_said(node) for node in page["nodes"]), *found]
            before = page["pageInfo"]["startCursor"]
            if not page["pageInfo"]["hasPreviousPage"]:
                return found


def _said(message: dict[str, Any]) -> Said:
    return message["id"], message["body"]


def _assert_same(found: list[Said], expected: list[Said], where: str) -> None:
    """What is told of a difference is how many there are: of thousands of ids nobody reads more."""
    lacking, times = set(expected) - set(found), Counter(found)
    doubled = [each for each, count in times.items() if count > 1]
    assert found == expected, f"{where}: of {len(expected)} lacks {len(lacking)}, has {len(doubled)} twice"
