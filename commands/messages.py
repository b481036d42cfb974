"""Messages: sending, editing, deleting, reacting, and saying how far one has read."""

from commands import standing
from commands.ports import Acts, Written
from commands.use_case import Act, Decision, Streams, UseCases
from domain import emoji_list, message, name, reaction, read_marker, role, snowflake
from domain.event import Id
from domain.ids import emoji_id, reactions_id, roles_id
from domain.message import DeleteMessage, EditMessage, Mentionable, Message, Place, SendMessage
from domain.name import claim_id
from domain.nonce import NonceUsed
from domain.permissions import Permission
from domain.reaction import AddReaction, RemoveReaction
from domain.read_marker import MarkRead

cases = UseCases()


def _nonce(_command: SendMessage, act: Act) -> Id:
    return act.new_id("nonce")


@cases.on(
    SendMessage,
    stream=_nonce,
    names=lambda used: used.message_id,
    reads=lambda c, _: (c.channel_id, c.reply_to_id),
)
async def _(command: SendMessage, act: Act, streams: Streams) -> Decision:
    place = await standing.place(streams, command.channel_id, act.actor_id)
    message_id = snowflake.as_id(act.message_ids.next())
    streams.begin(message_id)
    events = message.sent(
        command,
        place,
        streams.state(message, command.reply_to_id),
        await _mentionable(streams, act, place, command.body),
        message_id=message_id,
        author_id=act.actor_id,
        limits=act.limits,
    )
    assert place is not None
    written = Written(act.actor_id, command.channel_id, act.command_id, pause_seconds=place.pause_seconds)
    await act.pace.take(written, act.limits)
    used = NonceUsed(message_id=message_id, channel_id=command.channel_id, author_id=act.actor_id)
    return Decision((used,), others=((message_id, events),))


def _message(command: EditMessage | DeleteMessage, _act: Act) -> Id:
    return command.message_id


@cases.on(EditMessage, DeleteMessage, stream=_message)
async def _(command: EditMessage | DeleteMessage, act: Act, streams: Streams) -> Decision:
    state = streams.state(message, command.message_id)
    place = await _place_of(streams, state, act)
    body = command.body if isinstance(command, EditMessage) else ""
    events = message.decide_own(
        command,
        state,
        place,
        await _mentionable(streams, act, place, body),
        actor_id=act.actor_id,
        limits=act.limits,
    )
    if events and isinstance(command, EditMessage):
        await _paced(act, state, "edits")
    return Decision(events)


def _reaction(command: AddReaction | RemoveReaction, act: Act) -> Id:
    return reactions_id(command.message_id, act.actor_id)


@cases.on(
    AddReaction,
    RemoveReaction,
    stream=_reaction,
    subject=lambda c, _: c.message_id,
    reads=lambda c, _: (c.message_id, emoji_id(c.message_id) if isinstance(c, AddReaction) else None),
)
async def _(command: AddReaction | RemoveReaction, act: Act, streams: Streams) -> Decision:
    state = streams.state(message, command.message_id)
    place = await _place_of(streams, state, act)
    reacts = streams.state(reaction, _reaction(command, act))
    events = reaction.decide(command, reacts, state, place, account_id=act.actor_id, limits=act.limits)
    if not events or isinstance(command, RemoveReaction):
        return Decision(events)
    list_id = emoji_id(command.message_id)
    listed = emoji_list.listed(streams.state(emoji_list, list_id), events, limits=act.limits)
    await _paced(act, state, "reactions")
    return Decision(events, others=((list_id, listed),))


def _marker(_command: MarkRead, act: Act) -> Id:
    return act.new_id("read marker")


@cases.on(
    MarkRead,
    stream=_marker,
    subject=lambda c, _: c.channel_id,
    reads=lambda c, _: (c.channel_id, c.message_id),
)
async def _(command: MarkRead, act: Act, streams: Streams) -> Decision:
    place = await standing.place(streams, command.channel_id, act.actor_id)
    state = streams.state(message, command.message_id)
    events = read_marker.decide(command, state, place, account_id=act.actor_id)
    await _paced(act, state, "marks")
    return Decision(events)


async def _paced(act: Act, state: Message | None, acts: Acts) -> None:
    if state is not None:
        await act.pace.take(Written(act.actor_id, state.channel_id, act.command_id, acts), act.limits)


async def _place_of(streams: Streams, state: Message | None, act: Act) -> Place | None:
    return await standing.place(streams, state.channel_id if state else None, act.actor_id)


async def _mentionable(streams: Streams, act: Act, place: Place | None, body: str) -> Mentionable:
    """Whom the names in the text could mean there. Loads who holds them, and what these are there."""
    sees = place is not None and Permission.VIEW_CHANNELS in place.may
    if place is None or not sees or not (names := message.names_in(body, act.limits)):
        return Mentionable({}, {})
    claims = {one: claim_id("account", one, act.name_key) for each in names for one in each if one.isascii()}
    await streams.fetch(*claims.values())
    holders = {one: holder for one, claim in claims.items() if (holder := streams.state(name, claim)) is not None}
    seeing = await standing.viewers(streams, place.channel_id, frozenset(holders.values()))
    roles = dict[str, list[Id]]()
    if place.server_id is not None:
        for role_id, each in streams.state(role, roles_id(place.server_id)).items():
            roles.setdefault(each.name.casefold().replace(" ", "-"), []).append(role_id)
    return Mentionable({one: holder for one, holder in holders.items() if holder in seeing}, roles)
