"""The viewer's own sessions: where he is signed in."""

from __future__ import annotations

from datetime import datetime

import strawberry

from infra import sessions
from read_api.context import Context


@strawberry.type(description="Somewhere that you are signed in.")
class Session:
    """Somewhere that the viewer is signed in."""

    id: strawberry.ID = strawberry.field(description="Opaque: pass it as you received it.")
    client: str = strawberry.field(description="What the browser or program calls itself (its User-Agent).")
    begun_at: datetime = strawberry.field(description="When you signed in there.")
    used_at: datetime = strawberry.field(description="When its tokens were last renewed.")
    expires_at: datetime = strawberry.field(description="When it ends, however often it is used.")
    current: bool = strawberry.field(description="Whether it is the one that asks.")


async def own_sessions(context: Context) -> list[Session]:
    """The viewer's sessions that go on, the one used last first. Raises ``ApiError`` for a visitor."""
    found: list[sessions.Session] = await context.moot.sessions.of_account(context.require_viewer())
    return [
        Session(
            id=strawberry.ID(session.session_id),
            client=session.client,
            begun_at=session.begun_at,
            used_at=session.used_at,
            expires_at=session.expires_at,
            current=session.session_id == context.session_id,
        )
        for session in found
    ]
