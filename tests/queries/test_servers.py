"""What queries tell of chat servers, and of what is left of those that were deleted."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from domain.channel import ChannelCreated, OverrideSet
from domain.channel_list import ChannelListed
from domain.event import Event
from domain.invite import InviteCreated
from domain.role import RoleCreated, founded
from domain.server import ServerCreated, ServerDeleted
from domain.server_member import MemberBanned, RoleGranted, ServerJoined
from infra.queries import servers
from infra.queries.rows import Connection, Page, Slice
from tests.queries.site import NOW, Site, ident

HERE, ROLE, ROOM, INVITE = (ident("server", what) for what in ("here", "role", "room", "invite"))
ALL_OF = Slice(10)
Question = Callable[[Connection], Awaitable[Any]]


class Den:
    """A server of Ann's with a little of everything: Bob in it, Cat banned from it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ann, self.bob, self.cat = (site.account(name) for name in ("Ann", "Bob", "Cat"))
        self.happen(
            ServerCreated(HERE, self.ann, "Den", "Ours"),
            *founded(HERE, self.ann),
            RoleCreated(HERE, ROLE, self.ann, "Staff", 1, 10),
            ServerJoined(HERE, self.ann, None, 1),
            InviteCreated(INVITE, HERE, self.ann, None, None),
            ServerJoined(HERE, self.bob, INVITE, 1),
            RoleGranted(HERE, self.bob, ROLE, self.ann),
            MemberBanned(HERE, self.cat, self.ann, "Spam", None, False),
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
