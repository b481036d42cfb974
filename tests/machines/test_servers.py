"""A chat server that people build and fight over: real commands, against a model that knows the rules by themselves.

The model keeps roles in a list and permissions as sets, and asks nothing of the code under test.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from commands import standing
from commands.handling import Commands
from commands.use_case import Streams
from domain import channel, permissions
from domain.channel import CreateChannel, SetOverride
from domain.command import Command
from domain.event import Id
from domain.invite import CreateInvite, JoinServer, code_of
from domain.permissions import ALL, OF_CHANNELS, Permission
from domain.refusal import Refusal
from domain.role import CreateRole, DeleteRole, EditRole
from domain.server import CreateServer
from domain.server_member import BanMember, GrantRole, KickMember, LeaveServer, RevokeRole, UnbanMember
from infra.event_store import memory_store
from tests.domain.world import ACCOUNTS, ALICE, BOB, CAROL, NOW, caller, commands_over, put

PEOPLE = (ALICE, BOB, CAROL)
USEFUL = (
    Permission.VIEW_CHANNELS,
    Permission.SEND_MESSAGES,
    Permission.MANAGE_CHANNELS,
    Permission.MANAGE_ROLES,
    Permission.KICK_MEMBERS,
    Permission.BAN_MEMBERS,
    Permission.ADMINISTRATOR,
)
Bits = frozenset[Permission]
who, which = st.sampled_from(PEOPLE), st.integers(0, 4)
some = st.frozensets(st.sampled_from(USEFUL))
of_channels = st.frozensets(st.sampled_from([one for one in USEFUL if one in OF_CHANNELS]))
EVERY: Bits = frozenset(ALL)


def number(bits: Bits) -> int:
    return sum(int(one) for one in bits)


class ChatServer(RuleBasedStateMachine):
    """Carol's server with one channel. ``roles`` are the lowest first; the first is that of everyone."""

    def __init__(self) -> None:
        super().__init__()
        self.store = memory_store(clock=lambda: NOW)
        put(self.store, ACCOUNTS)
        self.commands: Commands = commands_over(self.store)
        self.keys = count()
        self.roles: list[Id] = []
        self.gone: list[Id] = []
        self.allows: dict[Id, Bits] = {}
        self.members: dict[Id, set[Id]] = {}
        self.came: dict[Id, int] = dict.fromkeys(PEOPLE, 0)
        self.banned: set[Id] = set()
        self.said: dict[Id, tuple[Bits, Bits, int]] = {}

    def ask(self, command: Command, by: Id) -> Id | None:
        """What it was about, or ``None`` if it was refused."""
        try:
            return asyncio.run(self.commands.execute(command, caller(by, str(next(self.keys))))).subject_id
        except Refusal:
            return None

    def asked(self, command: Command, by: Id, *, may: bool, then: Callable[[], Any]) -> None:
        """It is taken just if it may be."""
        assert (self.ask(command, by) is not None) == may, (command, may)
        if may:
            then()

    @initialize()
    def opened(self) -> None:
        server = self.ask(CreateServer("Server"), CAROL)
        assert server is not None
        self.server = server
        invite = self.ask(CreateInvite(server, None), CAROL)
        place = self.ask(CreateChannel(server, "general"), CAROL)
        assert invite is not None
        assert place is not None
        self.code, self.channel = code_of(invite), place
        self.roles = [server]
        self.allows[server] = frozenset(permissions.EVERYONE)
        self.members[CAROL] = set()
        self.came[CAROL] = 1
        # Two who may as much, or hardly anything of interest would come up by chance.
        self.create_role(CAROL, frozenset(USEFUL[2:6]))
        for one in (ALICE, BOB):
            self.join(one)
            self.grant(CAROL, one, 1)

    # What the model knows.

    def may(self, one: Id) -> Bits:
        if one not in self.members:
            return frozenset()
        found = self.allows[self.server].union(*(self.allows[role] for role in self.members[one] & set(self.roles)))
        return EVERY if one == CAROL or Permission.ADMINISTRATOR in found else found

    def may_there(self, one: Id) -> Bits:
        found = self.may(one)
        if one not in self.members or found == EVERY:
            return found
        allow, deny, _ = self.said.get(self.server, (frozenset(), frozenset(), 0))
        found = found - deny | allow
        held = [self.said[role] for role in self.members[one] & set(self.roles) if role in self.said]
        found = found.difference(*(deny for _, deny, _ in held)).union(*(allow for allow, _, _ in held))
        if one in self.said:
            allow, deny, membership = self.said[one]
            found = found - deny | (allow if membership == self.came[one] else frozenset())
        return found if Permission.VIEW_CHANNELS in found else frozenset()

    def rank(self, one: Id) -> int:
        if one == CAROL:
            return 1_000
        if one not in self.members:
            return -1
        return max((self.roles.index(role) for role in self.members[one] & set(self.roles)), default=0)

    def role(self, at: int) -> Id:
        there = [*self.roles, *self.gone]
        return there[at % len(there)]

    def below(self, role: Id, by: Id) -> bool:
        return role in self.roles and self.roles.index(role) < self.rank(by)

    # What people do.

    @rule(one=who)
    def join(self, one: Id) -> None:
        def then() -> None:
            if one not in self.members:
                self.members[one] = set()
                self.came[one] += 1

        self.asked(JoinServer(self.code), one, may=one not in self.banned, then=then)

    @rule(one=who)
    def leave(self, one: Id) -> None:
        may = one in self.members and one != CAROL
        self.asked(LeaveServer(self.server), one, may=may, then=lambda: self.members.pop(one))

    @rule(by=who, one=who)
    def kick(self, by: Id, one: Id) -> None:
        may = Permission.KICK_MEMBERS in self.may(by) and by != one
        may = may and (one not in self.members or self.rank(one) < self.rank(by))
        self.asked(KickMember(self.server, one), by, may=may, then=lambda: self.members.pop(one, None))

    @rule(by=who, one=who)
    def ban(self, by: Id, one: Id) -> None:
        def then() -> None:
            self.members.pop(one, None)
            self.banned.add(one)

        may = Permission.BAN_MEMBERS in self.may(by) and by != one and self.rank(one) < self.rank(by)
        self.asked(BanMember(self.server, one), by, may=may, then=then)

    @rule(by=who, one=who)
    def unban(self, by: Id, one: Id) -> None:
        may = Permission.BAN_MEMBERS in self.may(by)
        self.asked(UnbanMember(self.server, one), by, may=may, then=lambda: self.banned.discard(one))

    @rule(by=who, allows=some)
    def create_role(self, by: Id, allows: Bits) -> None:
        may = Permission.MANAGE_ROLES in self.may(by) and self.rank(by) > 0 and allows <= self.may(by)
        made = self.ask(CreateRole(self.server, "A role", number(allows)), by)
        assert (made is not None) == may
        if made is not None:
            self.roles.insert(1, made)
            self.allows[made] = allows

    @rule(by=who, at=which, allows=some)
    def edit_role(self, by: Id, at: int, allows: Bits) -> None:
        role = self.role(at)
        may = Permission.MANAGE_ROLES in self.may(by) and self.below(role, by)
        may = may and allows ^ self.allows[role] <= self.may(by)
        command = EditRole(self.server, role, permissions=number(allows))
        self.asked(command, by, may=may, then=lambda: self.allows.update({role: allows}))

    @rule(by=who, at=which)
    def delete_role(self, by: Id, at: int) -> None:
        def then() -> None:
            self.roles.remove(role)
            self.gone.append(role)

        role = self.role(at)
        may = Permission.MANAGE_ROLES in self.may(by) and self.below(role, by) and role != self.server
        self.asked(DeleteRole(self.server, role), by, may=may, then=then)

    @rule(by=who, one=who, at=which)
    def grant(self, by: Id, one: Id, at: int) -> None:
        role = self.role(at)
        may = Permission.MANAGE_ROLES in self.may(by) and self.below(role, by) and role != self.server
        may = may and one in self.members and self.allows[role] <= self.may(by)
        self.asked(GrantRole(self.server, one, role), by, may=may, then=lambda: self.members[one].add(role))

    @rule(by=who, one=who, at=which)
    def revoke(self, by: Id, one: Id, at: int) -> None:
        role = self.role(at)
        may = Permission.MANAGE_ROLES in self.may(by) and self.below(role, by) and role != self.server
        may = may and one in self.members
        self.asked(RevokeRole(self.server, one, role), by, may=may, then=lambda: self.members[one].discard(role))

    @rule(by=who, about=st.one_of(who, which), allow=of_channels, deny=of_channels)
    def override(self, by: Id, about: Id | int, allow: Bits, deny: Bits) -> None:
        target_id = self.role(about) if isinstance(about, int) else about
        membership = self.came[target_id] if target_id in self.members else 0
        before = self.said.get(target_id, (frozenset(), frozenset(), 0))
        after = (allow, deny, membership) if allow or deny else (frozenset(), frozenset(), 0)
        may = Permission.MANAGE_CHANNELS in self.may_there(by) and not allow & deny
        if allow or deny:
            may = may and (target_id in self.roles or target_id in self.members)
            may = may and (allow ^ before[0]) | (deny ^ before[1]) <= self.may_there(by)
        if after != before and target_id in self.roles:
            may = may and (target_id == self.server or self.below(target_id, by))
        elif after != before and target_id in PEOPLE:
            may = may and (target_id == by or self.rank(target_id) < self.rank(by))

        def then() -> None:
            self.said[target_id] = after

        self.asked(SetOverride(self.channel, target_id, number(allow), number(deny)), by, may=may, then=then)

    @invariant()
    def everybody_may_what_the_model_says(self) -> None:
        if not self.roles:
            return

        async def found() -> dict[Id, tuple[Permission, Permission]]:
            streams = Streams(self.store.load)
            await streams.fetch(self.channel, *standing.server_streams(self.server, *PEOPLE))
            there = streams.state(channel, self.channel)
            assert there is not None
            stand = {one: standing.in_server(streams, self.server, one) for one in PEOPLE}
            return {one: (found.may(), found.may(there.overrides)) for one, found in stand.items()}

        for one, (here, there) in asyncio.run(found()).items():
            assert frozenset(here) == self.may(one), one
            assert frozenset(there) == self.may_there(one), one


TestChatServer = ChatServer.TestCase
TestChatServer.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
