"""What goes wrong, as the API says it.

There are two ways to say no. What a person did wrong in a mutation (a name that is taken, a post that is
locked, a malformed id) is a *user error* inside the payload: it has a code, a sentence and the input field.
What is wrong with the request itself, or with the server, is a *top-level error*::

    GraphQLError
    └── ApiError            has a code; answered in ``errors[].extensions.code``
        └── BadInput        an argument that cannot be used; in a mutation it becomes a user error

Everything else that is raised is a fault of ours: it is logged with the request id, and the client reads
"Internal error" and that id, nothing more.
"""

from enum import Enum, StrEnum
from typing import Any

import strawberry
from graphql import GraphQLError

from domain.refusal import Code


class ApiCode(StrEnum):
    """Codes that the API itself adds to those of the domain. Append-only: clients match on them."""

    BAD_REQUEST = "BAD_REQUEST"
    CURSOR_INVALID = "CURSOR_INVALID"
    CURSOR_TOO_OLD = "CURSOR_TOO_OLD"
    FIRST_OR_LAST = "FIRST_OR_LAST"
    HTTP_ONLY = "HTTP_ONLY"
    ID_OF_ANOTHER_TYPE = "ID_OF_ANOTHER_TYPE"
    IDEMPOTENCY_KEY_INVALID = "IDEMPOTENCY_KEY_INVALID"
    INTERNAL = "INTERNAL"
    INVALID_ID = "INVALID_ID"
    NOT_FOUND = "NOT_FOUND"
    PAGE_TOO_LARGE = "PAGE_TOO_LARGE"
    POSITION_INVALID = "POSITION_INVALID"
    QUERY_TOO_COMPLEX = "QUERY_TOO_COMPLEX"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    UNAVAILABLE = "UNAVAILABLE"


class ApiError(GraphQLError):
    """A top-level error that the client may read: ``code`` in the extensions, ``message`` as it is."""

    def __init__(self, code: ApiCode | Code, message: str, **extensions: Any) -> None:
        super().__init__(message, extensions={"code": code.value, **extensions})
        self.code = code


class BadInput(ApiError):
    """An argument that cannot be used. ``field`` is the name of the input or argument at fault, if one is."""

    def __init__(self, code: Code | ApiCode, message: str, field: str | None = None) -> None:
        super().__init__(code, message, **({"field": field} if field else {}))
        self.field = field


def unauthenticated() -> ApiError:
    """For what only a signed-in viewer may ask."""
    return ApiError(ApiCode.UNAUTHENTICATED, "Sign in first: this is shown to its owner only.")


_members = {code.name: code.value for code in (*Code, *ApiCode)}
_Codes: Any = Enum("ErrorCode", dict(sorted(_members.items())))  # type: ignore[misc]  # built, so that no code is written twice
ErrorCode: Any = strawberry.enum(
    _Codes,
    name="ErrorCode",
    description="Why something was refused. Codes are never renamed or removed; new ones may come.",
)


@strawberry.type(description="One reason why a mutation changed nothing.")
class UserError:
    """One reason why a mutation changed nothing."""

    code: ErrorCode = strawberry.field(description="Stable, for programs.")
    message: str = strawberry.field(description="A sentence for people that says what to do next.")
    field: list[str] | None = strawberry.field(
        description='The path to the input at fault, such as `["input", "title"]`; null if it is not one field.'
    )
    retry_after_seconds: int | None = strawberry.field(
        default=None, description="How long to wait before trying again, where waiting helps."
    )


def user_error(
    code: Code | ApiCode, message: str, field: str | None = None, *, retry_after_seconds: int | None = None
) -> UserError:
    """A user error; ``field`` is the name of a field of the mutation's ``input`` in GraphQL's spelling."""
    return UserError(
        code=ErrorCode[code.name],
        message=message,
        field=["input", field] if field else None,
        retry_after_seconds=retry_after_seconds,
    )
