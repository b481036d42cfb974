"""Snowflakes: ids that grow with time. 41 bits of milliseconds since 2025, 10 of who made it, 12 of which in that one.

The layout is Twitter's (https://github.com/twitter-archive/snowflake/tree/snowflake-2010). Messages have such numbers.
Everywhere else an id is a UUID, so a Snowflake is written as one, and read back from it: a UUIDv8 (RFC 9562), of which
the first 48 bits, the next 12 and the next 3 are those of the number, and the rest is nothing.
"""

from datetime import UTC, datetime
from typing import Final

from domain.event import Id

EPOCH_MS: Final = 1_735_689_600_000
"""The first millisecond of 2025, since 1970, UTC."""
WORKER_BITS: Final = 10
SEQUENCE_BITS: Final = 12
BITS: Final = 63

_SHIFT: Final = WORKER_BITS + SEQUENCE_BITS
_VERSION_AND_VARIANT: Final = 8 << 76 | 0b10 << 62
_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000


class NoSnowflake(ValueError):
    """An id that is no Snowflake."""


def made(ms: int, worker: int, sequence: int) -> int:
    """The Snowflake of that millisecond since 1970, UTC."""
    return ms - EPOCH_MS << _SHIFT | worker << SEQUENCE_BITS | sequence


def milliseconds(snowflake: int) -> int:
    """When it was made: milliseconds since 1970, UTC."""
    return (snowflake >> _SHIFT) + EPOCH_MS


def first_at(at: datetime) -> int:
    """No Snowflake of that millisecond or a later one is smaller; 0 for a time before there were any."""
    return max(0, made(int(at.timestamp() * 1000), 0, 0))


def month(snowflake: int) -> int:
    """The month in which it was made, UTC: twelve times the year, and 0 to 11 for January to December."""
    at = datetime.fromtimestamp(milliseconds(snowflake) // 1000, UTC)
    return 12 * at.year + at.month - 1


def day(snowflake: int) -> int:
    """The day in which it was made, UTC: days since 1970."""
    return milliseconds(snowflake) // _DAY_MS


def minute(snowflake: int) -> int:
    """The minute in which it was made: minutes since 1970."""
    return milliseconds(snowflake) // _MINUTE_MS


def first_of_month(number: int) -> int:
    """No Snowflake of that month is smaller, and none of an earlier one as large."""
    return first_at(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC))


def first_of_minute(number: int) -> int:
    """No Snowflake of that minute is smaller, and none of an earlier one as large."""
    return max(0, made(number * _MINUTE_MS, 0, 0))


def as_id(snowflake: int) -> Id:
    """The number as an id. Ids sort as the numbers do."""
    value = snowflake >> 15 << 80 | (snowflake >> 3 & 0xFFF) << 64 | (snowflake & 0b111) << 59 | _VERSION_AND_VARIANT
    text = f"{value:032x}"
    return Id(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def of_id(message_id: Id) -> int:
    """The number that an id stands for. Raises ``NoSnowflake``."""
    try:
        value = int(message_id.replace("-", ""), 16)
    except ValueError:
        raise NoSnowflake(message_id) from None
    snowflake = value >> 80 << 15 | (value >> 64 & 0xFFF) << 3 | value >> 59 & 0b111
    if as_id(snowflake) != message_id:
        raise NoSnowflake(message_id)
    return snowflake
