"""What queries tell of chat servers, and of what is left of those that were deleted."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from domain.channel import ChannelCreated, OverrideSet
from domain.channel_list import ChannelListed
from domain.event import Event, Id
from domain.invite import InviteCreated
from domain.role import RoleCreated, founded
from domain.server import ServerCreated, ServerDeleted
from domain.server_member import (
    MemberBanned,
    MemberKicked,
    MemberUnbanned,
    RoleGranted,
    ServerJoined,
    ServerLeft,
)
from infra.queries import servers
from infra.queries.rows import Connection, Page, Slice
from tests.queries.site import NOW, Site, ident

HERE, ROLE, ROOM, INVITE = (ident("server", what) for what in ("here", "role", "room", "invite"))
ALL_OF = Slice(10)
Question = Callable[[Connection], Awaitable[Any]]


class Den:
    """A server of Ann's with a little of everything: Bob in it, Cat banned, Dan kicked."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ann, self.bob, self.cat, self.dan = (site.account(name) for name in ("Ann", "Bob", "Cat", "Dan"))
        self.happen(
            ServerCreated(HERE, self.ann, "Den", "Ours"),
            *founded(HERE, self.ann),
            RoleCreated(HERE, ROLE, self.ann, "Staff", 1, 10),
            ServerJoined(HERE, self.ann, None, 1),
            InviteCreated(INVITE, HERE, self.ann, None, None),
            ServerJoined(HERE, self.bob, INVITE, 1),
            RoleGranted(HERE, self.bob, ROLE, self.ann),
            MemberBanned(HERE, self.cat, self.ann, "Spam", None, False),
            ServerJoined(HERE, self.dan, INVITE, 1),
            MemberKicked(HERE, self.dan, self.ann, "Noise"),
            ChannelListed(HERE, ROOM, 10),
            ChannelCreated(HERE, ROOM, self.ann, "text", "room", "", 0),
            OverrideSet(HERE, ROOM, ROLE, self.ann, 0, 2, 0),
        )

    def happen(self, *events: Event) -> None:
        for event in events:
            self.site.happen(event)
        self.site.fold()

    def ask(self, question: Question) -> Any:
        async def asked() -> Any:
            return await self.site.ask(question)

        return asyncio.run(asked())


@pytest.fixture
def den(site: Site) -> Den:
    return Den(site)


def test_of_a_server_that_is_deleted_nothing_is_told(den: Den) -> None:
    later = NOW + timedelta(days=1)
    questions: dict[str, Question] = {
        "inside": lambda c: servers.inside(c, den.bob, [HERE]),
        "mine": lambda c: servers.mine(c, den.bob, ALL_OF),
        "roles": lambda c: servers.servers_of_roles(c, [ROLE]),
        "channels": lambda c: servers.channels(c, [ROOM]),
        "channels of": lambda c: servers.channels_of(c, [HERE]),
        "members": lambda c: servers.members(c, HERE, ALL_OF),
        "bans": lambda c: servers.bans(c, HERE, ALL_OF),
        "kicks": lambda c: servers.bans(c, HERE, ALL_OF, kicked=True),
        "invites": lambda c: servers.invites(c, HERE, None, ALL_OF),
        "invited": lambda c: servers.invited(c, None, [INVITE], later),
        "server of invite": lambda c: servers.server_of_invite(c, INVITE),
    }

    def told() -> dict[str, bool]:
        answers = {name: den.ask(question) for name, question in questions.items()}
        return {name: bool(answer.items if isinstance(answer, Page) else answer) for name, answer in answers.items()}

    assert all(told().values()), told()
    den.happen(ServerDeleted(HERE, den.ann))
    assert not any(told().values()), told()


def test_kicks_and_bans_are_told_with_their_reasons_until_they_are_over(den: Den) -> None:
    def told(*, kicked: bool) -> list[tuple[Id, str]]:
        page = den.ask(lambda c: servers.bans(c, HERE, ALL_OF, kicked=kicked))
        return [(row.account_id, row.reason) for row in page.items]

    assert told(kicked=False) == [(den.cat, "Spam")]
    assert told(kicked=True) == [(den.dan, "Noise")]
    den.happen(MemberBanned(HERE, den.dan, den.ann, "Again", None, False))
    assert told(kicked=False) == [(den.dan, "Again"), (den.cat, "Spam")]
    assert told(kicked=True) == []
    den.happen(MemberUnbanned(HERE, den.dan, den.ann), MemberKicked(HERE, den.bob, den.ann, "Noise"))
    assert told(kicked=False) == [(den.cat, "Spam")]
    assert told(kicked=True) == [(den.bob, "Noise")]
    den.happen(ServerJoined(HERE, den.bob, INVITE, 2))
    assert told(kicked=True) == []


def test_an_invite_is_told_to_those_whom_it_lets_in(den: Den) -> None:
    """As ``domain.invite`` decides it: to whoever is banned it is none, and none is whose creator is put out."""
    own = ident("server", "own")
    den.happen(InviteCreated(own, HERE, den.bob, None, None))

    def told(invite_id: Id, who: Id | None) -> bool:
        return bool(den.ask(lambda c: servers.invited(c, who, [invite_id], NOW + timedelta(days=1))))

    assert [told(INVITE, who) for who in (None, den.cat, den.dan)] == [True, False, True]
    assert told(own, den.dan)
    den.happen(MemberKicked(HERE, den.bob, den.ann, ""))
    assert not told(own, den.dan)
    assert told(INVITE, den.bob)
    den.happen(ServerJoined(HERE, den.bob, INVITE, 2))
    assert told(own, den.dan)
    den.happen(ServerLeft(HERE, den.bob))
    assert told(own, den.dan)
    den.happen(MemberBanned(HERE, den.bob, den.ann, "", NOW, False))
    assert not told(own, den.dan)
    den.happen(MemberUnbanned(HERE, den.bob, den.ann))
    assert told(own, den.dan)
