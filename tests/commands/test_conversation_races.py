"""Commands about one conversation that meet."""

from domain.block import AccountBlocked, Block
from domain.conversation import (
    AddToGroup,
    DirectOpened,
    GroupHandedOver,
    GroupJoined,
    GroupLeft,
    HandOverGroup,
    LeaveGroup,
    OpenDirect,
)
from domain.limits import Limits
from domain.refusal import Code, Refusal
from infra.event_store import GroupCommitStore
from tests.commands.test_races import new, race, store  # noqa: F401 - a fixture
from tests.commands.test_server_races import at
from tests.domain.world import ACCOUNTS, ALICE, BOB, CAROL, DIRECT, GROUP, caller, group, put


def test_two_who_open_their_conversation_at_once_have_one(store: GroupCommitStore) -> None:  # noqa: F811
    put(store, ACCOUNTS)
    outcomes = race(store, (OpenDirect(BOB), caller(ALICE)), (OpenDirect(ALICE), caller(BOB)))
    assert outcomes[0] == outcomes[1]
    assert [one.conversation_id for one in new(store, DirectOpened)] == [DIRECT]  # type: ignore[attr-defined]


def test_no_conversation_is_opened_after_a_block(store: GroupCommitStore) -> None:  # noqa: F811
    put(store, ACCOUNTS)
    outcomes = race(store, (OpenDirect(BOB), caller(ALICE)), (Block(ALICE), caller(BOB)), meeting=False)
    opened, blocked = at(store, DirectOpened), at(store, AccountBlocked)
    assert blocked is not None
    if opened is None:
        assert [one.code for one in outcomes if isinstance(one, Refusal)] == [Code.BLOCKED]
    else:
        assert opened < blocked


def test_one_of_two_gets_the_last_place_of_a_group(store: GroupCommitStore) -> None:  # noqa: F811
    put(store, (*ACCOUNTS, *group(ALICE)))
    asked = ((AddToGroup(GROUP, who), caller(ALICE, who)) for who in (BOB, CAROL))
    outcomes = race(store, *asked, limits=Limits(group_members_max=2))
    assert [one.code for one in outcomes if isinstance(one, Refusal)] == [Code.TOO_MANY_MEMBERS]
    assert len(new(store, GroupJoined)) == 2


def test_a_group_is_of_somebody_in_it_whoever_leaves_first(store: GroupCommitStore) -> None:  # noqa: F811
    put(store, (*ACCOUNTS, *group(ALICE, BOB, CAROL)))
    race(store, (HandOverGroup(GROUP, BOB), caller(ALICE)), (LeaveGroup(GROUP), caller(BOB)))
    left = {one.account_id for one in new(store, GroupLeft)}  # type: ignore[attr-defined]
    owners = [ALICE, *(one.account_id for one in new(store, GroupHandedOver))]  # type: ignore[attr-defined]
    assert owners[-1] not in left
