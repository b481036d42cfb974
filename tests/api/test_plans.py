"""Plans answer as graphql-core does: the same data, the same errors at the same paths, whatever fails where."""

import asyncio
import gc
import warnings
from enum import Enum
from typing import Annotated, Any, cast

import pytest
import strawberry
from graphql import OperationDefinitionNode, OperationType, execute, parse, specified_rules, validate
from graphql.execution.values import VariableValues, get_variable_values
from hypothesis import given, settings
from hypothesis import strategies as st

from read_api.columns import Run
from read_api.context import Context
from read_api.plans import Plans, Unplannable

BROKEN: set[str] = set()
"""The fields that fail in the case at hand."""
NULL: set[str] = set()
"""The fields that are null in it, allowed or not."""
LOG: list[str] = []


@strawberry.enum
class Colour(Enum):
    """A colour."""

    RED = "r"
    BLUE = "b"


@strawberry.interface
class Thing:
    """Something."""

    depth: strawberry.Private[int]

    @strawberry.field
    def name(self) -> str:
        """Never null."""
        return cast("str", _value("name", f"n{self.depth}"))

    @strawberry.field
    async def maybe(self) -> str | None:
        """May be null."""
        return cast("str | None", _value("maybe", "m"))

    @strawberry.field
    def child(self) -> "Thing | None":
        """A thing that may be null."""
        return cast("Thing", _value("child", Box(depth=self.depth + 1)))

    @strawberry.field
    async def sure(self) -> "Thing":
        """A thing that may not."""
        return cast("Thing", _value("sure", Ball(depth=self.depth + 1, colour=Colour.BLUE)))

    @strawberry.field
    def things(self, first: int = 2) -> list["Thing | None"]:
        """Things that may be null, as what is awaited."""

        async def later(number: int) -> Any:
            return _value("things", Box(depth=number) if number % 2 else Ball(depth=number, colour=Colour.RED))

        return cast("list[Thing | None]", [later(number) for number in range(first)])

    @strawberry.field
    def strict(self) -> list["Thing"] | None:
        """A list whose items may not be null."""
        return cast("list[Thing]", [Box(depth=1), _value("strict", Box(depth=2))])

    @strawberry.field
    def grid(self) -> list[list[int]] | None:
        """Lists of lists."""
        return cast("list[list[int]]", [[1], [2, _value("grid", 3)]])


@strawberry.type
class Box(Thing):
    """A box."""

    @strawberry.field
    def size(self) -> int:
        """Its size."""
        return cast("int", _value("size", self.depth))


@strawberry.type
class Ball(Thing):
    """A ball."""

    colour: Colour


Toy = Annotated[Box | Ball, strawberry.union("Toy")]


@strawberry.input
class Wish:
    """What is wanted."""

    colour: Colour = Colour.RED
    number: int = 1


@strawberry.type
class Query:
    """Where a query starts."""

    @strawberry.field
    def thing(self) -> Thing | None:
        """One."""
        return Box(depth=0)

    @strawberry.field
    def toy(self, wish: Wish | None = None) -> Toy | None:
        """One that fits."""
        wish = wish or Wish()
        return Ball(depth=wish.number, colour=wish.colour)

    @strawberry.field
    def must(self) -> Thing:
        """One that may not be null."""
        return cast("Thing", _value("must", Box(depth=0)))

    big: int | None = 2**40


@strawberry.type
class Mutation:
    """What changes something."""

    @strawberry.mutation
    async def add(self, word: str) -> Thing:
        """Note a word, after a while."""
        await asyncio.sleep(0)
        LOG.append(word)
        return Box(depth=len(LOG))


def _value(name: str, value: Any) -> Any:
    if name in BROKEN:
        raise RuntimeError(f"{name} is broken")
    return None if name in NULL else value


SCHEMA = strawberry.Schema(query=Query, mutation=Mutation, types=[Box, Ball])


def _both(text: str, variables: dict[str, Any] | None = None) -> tuple[Any, Any]:
    """The answers of graphql-core and of the plan."""
    schema, document = SCHEMA._schema, parse(text)
    assert validate(schema, document, specified_rules) == []
    operation = next(node for node in document.definitions if isinstance(node, OperationDefinitionNode))

    async def reference() -> Any:
        result = execute(schema, document, variable_values=variables)
        return _shown(await result if asyncio.iscoroutine(result) else result)

    async def planned() -> Any:
        coerced = get_variable_values(schema, operation.variable_definitions or (), variables or {})
        assert isinstance(coerced, VariableValues)
        plan = Plans(schema, SCHEMA.schema_converter, document, operation).plan(coerced)
        run = Run(cast("Context", None), coerced)
        mutates = operation.operation is OperationType.MUTATION
        return _shown(await (run.mutation(plan) if mutates else run.query(plan)))

    LOG.clear()
    with warnings.catch_warnings():
        # graphql-core leaves what is beside a failure unawaited, and some of that runs on until its loop ends.
        warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
        gc.freeze()  # what was there before is not looked through: that takes a quarter of a second
        try:
            theirs = asyncio.run(reference())
            gc.collect()  # with what its errors lead to, or that is left for another test to find
        finally:
            gc.unfreeze()
    LOG.clear()
    return theirs, asyncio.run(planned())


def _shown(result: Any) -> tuple[Any, list[tuple[str, str, int]]]:
    errors = [(str(error.path), error.message, error.locations[0].line) for error in result.errors or ()]
    return result.data, sorted(errors)


WHOLE = """query Q($yes: Boolean = true, $no: Boolean = false, $n: Int, $c: Colour = BLUE) {
  __typename
  thing { ...F child { ...F } sure { ...F } }
  other: thing { things(first: $n) { __typename name ... on Ball { colour } ... on Box { size } } }
  toy(wish: { colour: $c, number: 3 }) { __typename ... on Ball { colour child { name } } ... on Box { size } }
  plain: toy { ... on Thing { name maybe } }
  must { name @include(if: $yes) maybe @skip(if: $yes) hidden: name @include(if: $no) }
  ... @skip(if: $no) { must { strict { name } } }
  big
}
fragment F on Thing { name maybe grid strict { name maybe } child { name sure { sure { name } } } }
"""
FIELDS = ["name", "maybe", "child", "sure", "things", "strict", "grid", "size", "must"]


@pytest.mark.parametrize("variables", [{}, {"n": 3}, {"n": 0, "yes": False}, {"no": True, "c": "RED"}, {"n": 1}])
def test_everything_at_once(variables: dict[str, Any]) -> None:
    BROKEN.clear(), NULL.clear()
    theirs, ours = _both(WHOLE, variables)
    assert ours == theirs
    assert list(ours[0]) == list(theirs[0])
    assert [list(one) for one in ours[0].values() if isinstance(one, dict)] == [
        list(one) for one in theirs[0].values() if isinstance(one, dict)
    ]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("how", [BROKEN, NULL])
@pytest.mark.parametrize(
    "text",
    [
        "{ thing { name maybe grid size: __typename } }",
        "{ thing { child { name } } must { name } }",
        "{ thing { sure { maybe sure { maybe child { name } } } } must { __typename } }",
        "{ thing { strict { name child { maybe } } } }",
        "{ thing { things { name ... on Box { size } } } }",
        "{ thing { things(first: 5) { child { sure { maybe } } } } }",
        "{ must { sure { maybe child { __typename } } } }",
    ],
)
def test_whatever_fails(text: str, how: set[str], field: str) -> None:
    BROKEN.clear(), NULL.clear()
    how.add(field)
    theirs, ours = _both(text)
    assert ours[0] == theirs[0]
    # Where several things fail in what becomes null, graphql-core stops at the first; which one that is, is open.
    assert set(theirs[1]) <= set(ours[1])
    assert bool(ours[1]) == bool(theirs[1])


_SELECTION = st.recursive(
    st.sampled_from(["name", "maybe", "__typename", "grid", "... on Box { size }", "a: name"]),
    lambda inner: st.tuples(
        st.sampled_from(["child", "sure", "strict", "things(first: 2)", "... on Thing", "c: child"]),
        st.lists(inner, min_size=1, max_size=3),
    ).map(lambda pair: f"{pair[0]} {{ {' '.join(pair[1])} }}"),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_SELECTION, min_size=1, max_size=4),
    st.sampled_from([None, *FIELDS]),
    st.sampled_from([None, *FIELDS]),
)
def test_any_selection_with_anything_broken(selections: list[str], broken: str | None, null: str | None) -> None:
    BROKEN.clear(), NULL.clear()
    if broken:
        BROKEN.add(broken)
    if null:
        NULL.add(null)
    theirs, ours = _both(f"{{ thing {{ {' '.join(selections)} }} must {{ {' '.join(selections)} }} }}")
    assert ours[0] == theirs[0]
    assert set(theirs[1]) <= set(ours[1])


def test_mutations_run_one_after_the_other() -> None:
    BROKEN.clear(), NULL.clear()
    theirs, ours = _both('mutation { a: add(word: "x") { name child { name } } b: add(word: "y") { name } }')
    assert ours == theirs
    assert ours[0]["b"] == {"name": "n2"}
    assert LOG == ["x", "y"]


def test_introspection_is_left_to_graphql_core() -> None:
    schema = SCHEMA._schema
    document = parse("{ __schema { queryType { name } } }")
    operation = cast("OperationDefinitionNode", document.definitions[0])
    with pytest.raises(Unplannable):
        Plans(schema, SCHEMA.schema_converter, document, operation).plan(VariableValues({}, {}))
