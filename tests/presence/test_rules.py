"""Who is present, against a model that knows the rules by themselves; on a real Redis, with a clock that is set."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from domain.event import Id
from infra.attempts import TooManyAttempts
from infra.presence import Presence, PresenceLimits, Presences, presence_limits
from infra.presence_scripts import RENEW_MS
from infra.settings import load_settings
from tests.live.redis_server import RedisServer

CHOICES = (Presence.ONLINE, Presence.IDLE, Presence.DO_NOT_DISTURB, Presence.INVISIBLE)
PEOPLE = tuple(Id(str(UUID(int=number))) for number in (1, 2))
PLACES = tuple(Id(str(UUID(int=number))) for number in (11, 12, 13))
EXPIRY_MS = 30_000
MANY = PresenceLimits(changes_max=1_000_000, typing_starts_max=1_000_000)

who, device, choice = st.sampled_from(PEOPLE), st.sampled_from("abc"), st.sampled_from(CHOICES)
places = st.none() | st.frozensets(st.sampled_from(PLACES))


class Person:
    """One account of the model: ``devices`` in the order of their choices, the last one last."""

    def __init__(self) -> None:
        self.devices: list[tuple[str, Presence, int]] = []
        self.kept: Presence | None = None
        self.places: frozenset[Id] = frozenset()

    def remember(self) -> None:
        if self.devices:
            self.kept = Presence.ONLINE if self.own is Presence.IDLE else self.own

    @property
    def own(self) -> Presence:
        return self.devices[-1][1] if self.devices else Presence.OFFLINE

    @property
    def shown(self) -> Presence:
        return Presence.OFFLINE if self.own is Presence.INVISIBLE else self.own


class Devices(RuleBasedStateMachine):
    """People with devices that come, choose, live, go silent and leave; and somebody who reads what the log says."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = 1_800_000_000_000
        self.redis = server.async_client()
        self.runner.run(self.redis.flushdb())
        self.presences = Presences(self.redis, MANY, lambda: self.now)
        self.people = {account: Person() for account in PEOPLE}
        self.read: dict[Id, tuple[int, dict[Id, Presence]]] = {place: (0, {}) for place in PLACES}

    def teardown(self) -> None:
        self.runner.run(self.redis.aclose())
        self.runner.close()

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def moved(self, account: Id, to: frozenset[Id] | None) -> list[Id] | None:
        if to is not None:
            self.people[account].places = to
        return None if to is None else sorted(to)

    @rule(account=who, device=device, state=choice, to=places)
    def chooses(self, account: Id, device: str, state: Presence, to: frozenset[Id] | None) -> None:
        found = self.run(self.presences.set(account, device, state, self.moved(account, to)))
        person = self.people[account]
        person.devices = [one for one in person.devices if one[0] != device] + [(device, state, self.now + EXPIRY_MS)]
        person.remember()
        assert found is state

    @rule(account=who, device=device, to=places, answered=choice)
    def beats(self, account: Id, device: str, to: frozenset[Id] | None, answered: Presence) -> None:
        found = self.run(self.presences.beat(account, device, self.moved(account, to), answered))
        person = self.people[account]
        until = self.now + EXPIRY_MS
        if any(one[0] == device for one in person.devices):
            person.devices = [(name, how, until if name == device else at) for name, how, at in person.devices]
        else:
            held = person.own if person.devices else person.kept
            state = answered if held is None else Presence.ONLINE if held is Presence.IDLE else held
            person.devices.append((device, state, until))
            person.remember()
        assert found is person.own

    @rule(account=who, device=device)
    def leaves(self, account: Id, device: str) -> None:
        found = self.run(self.presences.leave(account, device))
        person = self.people[account]
        person.devices = [one for one in person.devices if one[0] != device]
        person.remember()
        assert found is person.own

    @rule(seconds=st.sampled_from([1, 7, 20, 29, 30, 31, 100]), swept=st.booleans())
    def time_passes(self, seconds: int, swept: bool) -> None:
        self.now += seconds * 1000
        for person in self.people.values():
            person.devices = [one for one in person.devices if one[2] > self.now]
        if swept:
            self.run(self.presences.sweep())
        else:
            self.run(self.presences.shown(PEOPLE))

    @invariant()
    def everybody_is_shown_as_the_model_says(self) -> None:
        expected = {account: person.shown for account, person in self.people.items()}
        for place in PLACES:
            there = {
                account: state
                for account, state in expected.items()
                if state is not Presence.OFFLINE and place in self.people[account].places
            }
            number, known = self.read[place]
            changes = self.run(self.presences.changes(place, number))
            # Told if and only if there was something to tell: nobody hears of what an invisible person does.
            assert (changes.number != number) == (there != known), (place, changes)
            assert changes.accounts is not None
            shown = self.run(self.presences.shown(list(changes.accounts)))
            after = {account: state for account, state in known.items() if account not in changes.accounts} | {
                account: state for account, state in shown.items() if place in self.people[account].places
            }
            assert after == there == self.run(self.presences.present(place))
            self.read[place] = (changes.number, after)
        seen = {account: state for account, state in expected.items() if state is not Presence.OFFLINE}
        assert self.run(self.presences.shown(PEOPLE)) == seen
        for account, person in self.people.items():
            assert self.run(self.presences.own(account)) is person.own


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def test_what_was_chosen_last_among_the_devices_that_live_is_what_holds(server: RedisServer) -> None:
    run_state_machine_as_test(
        lambda: Devices(server), settings=settings(max_examples=60, stateful_step_count=30, deadline=None)
    )


def play(server: RedisServer, scene: Any, **limits: Any) -> None:
    """Run a scene on an empty Redis, with a clock: a list of one number, in ms."""

    async def run() -> None:
        clock = [1_800_000_000_000]
        redis = server.async_client()
        await redis.flushdb()
        try:
            await scene(Presences(redis, PresenceLimits(**limits), lambda: clock[0]), clock)
        finally:
            await redis.aclose()

    asyncio.run(run())


ADA, BOB = PEOPLE
DEN = PLACES[0]


def test_the_defaults_are_those_of_the_settings() -> None:
    assert presence_limits(load_settings({})) == PresenceLimits()


def test_the_time_is_that_of_redis(server: RedisServer) -> None:
    async def scene(presences: Presences, _: list[int]) -> None:
        real = Presences(presences._redis, PresenceLimits())
        await real.set(ADA, "a", Presence.IDLE, [DEN])
        seconds, _ms = await presences._redis.time()
        (expires,) = await presences._redis.zrange("presence:due", 0, 0, withscores=True)
        assert 25 < expires[1] / 1000 - seconds <= 31
        assert await real.present(DEN) == {ADA: Presence.IDLE}
        assert await real.sweep() == 0

    play(server, scene)


def test_whoever_hid_on_a_device_that_is_gone_is_seen_by_who_asks_next(server: RedisServer) -> None:
    async def scene(presences: Presences, clock: list[int]) -> None:
        await presences.set(ADA, "a", Presence.ONLINE, [DEN])
        await presences.set(ADA, "b", Presence.INVISIBLE, [DEN])
        clock[0] += 1000
        await presences.beat(ADA, "a", [DEN])
        number = (await presences.changes(DEN, 0)).number
        clock[0] += EXPIRY_MS - 1000
        assert await presences.shown([BOB, ADA]) == {ADA: Presence.ONLINE}
        assert (await presences.changes(DEN, number)).accounts == [ADA]
        assert await presences.present(DEN) == {ADA: Presence.ONLINE}

    play(server, scene)


def test_changes_are_bounded_and_heartbeats_are_not(server: RedisServer) -> None:
    async def scene(presences: Presences, clock: list[int]) -> None:
        states = [Presence.ONLINE, Presence.IDLE, Presence.ONLINE]
        for state in states:
            await presences.set(ADA, "a", state, [DEN])
        for _ in range(10):
            await presences.set(ADA, "a", Presence.ONLINE, [DEN])  # nothing new, so nothing is counted
            await presences.beat(ADA, "a", [DEN])
        with pytest.raises(TooManyAttempts) as refusal:
            await presences.set(ADA, "a", Presence.IDLE, [DEN])
        assert refusal.value.retry_after_seconds == 60
        with pytest.raises(TooManyAttempts):
            await presences.beat(ADA, "b", [DEN])  # who comes is told of as well
        assert await presences.set(ADA, "a", Presence.INVISIBLE, [DEN]) is Presence.INVISIBLE, "to hide nobody waits"
        with pytest.raises(TooManyAttempts):
            await presences.set(ADA, "a", Presence.ONLINE, [DEN])
        assert await presences.leave(ADA, "a") is Presence.OFFLINE
        clock[0] += 60_000
        assert await presences.beat(ADA, "b", [DEN]) is Presence.INVISIBLE
        assert await presences.set(ADA, "b", Presence.ONLINE, [DEN]) is Presence.ONLINE

    play(server, scene, changes_max=3)


def test_the_device_that_was_silent_longest_makes_room(server: RedisServer) -> None:
    async def scene(presences: Presences, clock: list[int]) -> None:
        for device in "abc":
            await presences.set(ADA, device, Presence.IDLE, [DEN])
            clock[0] += 1000
        await presences.beat(ADA, "a", [DEN])
        await presences.set(ADA, "d", Presence.ONLINE, [DEN])
        fields = await presences._redis.hkeys(f"presence:of:{ADA}")
        assert sorted(name for name in fields if name.startswith(b"d:")) == [b"d:a", b"d:c", b"d:d"]

    play(server, scene, devices_max=3)


def test_a_reader_who_is_too_far_behind_is_told_to_read_everybody(server: RedisServer) -> None:
    async def scene(presences: Presences, _: list[int]) -> None:
        people = [Id(str(UUID(int=100 + number))) for number in range(12)]
        await presences.set(people[0], "a", Presence.ONLINE, [DEN])
        number = (await presences.changes(DEN, 0)).number
        for account in people[1:10]:
            await presences.set(account, "a", Presence.ONLINE, [DEN])
        assert (await presences.changes(DEN, number)).accounts == people[1:10]
        for account in people[10:]:
            await presences.set(account, "a", Presence.ONLINE, [DEN])
        assert (await presences.changes(DEN, number)).accounts is None
        assert set(await presences.present(DEN)) == set(people)

    play(server, scene, log_max=10, read_accounts_max=3)


def test_a_redis_that_lost_everything_knows_again_with_the_next_heartbeat(server: RedisServer) -> None:
    async def scene(presences: Presences, _: list[int]) -> None:
        await presences.set(ADA, "a", Presence.ONLINE, [DEN])
        number = (await presences.changes(DEN, 0)).number
        await presences.set(BOB, "a", Presence.INVISIBLE, [DEN])
        await presences._redis.flushdb()
        assert await presences.present(DEN) == {}
        assert await presences.beat(ADA, "a", [DEN]) is Presence.ONLINE
        assert await presences.beat(BOB, "a", [DEN], Presence.INVISIBLE) is Presence.INVISIBLE
        assert await presences.beat(BOB, "b", [DEN], Presence.ONLINE) is Presence.INVISIBLE
        assert await presences.present(DEN) == {ADA: Presence.ONLINE}
        assert (await presences.changes(DEN, 0)).number >= number

    play(server, scene)


def test_a_place_that_redis_forgot_is_written_anew_by_those_who_are_there(server: RedisServer) -> None:
    async def scene(presences: Presences, clock: list[int]) -> None:
        await presences.beat(ADA, "a", [DEN])
        number = await presences.last_change(DEN)
        await presences._redis.delete(f"presence:in:{DEN}", f"presence:at:{ADA}")
        assert await presences.present(DEN) == {}
        for _ in range(RENEW_MS // 20_000):
            clock[0] += 20_000
            await presences.beat(ADA, "a", [DEN])
        assert await presences.present(DEN) == {ADA: Presence.ONLINE}
        assert (await presences.changes(DEN, number)).accounts == [ADA]

    play(server, scene)


def test_a_thousand_devices_that_go_at_once_are_told_of_in_bounded_steps(server: RedisServer) -> None:
    async def scene(presences: Presences, clock: list[int]) -> None:
        people = [Id(str(UUID(int=100 + number))) for number in range(1000)]
        await asyncio.gather(*(presences.beat(account, "a", [DEN]) for account in people))
        assert len(await presences.present(DEN)) == 1000
        clock[0] += EXPIRY_MS
        assert await presences.sweep() == 1000
        assert await presences._redis.scard(f"presence:in:{DEN}") == 0

    play(server, scene, redis_seconds_max=20.0)


def test_typing_ends_by_itself_and_the_invisible_are_not_told_of(server: RedisServer) -> None:
    async def scene(presences: Presences, clock: list[int]) -> None:
        await presences.start_typing(ADA, DEN)
        clock[0] += 3000
        await presences.start_typing(BOB, DEN)
        assert await presences.typists(DEN) == [(ADA, 5.0), (BOB, 8.0)]
        await presences.start_typing(ADA, DEN)
        assert dict(await presences.typists(DEN)) == {ADA: 8.0, BOB: 8.0}
        await presences.stop_typing(BOB, DEN)
        clock[0] += 7999
        assert await presences.typists(DEN) == [(ADA, 0.001)]
        clock[0] += 1
        assert await presences.typists(DEN) == []
        await presences.set(ADA, "a", Presence.INVISIBLE, [])
        await presences.start_typing(ADA, DEN)
        assert await presences.typists(DEN) == []

    play(server, scene)


def test_nothing_of_typing_tells_that_somebody_hides(server: RedisServer) -> None:
    """Neither when he was silent for so long that no device of his lives, nor when he hides while he types."""

    async def scene(presences: Presences, clock: list[int]) -> None:
        await presences.start_typing(ADA, DEN)
        await presences.set(ADA, "a", Presence.INVISIBLE, [DEN])
        await presences.stop_typing(ADA, DEN)
        assert await presences.typists(DEN) == [(ADA, 8.0)], "as of one who is gone"
        clock[0] += 8000
        for _ in range(2):
            clock[0] += EXPIRY_MS
            await presences.start_typing(ADA, DEN)
            assert await presences.typists(DEN) == []
            await presences.leave(ADA, "a")

    play(server, scene)


def test_typing_is_bounded(server: RedisServer) -> None:
    async def scene(presences: Presences, clock: list[int]) -> None:
        people = [Id(str(UUID(int=100 + number))) for number in range(5)]
        for account in people:
            await presences.start_typing(account, DEN)
        assert [account for account, _ in await presences.typists(DEN)] == people[:3]
        await presences.start_typing(ADA, PLACES[1])
        await presences.start_typing(ADA, PLACES[1])
        with pytest.raises(TooManyAttempts):
            await presences.start_typing(ADA, PLACES[2])
        clock[0] += 20_000
        await presences.start_typing(ADA, PLACES[2])

    play(server, scene, typing_people_max=3, typing_starts_max=2)
