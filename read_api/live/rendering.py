"""What an event looks like to those who asked for it: executed and serialised once per distinct selection.

A selection is a document, its operation and its variables. Whether the answer also depends on who asks is not
declared anywhere but observed: an execution that never looked at the viewer is good for everybody. One that asked only
whether he is among some accounts (those who block the author, those who reacted) is good for all of whom the same is
true. Any other is good for that viewer alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import orjson
from graphql import ExecutionResult, OperationDefinitionNode, VariableNode, execute

from domain.event import Id
from infra.queries import accounts, communities, items, servers
from infra.queries import messages as message_queries
from read_api.context import Context
from read_api.execution import Engine, Prepared
from read_api.live.following import Event, Viewer
from read_api.live.messages import json_text
from read_api.loaders import Connection, Loader, Loaders
from read_api.schema.comments import Comment
from read_api.schema.communities import Community
from read_api.schema.posts import Post
from read_api.schema.servers import Role

T = TypeVar("T")

ACCOUNTS_MAX: Final = 1_000
"""Who blocks somebody, or reacted to a message, is read whole up to so many; beyond, it is asked for each viewer."""

VARIANTS_MAX: Final = 16
"""Of one event in one selection: each viewer is compared with so many. Beyond, it is made for each viewer."""


class EventContext(Context):
    """The context of one event's execution.

    ``answers`` are what was asked about the viewer: whether he is among these accounts. ``personal`` once anything else
    was looked up that depends on him.
    """

    def __init__(self, caller: Context) -> None:
        self.personal = False
        self.answers: list[tuple[Collection[Viewer], bool]] = []
        super().__init__(caller.moot, caller.sealer, request_id=caller.request_id)
        self._viewer_id = caller.viewer_id
        self._session_id = caller.session_id

    def among(self, account_ids: Collection[Viewer]) -> bool:
        """Whether the viewer is one of them."""
        found = self._viewer_id in account_ids
        self.answers.append((account_ids, found))
        return found

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
        reading = moot.reads.begin().on_primary()
        super().__init__(reading, viewer_id, moot.messages, moot.presences)
        self._blockers: Loader[Id, Collection[Viewer] | None] = Loader(reading, _blockers, ())
        self._reactors: Loader[int, Mapping[str, Collection[Viewer]] | None] = Loader(reading, _reactors, {})
        self._servers_of_roles: Loader[Id, Id | None] = Loader(reading, servers.servers_of_roles, None)

    async def blocks(self, account_id: Id) -> bool:
        """See ``Loaders``."""
        blockers = await self._blockers.load(account_id)
        return await super().blocks(account_id) if blockers is None else self._context.among(blockers)

    async def reacted_with(self, message_id: int) -> Collection[str]:
        """See ``Loaders``."""
        reactors = await self._reactors.load(message_id)
        if reactors is None:
            return await super().reacted_with(message_id)
        return [emoji for emoji, account_ids in reactors.items() if self._context.among(account_ids)]

    async def is_mentioned(self, channel_id: Id, mentioned: Collection[Id]) -> bool:
        """See ``Loaders``. Whoever is told of a message is in its server: everyone is he."""
        roles = dict(zip(mentioned, await self._servers_of_roles.load_many([*mentioned]), strict=True))
        if any(role_id == server_id for role_id, server_id in roles.items()):
            return True
        if any(server_id is not None for server_id in roles.values()):
            return await super().is_mentioned(channel_id, mentioned)
        return self._context.among(mentioned)

    @property
    def _viewer_id(self) -> Viewer:
        self._context.personal = True
        return self._viewer

    @_viewer_id.setter
    def _viewer_id(self, value: Viewer) -> None:
        self._viewer = value

    async def _roles(self, connection: Connection, ids: Sequence[Id]) -> dict[Id, Role | None]:
        """Whoever is told of a role is in its server."""
        async with servers.one_moment(connection):
            of = await servers.servers_of_roles(connection, ids)
            every = await servers.roles_of(connection, list(set(of.values())))
        return {row.role_id: Role(row=row) for rows in every.values() for row in rows if row.role_id in of}

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


async def _blockers(connection: Connection, ids: Sequence[Id]) -> dict[Id, Collection[Viewer] | None]:
    """Who blocks each of them; ``None`` where these are too many."""
    found = await accounts.blockers(connection, ids, ACCOUNTS_MAX)
    return dict.fromkeys(ids) if found is None else {**found}


async def _reactors(connection: Connection, ids: Sequence[int]) -> dict[int, Mapping[str, Collection[Viewer]] | None]:
    """Who reacts to each of the messages, by emoji; ``None`` where these are too many."""
    found = await message_queries.reactors(connection, ids, ACCOUNTS_MAX)
    return dict.fromkeys(ids) if found is None else {**found}


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
    """One event in one selection: for all of whom the same is true, or by viewer.

    ``making`` is there while and after an execution had to wait for something; it gives what turned out to be good for
    everybody, or ``None``. As long as none was ``personal``, there is one at a time.
    """

    __slots__ = ("making", "own", "personal", "variants")

    def __init__(self) -> None:
        self.variants: list[tuple[Sequence[tuple[Collection[Viewer], bool]], str]] = []
        self.own: dict[Viewer, str | asyncio.Future[str]] = {}
        self.making: asyncio.Future[str | None] | None = None
        self.personal = False

    def of(self, viewer: Viewer) -> str | asyncio.Future[str] | None:
        """What was, or is being, made that is good for him."""
        for answers, text in self.variants:
            for account_ids, found in answers:
                if (viewer in account_ids) is not found:
                    break
            else:
                return text
        return self.own.get(viewer)

    @property
    def for_all(self) -> str | None:
        """What was made that is good for everybody."""
        return next((text for answers, text in self.variants if not answers), None)

    def add(self, viewer: Viewer, context: EventContext, text: str) -> None:
        """That came of an execution for this viewer."""
        if context.personal or len(self.variants) == VARIANTS_MAX:
            self.personal = True
            self.own[viewer] = text
            return
        self.variants.append((context.answers, text))
        if not context.answers:
            self.own.clear()
        else:
            self.own.pop(viewer, None)


class Renderer:
    """Executes events against the schema of an engine. ``executions`` counts them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.executions = 0

    def render(self, event: Event, selection: Selection, caller: Context) -> Rendered:
        """The payload of a ``next`` message as JSON, now or later. ``caller`` is who asks.

        Those who come while it is executed for another get one future: it gives ``None`` if what came of that may not
        be good for them, and they ask again.
        """
        made: _Renderings | None = event.renderings.get(selection.key)
        if made is None:
            made = event.renderings[selection.key] = _Renderings()
        known = made.of(caller.viewer_id)
        if known is not None:
            return known
        if made.personal or made.making is None or made.making.done():
            return self._execute(made, event, selection, caller)
        return made.making

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
        if not made.personal:
            making = made.making = event.making = asyncio.get_running_loop().create_future()
            rendering.add_done_callback(lambda _: making.set_result(made.for_all))
        return rendering

    async def _finish(
        self, made: _Renderings, result: Awaitable[ExecutionResult], context: EventContext, caller: Context
    ) -> str:
        return self._made(made, await result, context, caller)

    def _made(self, made: _Renderings, result: ExecutionResult, context: EventContext, caller: Context) -> str:
        text = json_text(self._engine.answer(result, context))
        made.add(caller.viewer_id, context, text)
        return text
