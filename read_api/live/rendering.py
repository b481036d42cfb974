"""What an event looks like to those who asked for it: executed and serialised once per distinct selection.

A selection is a document, its operation and its variables. Whether the answer also depends on who asks is not
declared anywhere but observed: an execution that never looked at the viewer is good for everybody, any other for that
viewer alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import orjson
from graphql import ExecutionResult, OperationDefinitionNode, VariableNode, execute

from domain.event import Id
from infra.queries import communities, items
from read_api.context import Context
from read_api.execution import Engine, Prepared
from read_api.live.messages import json_text
from read_api.live.topics import Event, Viewer
from read_api.loaders import Connection, Loaders
from read_api.schema.comments import Comment
from read_api.schema.communities import Community
from read_api.schema.posts import Post

T = TypeVar("T")


class EventContext(Context):
    """The context of one event's execution. ``personal`` once anything was looked up that depends on the viewer."""

    def __init__(self, caller: Context) -> None:
        self.personal = False
        super().__init__(caller.moot, caller.sealer, request_id=caller.request_id)
        self._viewer_id = caller.viewer_id
        self._session_id = caller.session_id

    @property
    def viewer_id(self) -> Viewer:
        """See ``Context``."""
        self.personal = True
        return self._viewer_id

    @viewer_id.setter
    def viewer_id(self, value: Viewer) -> None:
        self._viewer_id = value

    @property
    def session_id(self) -> str | None:
        """See ``Context``."""
        self.personal = True
        return self._session_id

    @session_id.setter
    def session_id(self, value: str | None) -> None:
        self._session_id = value

    @property
    def loaders(self) -> Loaders:
        """See ``Context``."""
        if self._loaders is None:
            self._loaders = _EventLoaders(self, self._viewer_id)
        return self._loaders


class _EventLoaders(Loaders):
    """Loaders that ask as a visitor first: what everybody may see is the same for everybody."""

    def __init__(self, context: EventContext, viewer_id: Viewer) -> None:
        self._context = context
        moot = context.moot
        super().__init__(moot.reads.begin().on_primary(), viewer_id, moot.messages, moot.presences)

    @property
    def _viewer_id(self) -> Viewer:
        self._context.personal = True
        return self._viewer

    @_viewer_id.setter
    def _viewer_id(self, value: Viewer) -> None:
        self._viewer = value

    async def _communities(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Community | None]:
        found = {row.community_id: Community(row=row) for row in await communities.by_ids(connection, None, ids)}
        return await self._completed(found, super()._communities, connection, ids)

    async def _posts(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Post | None]:
        found = {row.post_id: Post(row=row) for row in await items.posts(connection, None, ids)}
        return await self._completed(found, super()._posts, connection, ids)

    async def _comments(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Comment | None]:
        found = {row.comment_id: Comment(row=row) for row in await items.comments(connection, None, ids)}
        return await self._completed(found, super()._comments, connection, ids)

    async def _completed(
        self,
        found: Mapping[Id, T],
        personally: Callable[[Connection, Sequence[Id]], Awaitable[dict[Id, T | None]]],
        connection: Connection,
        ids: Sequence[Id],
    ) -> dict[Id, T | None]:
        missing = [identity for identity in ids if identity not in found]
        return {**found, **(await personally(connection, missing) if missing else {})}


Rendered: TypeAlias = str | asyncio.Future[str] | asyncio.Future[str | None]
"""JSON now or later, or later ``None``: ask again."""


class Selection:
    """What somebody asked for: a document, which of its operations, and with which variables.

    The cursor that a subscription starts from says nothing about its events, so selections that differ in it alone are
    equal.
    """

    __slots__ = ("key", "operation_name", "prepared", "variables")

    def __init__(
        self, text: str, prepared: Prepared, operation_name: str | None, variables: Mapping[str, Any] | None
    ) -> None:
        self.prepared = prepared
        self.operation_name = operation_name or None
        self.variables = dict(variables or {})
        cursor = _cursor_variable(text, prepared.operation(operation_name).node)
        rest = {name: value for name, value in self.variables.items() if name != cursor}
        self.key = (prepared, self.operation_name, orjson.dumps(rest, option=orjson.OPT_SORT_KEYS))


def _cursor_variable(text: str, operation: OperationDefinitionNode) -> str | None:
    """The variable that is given as ``after`` of the root field and used nowhere else, if there is one."""
    for field in operation.selection_set.selections:
        for argument in getattr(field, "arguments", None) or ():
            if argument.name.value == "after" and isinstance(argument.value, VariableNode):
                name = argument.value.name.value
                # Its declaration and that use; whatever else looks like a use only makes us more careful.
                return name if len(re.findall(rf"\${name}\b", text)) == 2 else None
    return None


class _Renderings:
    """One event in one selection: for everybody, or by viewer.

    ``first`` is there while and after the first execution had to wait for something; it gives what turned out to be
    good for everybody, or ``None``.
    """

    __slots__ = ("first", "own", "shared")

    def __init__(self) -> None:
        self.shared: str | None = None
        self.own: dict[Viewer, str | asyncio.Future[str]] = {}
        self.first: asyncio.Future[str | None] | None = None


class Renderer:
    """Executes events against the schema of an engine. ``executions`` counts them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.executions = 0

    def render(self, event: Event, selection: Selection, caller: Context) -> Rendered:
        """The payload of a ``next`` message as JSON, now or later. ``caller`` is who asks.

        All who come while the first is executed get one future: it gives ``None`` if what came of that is not good for
        them, and they ask again.
        """
        made = event.renderings.get(selection.key)
        if made is None:
            made = event.renderings[selection.key] = _Renderings()
        if made.shared is not None:
            return made.shared
        known = made.own.get(caller.viewer_id)
        if known is not None:
            return known
        if made.first is None or made.first.done():
            return self._execute(made, event, selection, caller)
        return made.first

    def _execute(
        self, made: _Renderings, event: Event, selection: Selection, caller: Context
    ) -> str | asyncio.Future[str]:
        self.executions += 1
        context = EventContext(caller)
        result = execute(
            self._engine.schema,
            selection.prepared.document,
            root_value=event.payload,
            context_value=context,
            variable_values=selection.variables,
            operation_name=selection.operation_name,
        )
        if isinstance(result, ExecutionResult):
            return self._made(made, result, context, caller)
        rendering = asyncio.ensure_future(self._finish(made, result, context, caller))
        made.own[caller.viewer_id] = rendering
        if made.first is None:
            first = made.first = asyncio.get_running_loop().create_future()
            rendering.add_done_callback(lambda _: first.set_result(made.shared))
        return rendering

    async def _finish(
        self, made: _Renderings, result: Awaitable[ExecutionResult], context: EventContext, caller: Context
    ) -> str:
        return self._made(made, await result, context, caller)

    def _made(self, made: _Renderings, result: ExecutionResult, context: EventContext, caller: Context) -> str:
        text = json_text(self._engine.answer(result, context))
        if context.personal:
            made.own[caller.viewer_id] = text
        else:
            made.shared = text
            made.own.clear()
        return text
