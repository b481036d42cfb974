"""Servers: opening and editing them, their roles, their members, and the invites that lead there."""

from commands import standing
from commands.use_case import Act, Decision, Streams, UseCases, refuse_too_many
from domain import account, invite, role, server, server_member
from domain.event import Id
from domain.ids import invite_use_id, roles_id, server_member_id
from domain.invite import CreateInvite, JoinServer, RevokeInvite
from domain.name import keyed_id
from domain.permissions import Permission
from domain.role import CreateRole, DeleteRole, EditRole, MoveRole
from domain.server import CreateServer, DeleteServer, EditServer, TransferServer
from domain.server_member import BanMember, GrantRole, KickMember, LeaveServer, RevokeRole, UnbanMember

cases = UseCases()


def _new(_command: CreateServer, act: Act) -> Id:
    return act.new_id("server")


@cases.on(CreateServer, stream=_new)
async def _(command: CreateServer, act: Act, streams: Streams) -> Decision:
    server_id = _new(command, act)
    events = server.created(command, server_id=server_id, actor_id=act.actor_id, limits=act.limits)
    standing_id = server_member_id(server_id, act.actor_id)
    await streams.fetch(standing_id, roles_id(server_id))
    first = server_member.joined(
        server_member.START, server_id=server_id, account_id=act.actor_id, invite_id=None, at=act.at
    )
    everyone = role.founded(server_id, act.actor_id)
    return Decision(events, others=((roles_id(server_id), everyone), (standing_id, first)))


Edit = EditServer | TransferServer | DeleteServer


def _edited(command: Edit, _act: Act) -> Id:
    return command.server_id


def _concerned(command: Edit, act: Act) -> tuple[Id, ...]:
    heirs = (command.account_id,) if isinstance(command, TransferServer) else ()
    return standing.server_streams(command.server_id, act.actor_id, *heirs)


@cases.on(
    EditServer,
    TransferServer,
    DeleteServer,
    stream=_edited,
    reads=_concerned,
    changes_max=lambda limits: limits.structure_changes_max,
)
async def _(command: Edit, act: Act, streams: Streams) -> Decision:
    actor = standing.in_server(streams, command.server_id, act.actor_id)
    heir = isinstance(command, TransferServer) and standing.in_server(streams, command.server_id, command.account_id)
    events = server.decide(
        command,
        actor.server,
        actor_id=act.actor_id,
        inside=actor.inside,
        may=actor.may(),
        heir_is_member=bool(heir and heir.inside),
        limits=act.limits,
    )
    return Decision(events)


Reform = CreateRole | EditRole | MoveRole | DeleteRole


def _roles(command: Reform, _act: Act) -> Id:
    return roles_id(command.server_id)


def _role(command: Reform, act: Act) -> Id:
    return act.new_id("role") if isinstance(command, CreateRole) else command.role_id


@cases.on(
    CreateRole,
    EditRole,
    MoveRole,
    DeleteRole,
    stream=_roles,
    subject=_role,
    reads=lambda c, act: standing.server_streams(c.server_id, act.actor_id),
    changes_max=lambda limits: limits.structure_changes_max,
)
async def _(command: Reform, act: Act, streams: Streams) -> Decision:
    actor = standing.in_server(streams, command.server_id, act.actor_id)
    actor.refuse_without(Permission.MANAGE_ROLES)
    events = role.decide(
        command,
        actor.roles,
        actor_id=act.actor_id,
        role_id=_role(command, act),
        may=actor.may(),
        rank=actor.rank,
        limits=act.limits,
    )
    return Decision(events)


def _own(command: LeaveServer, act: Act) -> Id:
    return server_member_id(command.server_id, act.actor_id)


@cases.on(
    LeaveServer,
    stream=_own,
    subject=lambda c, _: c.server_id,
    reads=lambda c, act: standing.server_streams(c.server_id, act.actor_id),
)
async def _(command: LeaveServer, act: Act, streams: Streams) -> Decision:
    return Decision(server_member.left(command, standing.in_server(streams, command.server_id, act.actor_id)))


PutOut = KickMember | BanMember | UnbanMember


def _others(command: PutOut, _act: Act) -> Id:
    return server_member_id(command.server_id, command.account_id)


def _both(command: PutOut, act: Act) -> tuple[Id, ...]:
    return (command.account_id, *standing.server_streams(command.server_id, act.actor_id, command.account_id))


@cases.on(KickMember, BanMember, UnbanMember, stream=_others, subject=lambda c, _: c.server_id, reads=_both)
async def _(command: PutOut, act: Act, streams: Streams) -> Decision:
    events = server_member.put_out(
        command,
        standing.in_server(streams, command.server_id, act.actor_id),
        standing.in_server(streams, command.server_id, command.account_id),
        account=streams.state(account, command.account_id),
        at=act.at,
        limits=act.limits,
    )
    return Decision(events)


ChangeRoles = GrantRole | RevokeRole


def _holder(command: ChangeRoles, _act: Act) -> Id:
    return server_member_id(command.server_id, command.account_id)


@cases.on(
    GrantRole,
    RevokeRole,
    stream=_holder,
    subject=lambda c, _: c.server_id,
    reads=lambda c, act: standing.server_streams(c.server_id, act.actor_id, c.account_id),
)
async def _(command: ChangeRoles, act: Act, streams: Streams) -> Decision:
    events = server_member.given_role(
        command,
        standing.in_server(streams, command.server_id, act.actor_id),
        standing.in_server(streams, command.server_id, command.account_id),
    )
    return Decision(events)


def _invite(_command: CreateInvite, act: Act) -> Id:
    # Its id is its code: nobody may guess it, not even with the command's id.
    return keyed_id(act.name_key, "invite", act.command_id)


@cases.on(CreateInvite, stream=_invite, reads=lambda c, act: standing.server_streams(c.server_id, act.actor_id))
async def _(command: CreateInvite, act: Act, streams: Streams) -> Decision:
    actor = standing.in_server(streams, command.server_id, act.actor_id)
    made = invite.created(command, actor, invite_id=_invite(command, act), at=act.at, limits=act.limits)
    return Decision(made)


def _revoked(command: RevokeInvite, _act: Act) -> Id:
    return command.invite_id


@cases.on(RevokeInvite, stream=_revoked)
async def _(command: RevokeInvite, act: Act, streams: Streams) -> Decision:
    found = streams.state(invite, command.invite_id)
    if found is None:
        raise invite.not_found()
    await streams.fetch(*standing.server_streams(found.server_id, act.actor_id))
    return Decision(invite.revoked(found, standing.in_server(streams, found.server_id, act.actor_id)))


def _use(command: JoinServer, act: Act) -> Id:
    return invite_use_id(invite.id_of(command.code), act.actor_id)


@cases.on(
    JoinServer,
    stream=_use,
    subject=lambda c, _: invite.id_of(c.code),
    reads=lambda c, _: (invite.id_of(c.code),),
)
async def _(command: JoinServer, act: Act, streams: Streams) -> Decision:
    invite_id = invite.id_of(command.code)
    found = streams.state(invite, invite_id)
    if found is None:
        raise invite.not_found()
    member_id = server_member_id(found.server_id, act.actor_id)
    creator_id = server_member_id(found.server_id, found.creator_id)
    await streams.fetch(found.server_id, member_id, creator_id)
    member = streams.state(server_member, member_id)
    if streams.state(server, found.server_id) is None:
        raise invite.not_found()
    if member.joined:
        return Decision(())
    again = bool(streams.events(_use(command, act)))
    creator = streams.state(server_member, creator_id)
    uses, counted = invite.used(found, creator, account_id=act.actor_id, again=again, at=act.at)
    joined = server_member.joined(
        member, server_id=found.server_id, account_id=act.actor_id, invite_id=invite_id, at=act.at
    )
    # The own stream is of this invite alone, and there are any number of these.
    refuse_too_many(streams.events(member_id), act.actor_id, act.limits.changes_max)
    return Decision(uses, others=((invite_id, counted), (member_id, joined)))
