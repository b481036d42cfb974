"""Who may see a channel, many at a time, is who sees it when he asks."""

import random
from collections.abc import Callable

import pytest

from infra.queries.channel_viewers import viewers_of_channel
from read_api.ids import Kind, subject_id
from tests.api.stack import Client, Stack
from tests.live.chat import Den, done

SEEN = "query($id: ID!) { node(id: $id) { ... on Channel { name } } }"


def found(stack: Stack, den: Den, people: list[Client]) -> list[bool]:
    ids = [subject_id(who.id, Kind.ACCOUNT) for who in people]

    async def ask() -> set[str]:
        async with stack.moot.pool.connection() as connection:
            return set(await viewers_of_channel(connection, subject_id(den.channel, Kind.CHANNEL), ids))

    seeing = stack.run(ask())
    return [account_id in seeing for account_id in ids]


def asked(den: Den, people: list[Client]) -> list[bool]:
    for who in people:
        who.position = den.ada.position
    return [who.ask(SEEN, id=den.channel)["node"] is not None for who in people]


@pytest.mark.parametrize("seed", range(3))
def test_everybody_at_once_is_everybody_by_himself(stack: Stack, somebody: Callable[[], Client], seed: int) -> None:
    chance = random.Random(seed)
    people = [somebody() for _ in range(7)]
    ada, *others = people
    den = Den(ada, *others[:5])
    roles = [den.everyone]
    for name, permissions in (("Staff", []), ("Guests", []), ("Chiefs", ["ADMINISTRATOR"])):
        given = {"serverId": den.id, "name": name, "permissions": permissions}
        roles.append(done(ada, "createRole", "CreateRoleInput", "role { id }", **given)["role"]["id"])
    for who in others[2:5]:  # the others hold none, as the owner does
        for role in chance.sample(roles[1:], chance.choice([0, 1, 1, 2])):
            done(ada, "grantRole", "MemberRoleInput", serverId=den.id, accountId=who.id, roleId=role)
    outcomes = set()
    view = ["VIEW_CHANNELS"]
    rounds = [(den.everyone, {"deny": view}), (others[0].id, {"allow": view})]
    targets = [*roles[:3], *(who.id for who in others[:5])]
    rounds += [(chance.choice(targets), chance.choice([{"allow": view}, {"deny": view}, {}])) for _ in range(4)]
    for target, how in rounds:
        done(ada, "setOverride", "SetOverrideInput", channelId=den.channel, targetId=target, **how)
        seeing = asked(den, people)
        assert found(stack, den, people) == seeing
        outcomes.add(tuple(seeing))
    assert len(outcomes) > 1
    done(others[0], "leaveServer", "ServerInput", serverId=den.id)
    ada.position = others[0].position
    seeing = asked(den, people)  # which waits for the views
    assert found(stack, den, people) == seeing
    assert not seeing[1]
    done(ada, "deleteChannel", "ChannelInput", channelId=den.channel)
    assert not any(asked(den, people))
    assert not any(found(stack, den, people))
