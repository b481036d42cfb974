"""What a person types to name a stream."""

import pytest

from domain import snowflake
from domain.ids import derived
from infra.event_store import memory_store
from read_api.ids import Kind, global_id
from streams.cli.subjects import NoSuchSubject, find_subject

MESSAGE = snowflake.as_id(123_456_789_012_345)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("message:123456789012345", MESSAGE),
        (f"message:{global_id(Kind.MESSAGE, MESSAGE)}", MESSAGE),
        (global_id(Kind.MESSAGE, MESSAGE), MESSAGE),
        (f"message:{MESSAGE}", MESSAGE),
        (f"channel:{global_id(Kind.CHANNEL, derived('x'))}", derived("x")),
    ],
)
def test_a_message_is_named_by_its_number_or_any_id(typed: str, found: str) -> None:
    assert find_subject(typed, memory_store(), "", b"") == found


@pytest.mark.parametrize(
    "typed", ["message:", "message:-1", "message:9223372036854775808", "message:١٢", "123", "channel:5"]
)
def test_what_is_no_message(typed: str) -> None:
    with pytest.raises(NoSuchSubject):
        find_subject(typed, memory_store(), "", b"")
