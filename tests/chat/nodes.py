"""Messages as the API gives them."""

from typing import Any


def node(snowflake: int, body: str | None = "hello", *, author: str = "ada", **more: Any) -> dict[str, Any]:
    plain = {
        "id": f"id-{snowflake}",
        "snowflake": str(snowflake),
        "body": body,
        "sentAt": "2026-01-08T12:00:00+00:00",
        "editedAt": None,
        "deleted": False,
        "hidden": False,
        "mentionsViewer": False,
        "author": {"name": author},
        "replyTo": None,
        "attachments": [],
        "reactions": [],
    }
    return plain | more


def page(*nodes: dict[str, Any], more: bool = False) -> dict[str, Any]:
    """A page as it comes: the newest first."""
    newest_first = sorted(nodes, key=lambda one: -int(one["snowflake"]))
    return {"nodes": newest_first, "pageInfo": {"endCursor": "older", "hasNextPage": more}}
