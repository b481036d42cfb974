"""What an operation asks for, worked out once: which fields of which types, how each is resolved and completed.

graphql-core decides all of this again for every field of every object of every request, and Strawberry wraps each
resolver in conversions of arguments that most do not have. A plan is made once a document and kept with it;
``read_api.columns`` runs it. Only ``@skip`` and ``@include`` with variables make for several plans of one operation.
"""

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLAbstractType,
    GraphQLEnumType,
    GraphQLField,
    GraphQLIncludeDirective,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLSkipDirective,
    GraphQLUnionType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    Visitor,
    get_directive_values,
    get_named_type,
    visit,
)
from graphql.execution.values import VariableValues, get_argument_values
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

PLANS_MAX = 8
"""Plans of one operation that are kept: three variables in directives make eight."""
_DEFINITION = GraphQLCoreConverter.DEFINITION_BACKREF
_EXACT = {"String": str, "ID": str, "Int": int, "Boolean": bool}
_INT_MAX = 2**31 - 1


class Unplannable(Exception):
    """A field that only graphql-core can resolve, such as those of introspection."""


class Leaf:
    """How values of a scalar or enum become part of the answer."""

    __slots__ = ("complete", "exact")

    def __init__(self, type_: GraphQLScalarType | GraphQLEnumType) -> None:
        self.complete: Callable[[Any], Any] = type_.coerce_output_value
        self.exact: type | None = _EXACT.get(type_.name)
        """Values of exactly this class are answered as they are."""
        if isinstance(type_, GraphQLEnumType):
            self.complete = _remembered(type_.coerce_output_value)
        elif type_.name == "Int":
            self.exact = None  # not every int is one of GraphQL's
            self.complete = _int(type_.coerce_output_value)


def _remembered(complete: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The names of an enum's values, each looked for once."""
    names: dict[Any, str] = {}

    def named(value: Any) -> Any:
        name = names.get(value)
        if name is None:
            name = names[value] = complete(value)
        return name

    return named


def _int(complete: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """GraphQL's integers have 32 bits."""

    def checked(value: Any) -> Any:
        return value if type(value) is int and -_INT_MAX <= value <= _INT_MAX else complete(value)

    return checked


class FieldPlan:
    """One response key of one type.

    ``constant`` is its value where that is always the same; else ``getter`` gets it from the object, or ``resolver``
    does. ``nullable`` says whether it may be null, and ``lists`` has, from the outside, for each list around its
    values whether items of that may be null. Values are completed by ``leaf``, or by the plan among ``objects`` that
    is named like their type.
    """

    __slots__ = (
        "_arguments",
        "_converted",
        "_definition",
        "_field",
        "constant",
        "exact",
        "getter",
        "info_name",
        "key",
        "leaf",
        "lists",
        "name",
        "nodes",
        "nullable",
        "objects",
        "only",
        "resolver",
        "takes_source",
    )

    def __init__(self, planner: "Planner", key: str, parent: GraphQLObjectType, nodes: list[FieldNode]) -> None:
        name = nodes[0].name.value
        self.key = key
        self.name = name
        self.nodes = nodes
        self.getter: Callable[[Any], Any] | None = None
        self.resolver: Callable[..., Any] | None = None
        self.constant: str | None = parent.name if name == "__typename" else None
        self.info_name: str | None = None
        self.takes_source = False
        self._converted: dict[str, Any] | None = None
        self.leaf: Leaf | None = None
        self.objects: dict[str, ObjectPlan] | None = None
        self.exact: type | None = None
        """Values of exactly this class are answered as they are."""
        self.only: str | None = None
        """The name of the one type that its objects can be of, if there is one alone."""
        if self.constant is not None:
            self.lists: list[bool] = []
            self.nullable = False
            self.exact = str
            return
        field = parent.fields.get(name)
        if field is None:
            raise Unplannable(name)
        self._field = field
        self._definition = definition = _definition_of(field)
        self._how(definition)
        if not field.args:
            self._converted = {}
        self._arguments = planner.converter(definition)
        self.lists, self.nullable, named = _unwrapped(field.type)
        if isinstance(named, GraphQLScalarType | GraphQLEnumType):
            self.leaf = planner.leaf(named)
            self.exact = None if self.lists else self.leaf.exact
        else:
            self.objects = {one.name: planner.object_plan(one, nodes) for one in planner.possible(named)}
            self.only = next(iter(self.objects)) if len(self.objects) == 1 else None

    def _how(self, definition: StrawberryField) -> None:
        """How its value is got: as an attribute, or from a resolver."""
        resolver = definition.base_resolver
        if definition.extensions or definition.permission_classes:
            raise Unplannable(definition.name)
        if resolver is None:
            self.getter = attrgetter(definition.python_name)
            return
        function = resolver.wrapped_func
        if resolver.parent_parameter or resolver.root_parameter or isinstance(function, staticmethod | classmethod):
            raise Unplannable(definition.name)
        self.resolver = function
        self.takes_source = resolver.self_parameter is not None
        self.info_name = resolver.info_parameter.name if resolver.info_parameter else None

    def nullable_at(self, depth: int) -> bool:
        """Whether its value may be null, or an item of its value, that many lists down."""
        return self.lists[depth - 1] if depth else self.nullable

    def arguments(self, variables: VariableValues) -> dict[str, Any]:
        """The converted arguments; worked out once if no variable is in them. Raises ``GraphQLError``."""
        if self._converted is not None:
            return self._converted
        values = get_argument_values(self._field, self.nodes[0], variables)
        converted = self._arguments(values)
        if not _has_variables(self.nodes[0]):
            self._converted = converted
        return converted


class ObjectPlan:
    """What is asked of objects of one type, in order."""

    __slots__ = ("blank", "fields", "name")

    def __init__(self, name: str, fields: list[FieldPlan]) -> None:
        self.name = name
        self.fields = fields
        self.blank = dict.fromkeys(field.key for field in fields)
        """An answer with all keys in order, to be filled in any order."""


class Plans:
    """The plans of one operation."""

    def __init__(
        self,
        schema: GraphQLSchema,
        converter: GraphQLCoreConverter,
        document: DocumentNode,
        operation: OperationDefinitionNode,
    ) -> None:
        self._schema = schema
        self._converter = converter
        self._document = document
        self._operation = operation
        self._deciding = tuple(sorted(set(_deciding_variables(document))))
        self._plans: dict[tuple[Any, ...], ObjectPlan] = {}

    def plan(self, variables: VariableValues) -> ObjectPlan:
        """The plan for these variables. Raises ``Unplannable``."""
        key = tuple(variables.coerced.get(name) for name in self._deciding)
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            root = self._schema.get_root_type(self._operation.operation)
            assert root is not None
            planner = Planner(self._schema, self._converter, self._document, variables)
            found = self._plans[key] = planner.selection_plan(root, [self._operation.selection_set])
        return found


class Planner:
    """Makes one plan."""

    def __init__(
        self,
        schema: GraphQLSchema,
        converter: GraphQLCoreConverter,
        document: DocumentNode,
        variables: VariableValues,
    ) -> None:
        self._schema = schema
        self._converter = converter
        self._variables = variables
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._leaves: dict[str, Leaf] = {}

    def leaf(self, type_: GraphQLScalarType | GraphQLEnumType) -> Leaf:
        """How values of that type are completed."""
        if type_.name not in self._leaves:
            self._leaves[type_.name] = Leaf(type_)
        return self._leaves[type_.name]

    def possible(self, type_: Any) -> list[GraphQLObjectType]:
        """The types that objects of that type can be of."""
        if isinstance(type_, GraphQLInterfaceType | GraphQLUnionType):
            return list(self._schema.get_possible_types(type_))
        return [type_]

    def converter(self, definition: StrawberryField) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """What turns coerced arguments into those of the resolver."""
        config, scalars = self._converter.config, self._converter.scalar_registry

        def convert(values: dict[str, Any]) -> dict[str, Any]:
            return convert_arguments(values, definition.arguments, scalars, config)

        return convert

    def object_plan(self, type_: GraphQLObjectType, nodes: list[FieldNode]) -> ObjectPlan:
        """What those fields ask of objects of that type."""
        return self.selection_plan(type_, [node.selection_set for node in nodes if node.selection_set is not None])

    def selection_plan(self, type_: GraphQLObjectType, selections: list[SelectionSetNode]) -> ObjectPlan:
        """What those selections ask of objects of that type, merged by response key."""
        collected: dict[str, list[FieldNode]] = {}
        seen: set[str] = set()
        for selection in selections:
            self._collect(type_, selection, collected, seen)
        return ObjectPlan(type_.name, [FieldPlan(self, key, type_, nodes) for key, nodes in collected.items()])

    def _collect(
        self,
        type_: GraphQLObjectType,
        selections: SelectionSetNode,
        collected: dict[str, list[FieldNode]],
        seen: set[str],
    ) -> None:
        for node in selections.selections:
            if not self._included(node):
                continue
            if isinstance(node, FieldNode):
                collected.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or self._matches(type_, node.type_condition.name.value):
                    self._collect(type_, node.selection_set, collected, seen)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                fragment = self._fragments[node.name.value]
                if self._matches(type_, fragment.type_condition.name.value):
                    self._collect(type_, fragment.selection_set, collected, seen)

    def _included(self, node: Any) -> bool:
        if not node.directives:
            return True
        skip = get_directive_values(GraphQLSkipDirective, node, self._variables)
        if skip is not None and skip["if"]:
            return False
        include = get_directive_values(GraphQLIncludeDirective, node, self._variables)
        return include is None or bool(include["if"])

    def _matches(self, type_: GraphQLObjectType, name: str) -> bool:
        if type_.name == name:
            return True
        on = self._schema.get_type(name)
        return isinstance(on, GraphQLAbstractType) and self._schema.is_sub_type(on, type_)


def _definition_of(field: GraphQLField) -> StrawberryField:
    definition = (field.extensions or {}).get(_DEFINITION)
    if not isinstance(definition, StrawberryField):
        raise Unplannable("a field that Strawberry knows nothing of")
    return definition


def _unwrapped(type_: Any) -> tuple[list[bool], bool, Any]:
    """For each list around the type, from the outside, whether its items may be null; whether it itself; its name."""
    nullable = not isinstance(type_, GraphQLNonNull)
    inner = type_ if nullable else type_.of_type
    lists: list[bool] = []
    while isinstance(inner, GraphQLList):
        item = inner.of_type
        lists.append(not isinstance(item, GraphQLNonNull))
        inner = item if lists[-1] else item.of_type
    return lists, nullable, get_named_type(type_)


def _has_variables(node: FieldNode) -> bool:
    found: list[VariableNode] = []

    class Finder(Visitor):
        def enter_variable(self, variable: VariableNode, *_: Any) -> None:
            found.append(variable)

    for argument in node.arguments or ():
        visit(argument.value, Finder())
    return bool(found)


def _deciding_variables(document: DocumentNode) -> Iterator[str]:
    found: list[str] = []

    class Finder(Visitor):
        def enter_directive(self, directive: Any, *_: Any) -> None:
            found.extend(
                argument.value.name.value
                for argument in directive.arguments or ()
                if isinstance(argument.value, VariableNode)
            )

    visit(document, Finder())
    yield from found
