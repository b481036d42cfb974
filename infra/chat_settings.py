"""The limits of writing, and of following one's conversations."""

from pydantic import BaseModel

from infra.setting import setting


class ChatSettings(BaseModel):
    """Part of ``Settings``; ``read_api/live/conversations.py`` makes limits of its own of some of it."""

    pace_redis_seconds_max: float = setting(
        0.5,
        "seconds",
        "How long Redis may take to count a message; without an answer its author is not held back.",
        gt=0,
    )
    conversations_coalesce_seconds: float = setting(
        0.25,
        "seconds",
        "What changes in somebody's conversations within is told together: in a busy group each telling counts anew "
        "what is unread.",
        ge=0,
    )
    conversations_told_max: int = setting(
        1_000,
        "conversations",
        "That somebody is told of live, those that he came to last: others can put him into any number of groups.",
        ge=1,
    )
    conversations_page_size: int = setting(
        50,
        "conversations",
        "In one message; of more, and to begin with, several come, each when the one before has left.",
        ge=1,
    )
    conversations_check_seconds: float = setting(
        0.5,
        "seconds",
        "How often at most who is in them, what is read elsewhere, and blocks make somebody's conversations be looked "
        "at anew.",
        gt=0,
    )
    conversations_refresh_seconds: float = setting(
        300.0,
        "seconds",
        "How often those that are followed are looked at anew though nobody signals anything: for thousands of "
        "followers each takes a millisecond or two of PostgreSQL.",
        gt=0,
    )
