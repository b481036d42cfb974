"""What a GraphQL document may ask for: how deep, how much, with how many aliases and directives.

A document is weighed once, after it was validated (so fragments exist and do not form cycles), by plain functions:
no rule class is built per request, and what is known about a document is kept with it. Only the cost can depend on
variables (``first: $n``) and is worked out again for other values of those.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Undefined,
    ValueNode,
    VariableNode,
    get_named_type,
    is_introspection_type,
)
from msgspec import Struct

from read_api.errors import ApiCode, ApiError

CONNECTION_COST = 10
"""What a connection adds to the fields it gives: it is a query of its own."""
LIST_LENGTH_ASSUMED = 10
"""For a list that is not paged: those are short, as user errors are."""
_LENGTHS_ASSUMED = {"channels": 50, "conversations": 50, "roles": 20, "overrides": 20, "members": 20, "people": 100}
"""For those that are longer: a chat server may have hundreds of channels, a group fifty members."""
RENDERED_COST = 20
"""Of a text as HTML: rendering takes as long as some dozens of plain fields."""
_RENDERED = frozenset({"bodyHtml", "descriptionHtml", "topicHtml"})
INT_DIGITS_MAX = 11
"""A number of as many characters is none that ``Int`` can hold, and need not be read."""
_PAGED_BY = ("first", "last")


class Limits(Struct, frozen=True):
    """The limits of one document; see the settings of the same names for units and reasons."""

    depth_max: int
    cost_max: int
    aliases_max: int
    directives_max: int
    tokens_max: int
    page_size_max: int


def refusals(document: DocumentNode, limits: Limits) -> list[GraphQLError]:
    """What the document exceeds, whatever its variables: depth, aliases, directives. Empty if it may run."""
    fragments = _fragments(document)
    found: list[GraphQLError] = []
    depths: dict[str, int] = {}
    depth = max((_depth(node.selection_set, fragments, depths) for node in _operations(document)), default=0)
    aliases = directives = 0
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode | FragmentDefinitionNode):
            directives += len(definition.directives or ())
            for node in _selections(definition.selection_set):
                aliases += isinstance(node, FieldNode) and node.alias is not None
                directives += len(node.directives or ())
    for name, value, limit in (
        ("depth", depth, limits.depth_max),
        ("number of aliases", aliases, limits.aliases_max),
        ("number of directives", directives, limits.directives_max),
    ):
        if value > limit:
            found.append(too_complex(name, value, limit))
    return found


def too_complex(name: str, value: int, limit: int) -> ApiError:
    """The error for a document that exceeds a limit."""
    return ApiError(
        ApiCode.QUERY_TOO_COMPLEX, f"The {name} of this operation is {value}; at most {limit} is allowed. Ask for less."
    )


class Cost:
    """What one operation costs: a field is 1, a connection 10 more, and whatever a page repeats counts as often."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._operation = operation
        self._fragments = _fragments(document)
        self.variables = tuple(sorted(self._paging_variables(document)))
        """Those that the cost depends on."""
        self._known: dict[tuple[int | None, ...], int] = {}

    def of(self, variables: Mapping[str, Any], page_size_max: int) -> int:
        """The cost with these values of the variables, coerced, their defaults among them.

        A page size that cannot be is one that the operation fails with; it counts as the largest all the same, so
        that no value makes an operation cheaper than it could be.
        """
        values = tuple(_count(variables.get(name), page_size_max) for name in self.variables)
        known = self._known.get(values)
        if known is None:
            if len(self._known) > 100:  # somebody asks for every page size there is
                self._known.clear()
            sizes = dict(zip(self.variables, values, strict=True))
            root = self._schema.get_root_type(self._operation.operation)
            known = self._known[values] = self._cost(self._operation.selection_set, root, sizes, {}, page_size_max)
        return known

    def _cost(
        self,
        selections: SelectionSetNode,
        parent: Any,
        sizes: Mapping[str, int | None],
        spreads: dict[str, int],
        page_size_max: int,
    ) -> int:
        total = 0
        for node in selections.selections:
            if isinstance(node, FragmentSpreadNode):
                name = node.name.value
                if name not in spreads:
                    fragment = self._fragments[name]
                    on = self._schema.get_type(fragment.type_condition.name.value)
                    spreads[name] = self._cost(fragment.selection_set, on, sizes, spreads, page_size_max)
                total += spreads[name]
            elif isinstance(node, InlineFragmentNode):
                on = self._schema.get_type(node.type_condition.name.value) if node.type_condition else parent
                total += self._cost(node.selection_set, on, sizes, spreads, page_size_max)
            elif isinstance(node, FieldNode):
                total += RENDERED_COST if node.name.value in _RENDERED else 1
                if node.selection_set is not None:
                    total += self._children(node, parent, sizes, spreads, page_size_max)
        return total

    def _children(
        self, node: FieldNode, parent: Any, sizes: Mapping[str, int | None], spreads: dict[str, int], page_size_max: int
    ) -> int:
        assert node.selection_set is not None
        field = self._schema.get_field(parent, node.name.value)
        if field is None:
            return 0
        inner = self._cost(node.selection_set, get_named_type(field.type), sizes, spreads, page_size_max)
        paged = {argument.name.value: argument.value for argument in node.arguments or ()}
        names = [name for name in (*_PAGED_BY, "ids") if name in field.args]
        if names:
            given = [_size(paged[name], sizes, page_size_max) for name in names if name in paged]
            usable = [size for size in given if size is not None]
            defaults = [field.args[name].default_value for name in names if name not in paged]
            usable += [_size_of(value, page_size_max) for value in defaults if value not in (None, Undefined)]
            # With nothing given the field fails, and nothing below it is resolved.
            size = max(usable, default=page_size_max if given else 1)
            return inner * size + (0 if names == ["ids"] else CONNECTION_COST)
        if not _is_list(field.type) or _has_paged_lists(parent):
            return inner
        return inner * _LENGTHS_ASSUMED.get(node.name.value, LIST_LENGTH_ASSUMED)

    def _paging_variables(self, document: DocumentNode) -> Iterator[str]:
        for definition in document.definitions:
            if not isinstance(definition, OperationDefinitionNode | FragmentDefinitionNode):
                continue
            for node in _selections(definition.selection_set):
                if isinstance(node, FieldNode):
                    for argument in node.arguments or ():
                        if argument.name.value in (*_PAGED_BY, "ids") and isinstance(argument.value, VariableNode):
                            yield argument.value.name.value


def _count(value: Any, page_size_max: int) -> int | None:
    """How many items a variable of this value asks for; ``None`` for one that is not given, or null."""
    return None if value is None else _size_of(value, page_size_max)


def _size_of(value: Any, page_size_max: int) -> int:
    size = len(value) if isinstance(value, list) else value
    return size if isinstance(size, int) and 0 <= size <= page_size_max else page_size_max


def _size(value: ValueNode, sizes: Mapping[str, int | None], page_size_max: int) -> int | None:
    if isinstance(value, VariableNode):
        return sizes.get(value.name.value)
    if isinstance(value, NullValueNode):
        return None
    if isinstance(value, IntValueNode):
        return _size_of(int(value.value), page_size_max) if len(value.value) < INT_DIGITS_MAX else page_size_max
    return _size_of(len(value.values), page_size_max) if isinstance(value, ListValueNode) else 1


def _is_list(type_: Any) -> bool:
    return isinstance(type_.of_type if isinstance(type_, GraphQLNonNull) else type_, GraphQLList)


def _has_paged_lists(type_: Any) -> bool:
    """Whether the page size counted already; what introspection gives has a rule of graphql-core's own."""
    return isinstance(type_, GraphQLObjectType) and (type_.name.endswith("Connection") or is_introspection_type(type_))


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}


def _operations(document: DocumentNode) -> Iterator[OperationDefinitionNode]:
    return (node for node in document.definitions if isinstance(node, OperationDefinitionNode))


def _selections(selections: SelectionSetNode) -> Iterator[FieldNode | FragmentSpreadNode | InlineFragmentNode]:
    for node in selections.selections:
        if isinstance(node, FieldNode | FragmentSpreadNode | InlineFragmentNode):
            yield node
        if isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None:
            yield from _selections(node.selection_set)


def _depth(selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode], known: dict[str, int]) -> int:
    """Levels of fields. What is below ``__schema`` and ``__type`` has a rule of graphql-core's own."""
    deepest = 0
    for node in selections.selections:
        if isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name not in known:
                known[name] = _depth(fragments[name].selection_set, fragments, known)
            depth = known[name]
        elif isinstance(node, InlineFragmentNode):
            depth = _depth(node.selection_set, fragments, known)
        elif isinstance(node, FieldNode) and node.selection_set is not None and not node.name.value.startswith("__"):
            depth = 1 + _depth(node.selection_set, fragments, known)
        else:
            depth = 1
        deepest = max(deepest, depth)
    return deepest
