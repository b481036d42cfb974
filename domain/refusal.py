"""The one way a decision says no.

``Refusal`` is the only exception a decider raises. Its ``code`` is stable and part of the public API, its
``message`` is a sentence for a person that also says what to do next, and ``field`` names the input at
fault, where one is.
"""

from enum import StrEnum


class Code(StrEnum):
    """Every reason for which a command is refused. Codes are append-only: clients match on them."""

    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    ANONYMOUS_NOT_ALLOWED = "ANONYMOUS_NOT_ALLOWED"
    BANNED = "BANNED"
    BLOCKED = "BLOCKED"
    CHANNEL_NOT_FOUND = "CHANNEL_NOT_FOUND"
    COMMENTS_TOO_DEEP = "COMMENTS_TOO_DEEP"
    COMMENT_DELETED = "COMMENT_DELETED"
    COMMENT_NOT_FOUND = "COMMENT_NOT_FOUND"
    COMMUNITY_NOT_FOUND = "COMMUNITY_NOT_FOUND"
    CONFIRMATION_INVALID = "CONFIRMATION_INVALID"
    CONVERSATION_NOT_FOUND = "CONVERSATION_NOT_FOUND"
    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    EMAIL_INVALID = "EMAIL_INVALID"
    EMAIL_TAKEN = "EMAIL_TAKEN"
    INVALID_CHARACTERS = "INVALID_CHARACTERS"
    INVALID_URL = "INVALID_URL"
    INVALID_VALUE = "INVALID_VALUE"
    INVITE_NOT_FOUND = "INVITE_NOT_FOUND"
    LAST_MODERATOR = "LAST_MODERATOR"
    MESSAGE_DELETED = "MESSAGE_DELETED"
    MESSAGE_NOT_FOUND = "MESSAGE_NOT_FOUND"
    NAME_INVALID = "NAME_INVALID"
    NAME_RESERVED = "NAME_RESERVED"
    NAME_TAKEN = "NAME_TAKEN"
    NOT_A_GROUP = "NOT_A_GROUP"
    NOT_A_MEMBER = "NOT_A_MEMBER"
    NOT_MODERATOR = "NOT_MODERATOR"
    NOT_THE_AUTHOR = "NOT_THE_AUTHOR"
    NOT_YOURSELF = "NOT_YOURSELF"
    OVERRIDE_CHANGED = "OVERRIDE_CHANGED"
    OWNER_STAYS = "OWNER_STAYS"
    PASSWORD_TOO_WEAK = "PASSWORD_TOO_WEAK"  # noqa: S105 - a code
    PERMISSION_DENIED = "PERMISSION_DENIED"
    POSTING_RESTRICTED = "POSTING_RESTRICTED"
    POST_DELETED = "POST_DELETED"
    POST_LOCKED = "POST_LOCKED"
    POST_NOT_FOUND = "POST_NOT_FOUND"
    ROLE_NOT_FOUND = "ROLE_NOT_FOUND"
    ROLE_TOO_HIGH = "ROLE_TOO_HIGH"
    SERVER_NOT_FOUND = "SERVER_NOT_FOUND"
    SESSION_ENDED = "SESSION_ENDED"
    SLOW_MODE = "SLOW_MODE"
    TARGET_NOT_FOUND = "TARGET_NOT_FOUND"
    TOO_BUSY = "TOO_BUSY"
    TOO_LONG = "TOO_LONG"
    TOO_MANY_CHANGES = "TOO_MANY_CHANGES"
    TOO_MANY_CHANNELS = "TOO_MANY_CHANNELS"
    TOO_MANY_EMOJI = "TOO_MANY_EMOJI"
    TOO_MANY_MEMBERS = "TOO_MANY_MEMBERS"
    TOO_MANY_MENTIONS = "TOO_MANY_MENTIONS"
    TOO_MANY_MODERATORS = "TOO_MANY_MODERATORS"
    TOO_MANY_OVERRIDES = "TOO_MANY_OVERRIDES"
    TOO_MANY_REACTIONS = "TOO_MANY_REACTIONS"
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    TOO_MANY_ROLES = "TOO_MANY_ROLES"
    TOO_MANY_STICKIES = "TOO_MANY_STICKIES"
    TOO_SHORT = "TOO_SHORT"


class Refusal(Exception):
    """A command that may not happen; nothing was changed.

    ``code`` is stable, ``message`` is for people and says what to do next, ``field`` is the input's name.
    ``retry_after_seconds`` is how long to wait where waiting helps.
    """

    def __init__(
        self, code: Code, message: str, field: str | None = None, *, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retry_after_seconds = retry_after_seconds
