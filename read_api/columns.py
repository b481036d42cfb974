"""Runs a plan level by level: each field for all objects of a level at once, then all that has to be awaited, together.

The answer is the one that the specification defines (https://spec.graphql.org/, section 6): the same data, the same
errors at the same paths, null where a field failed and, where null is not allowed, in the nearest ancestor that may
be null. The order of work is another: breadth first. So resolvers of what is known already cost a plain call, and
whatever one level wants of the database leaves in the same moment, as one statement a loader.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from graphql import ExecutionResult, GraphQLError, located_error
from graphql.execution.values import VariableValues
from strawberry.types.base import get_object_definition

from read_api.context import Context
from read_api.plans import FieldPlan, ObjectPlan

Place = tuple[int, ...]


class LeanInfo:
    """What resolvers are given in place of Strawberry's ``Info``: the context of the operation."""

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        self.context = context


class Failed:
    """In the place of a value that could not be got."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Nulled(Exception):
    """What is being completed must become null, and may not; its error is noted."""


class Level:
    """Objects of one type that one field of the level above gave, and where in the answer each belongs."""

    __slots__ = ("answers", "field", "parent", "places", "plan", "rows", "sources")

    def __init__(self, plan: ObjectPlan, field: FieldPlan | None, parent: "Level | None") -> None:
        self.plan = plan
        self.field = field
        self.parent = parent
        self.sources: list[Any] = []
        self.answers: list[dict[str, Any]] = []
        self.rows: list[int] = []
        """Which object of the parent level each came from."""
        self.places: list[Place] = []
        """At which indexes of the lists of its field each stands; empty where the field is no list."""

    def add(self, source: Any, row: int, place: Place) -> dict[str, Any]:
        """One more object; its answer, to be filled."""
        answer: dict[str, Any] = self.plan.blank.copy()
        self.sources.append(source)
        self.answers.append(answer)
        self.rows.append(row)
        self.places.append(place)
        return answer

    def path(self, row: int) -> list[str | int]:
        """Where in the answer that object is."""
        if self.field is None or self.parent is None:
            return []
        return [*self.parent.path(self.rows[row]), self.field.key, *self.places[row]]


class Run:
    """One execution of one plan."""

    def __init__(self, context: Context, variables: VariableValues) -> None:
        self._info = LeanInfo(context)
        self._variables = variables
        self._errors: list[GraphQLError] = []
        self._nothing = False

    async def query(self, plan: ObjectPlan) -> ExecutionResult:
        """All root fields at once."""
        root = _root(plan)
        await self._descend([root])
        return self._result(root)

    async def mutation(self, plan: ObjectPlan) -> ExecutionResult:
        """One root field after the other, each with all that is below it."""
        root = _root(plan)
        for field in plan.fields:
            await self._descend(await self._resolve([(root, field)]))
            if self._nothing:
                break
        return self._result(root)

    def _result(self, root: Level) -> ExecutionResult:
        return ExecutionResult(None if self._nothing else root.answers[0], self._errors or None)

    async def _descend(self, levels: list[Level]) -> None:
        while levels:
            levels = await self._resolve([(level, field) for level in levels for field in level.plan.fields])

    async def _resolve(self, wanted: list[tuple[Level, FieldPlan]]) -> list[Level]:
        """Resolve and complete those fields. Gives what is below them."""
        columns = [(level, field, self._values(level, field)) for level, field in wanted]
        await _settle([values for _, field, values in columns if field.resolver is not None])
        lists: list[list[Any]] = []
        for _, field, values in columns:
            if field.lists and field.objects is not None:
                for row, value in enumerate(values):
                    if isinstance(value, list) and any(map(_is_awaitable, value)):
                        values[row] = value.copy()
                        lists.append(values[row])
        await _settle(lists)
        below: list[Level] = []
        for level, field, values in columns:
            self._complete(level, field, values, below)
        return below

    def _values(self, level: Level, field: FieldPlan) -> list[Any]:
        """What the field is for each object of the level: a value, something to await for it, or ``Failed``."""
        if field.constant is not None:
            return [field.constant] * len(level.sources)
        try:
            if field.getter is not None:
                return list(map(field.getter, level.sources))
            arguments = field.arguments(self._variables)
        except Exception as error:  # noqa: BLE001 - it is answered as an error of the field, and logged if it is a fault
            return [Failed(error)] * len(level.sources)
        if field.info_name is not None:
            arguments = {**arguments, field.info_name: self._info}
        resolver = field.resolver
        assert resolver is not None
        values: list[Any] = []
        for source in level.sources:
            try:
                values.append(resolver(source, **arguments) if field.takes_source else resolver(**arguments))
            except Exception as error:  # noqa: BLE001 - the same
                values.append(Failed(error))
        return values

    def _complete(self, level: Level, field: FieldPlan, values: list[Any], below: list[Level]) -> None:
        key, answers, exact = field.key, level.answers, field.exact
        children: dict[str, Level] = {}
        for row, value in enumerate(values):
            if type(value) is exact:
                answers[row][key] = value
            elif value is not None or not field.nullable:
                try:
                    answers[row][key] = self._completed(level, field, row, (), value, children)
                except Nulled:
                    self._nullify(level, row)
        below.extend(children.values())

    def _completed(
        self, level: Level, field: FieldPlan, row: int, place: Place, value: Any, children: dict[str, Level]
    ) -> Any:
        """What belongs into the answer for a value, or for an item of it. Raises ``Nulled``."""
        depth = len(place)
        if value is None:
            if not field.nullable_at(depth):
                name = f"{level.plan.name}.{field.name}"
                self._note(level, field, row, place, TypeError(f"Cannot return null for non-nullable field {name}."))
                raise Nulled
            return None
        try:
            if isinstance(value, Failed):
                raise value.error  # noqa: TRY301 - one place handles all
            if depth < len(field.lists):
                if not isinstance(value, Sequence) or isinstance(value, str):
                    raise TypeError(f"{field.key} is no list but a {type(value).__name__}")  # noqa: TRY301
                return [
                    self._completed(level, field, row, (*place, index), item, children)
                    for index, item in enumerate(value)
                ]
            if field.leaf is not None:
                return field.leaf.complete(value)
            return self._child(level, field, value, children).add(value, row, place)
        except Nulled:
            pass
        except Exception as error:  # noqa: BLE001 - it is answered as an error of the field, and logged if it is a fault
            self._note(level, field, row, place, error)
        if not field.nullable_at(depth):
            raise Nulled
        return None

    def _child(self, level: Level, field: FieldPlan, value: Any, children: dict[str, Level]) -> Level:
        """The level below that takes this value, by its type."""
        assert field.objects is not None
        name = field.only or _type_name(type(value))
        child = children.get(name)
        if child is None:
            if name not in field.objects:
                raise TypeError(f"{field.key} cannot be a {name}")
            child = children[name] = Level(field.objects[name], field, level)
        return child

    def _nullify(self, level: Level, row: int) -> None:
        """Make that object null; if it may not be, what it is in, and so on up."""
        field, parent = level.field, level.parent
        if field is None or parent is None:
            self._nothing = True
            return
        above, place = level.rows[row], level.places[row]
        for depth in range(len(place), 0, -1):
            if field.nullable_at(depth):
                items = parent.answers[above][field.key]
                for index in place[: depth - 1]:
                    items = None if items is None else items[index]
                if items is not None:
                    items[place[depth - 1]] = None
                return
        if field.nullable:
            parent.answers[above][field.key] = None
        else:
            self._nullify(parent, above)

    def _note(self, level: Level, field: FieldPlan, row: int, place: Place, error: BaseException) -> None:
        if not isinstance(error, Exception):
            raise error
        self._errors.append(located_error(error, field.nodes, [*level.path(row), field.key, *place]))


def _root(plan: ObjectPlan) -> Level:
    root = Level(plan, None, None)
    root.add(None, 0, ())
    return root


async def _settle(columns: list[list[Any]]) -> None:
    """Put in the place of whatever can be awaited what comes of it, or ``Failed``; all at once."""
    found = [(values, row) for values in columns for row, value in enumerate(values) if _is_awaitable(value)]
    if not found:
        return
    results = await asyncio.gather(*(values[row] for values, row in found), return_exceptions=True)
    for (values, row), result in zip(found, results, strict=True):
        values[row] = Failed(result) if isinstance(result, BaseException) else result


_AWAITABLE: dict[type, bool] = {}
"""Whether values of a class can be awaited, for each class met: there are as many as types in the schema."""


def _is_awaitable(value: Any) -> bool:
    kind = type(value)
    known = _AWAITABLE.get(kind)
    if known is None:
        known = _AWAITABLE[kind] = hasattr(kind, "__await__")
    return known


_NAMES: dict[type, str] = {}
"""The GraphQL names of the classes met."""


def _type_name(kind: type) -> str:
    name = _NAMES.get(kind)
    if name is None:
        definition = get_object_definition(kind)
        name = _NAMES[kind] = definition.name if definition else kind.__name__
    return name
