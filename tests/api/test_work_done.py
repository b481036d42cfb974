"""What an operation costs the server: statements sent to PostgreSQL, documents validated; and what it may cost."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from graphql import get_introspection_query, parse
from graphql.execution.values import get_variable_values
from hypothesis import example, given
from hypothesis import strategies as st

from infra.settings import Settings
from read_api.app import engine_of
from read_api.execution import Refused
from read_api.ids import parse_id
from read_api.limits import RENDERED_COST, Cost
from read_api.schema import schema
from tests.api.stack import Client, Stack
from tests.api.test_bad_input import community_of, post_of, top_code
from tests.live.forum import a_community

PAGE = """query($id: ID!) { node(id: $id) { ... on Community { feed(sort: NEW, first: 25) { edges { cursor node {
  id title author { id name } community { id name } score { up down total } myVote commentCount } }
  pageInfo { endCursor hasNextPage } } } } }"""


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that the API sends meanwhile, without those of its tasks that go on all the time."""
    sent: list[str] = []
    real = psycopg.AsyncCursor.execute

    async def execute(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:
        task = asyncio.current_task()
        if task is None or not task.get_name().startswith("moot-"):
            sent.append(query.decode() if isinstance(query, bytes) else str(query))
        return await real(self, query, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.AsyncCursor, "execute", execute)
        yield sent


@pytest.fixture
def busy(somebody: Callable[[], Client]) -> tuple[Client, str, str]:
    """A reader, a community with 25 posts of five people, and a post with comments of them."""
    people = [somebody() for _ in range(5)]
    reader = people[0]
    community = community_of(reader, anonymousAllowed=True)
    post = ""
    for number in range(25):
        author = people[number % 5]
        post = post_of(author, community, anonymous=number % 5 == 2)
        reader.position = author.position
    for author in people:
        author.do("submitComment", "comment { id }", postId=post, body="x")
        reader.position = author.position
    reader.do("castVote", targetId=post, value="UP")
    reader.ask("{ __typename }")
    reader.position = None
    return reader, community, post


def test_a_page_of_posts_takes_four_statements(busy: tuple[Client, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, community, _ = busy
    whole = reader.ask("query($id: ID!) { node(id: $id) { __typename } }", id=community)
    assert whole["node"] == {"__typename": "Community"}
    with counted(monkeypatch) as sent:
        found = reader.ask(PAGE, id=community)
    assert len(found["node"]["feed"]["edges"]) == 25
    assert sum(edge["node"]["author"] is None for edge in found["node"]["feed"]["edges"]) == 0
    # The community comes first here; then the page, its authors and its votes.
    assert len(sent) <= 4, sent

    all_posts = PAGE.replace("query($id: ID!) { node(id: $id) { ... on Community { feed", "{ feed")[: -len("} } ")]
    with counted(monkeypatch) as sent:
        found = reader.ask(all_posts)
    assert len(found["feed"]["edges"]) == 25
    assert len(sent) <= 4, sent


def test_nested_objects_are_loaded_in_batches(busy: tuple[Client, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, _, post = busy
    query = """query($ids: [ID!]!) { nodes(ids: $ids) { ... on Post {
      a: author { karma { total } viewerFollows } saved myVote community { viewerMembership { joined } }
      b: author { karma { total } viewerBlocks } score { total } commentCount body } } }"""
    with counted(monkeypatch) as sent:
        reader.ask(query, ids=[post])
    alone = len(sent)
    ids = [edge["id"] for edge in reader.ask("{ feed(sort: NEW, first: 25) { nodes { id } } }")["feed"]["nodes"]]
    with counted(monkeypatch) as sent:
        reader.ask(query, ids=ids)
    # Anonymous authors come a moment later than others, and so does what is asked about them.
    assert len(sent) <= alone + 3, sent


def test_a_visitor_is_not_asked_what_he_did(
    busy: tuple[Client, str, str], visitor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, post = busy
    with counted(monkeypatch) as sent:
        visitor.ask("query($i: ID!) { node(id: $i) { ... on Post { myVote saved hidden } } }", i=post)
    assert len(sent) == 1


def test_the_second_identical_request_is_not_validated_again(visitor: Client, stack: Stack) -> None:
    engine = next(route.endpoint.engine for route in stack.app.routes if getattr(route, "path", "") == "/graphql")
    text = f"query Q_{uuid4().hex}($n: String!) {{ account(name: $n) {{ id }} }}"
    before = engine.validations
    for name in ("a", "b", "c"):
        visitor.ask(text, n=name)
    assert engine.validations == before + 1


def test_the_cache_of_documents_is_bounded() -> None:
    engine = engine_of(Settings(graphql_cached_characters_max=1_000))
    for number in range(200):
        engine.prepare(f"{{ a{number}: __typename }}")
    assert engine.cached_characters <= 1_000
    assert engine.validations == 200
    engine.prepare("{ a199: __typename }")
    assert engine.validations == 200
    engine.prepare("{ a0: __typename }")
    assert engine.validations == 201


def test_documents_that_are_refused_push_none_out() -> None:
    engine = engine_of(Settings(graphql_cached_characters_max=100))
    engine.prepare("{ __typename }")
    for number in range(100):
        with pytest.raises(Refused):
            engine.prepare(f"{{ no_such_field_{number} }}")
    before = engine.validations
    engine.prepare("{ __typename }")
    assert engine.validations == before


FRAGMENT = """{ feed(first: 100) { nodes { ...F } } }
fragment F on Post { author { posts(first: 100) { nodes { id title } } } }"""
NESTED = "{ viewer { account { " + "posts(first: 1) { nodes { author { " * 6 + "id" + " } } }" * 6 + " } } }"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (NESTED, "depth"),
        ("{ " + " ".join(f"a{i}: __typename" for i in range(51)) + " }", "aliases"),
        ("{ " + "viewer { account @skip(if: false) { id } } " * 51 + "}", "directives"),
        ("{ feed(first: 100) { nodes { author { posts(first: 100) { nodes { id title } } } } } }", "cost"),
        ("query($n: Int) { feed(first: $n) { nodes { author { posts(first: $n) { nodes { id title } } } } } }", "cost"),
        (FRAGMENT, "cost"),
        ("{ " + "__typename " * 2_001 + "}", "tokens"),
        ("{ __typename #" + "\n#" * 2_001 + "\n}", "comment"),
        ("{ a" * 700 + " }" * 700, ""),
        ("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }", "within itself"),
        ("{ __schema { types { " + "fields { type { " * 4 + "name" + " } }" * 4 + " } } }", "introspection"),
    ],
)  # fmt: skip
def test_operations_that_ask_for_too_much(visitor: Client, text: str, what: str) -> None:
    answer = visitor.post(text, {"n": 100} if "$n" in text else None)
    assert "data" not in answer
    limited = what in ("depth", "aliases", "directives", "cost", "tokens", "comment")
    assert top_code(answer) == ("QUERY_TOO_COMPLEX" if limited else "BAD_REQUEST")
    assert what in answer["errors"][0]["message"].lower()


def test_a_variable_counts_as_it_is_given(visitor: Client) -> None:
    text = "query($n: Int) { feed(first: $n) { nodes { author { posts(first: $n) { nodes { id title } } } } } }"
    assert "errors" not in visitor.post(text, {"n": 5})
    assert top_code(visitor.post(text, {"n": 100})) == "QUERY_TOO_COMPLEX"


def cost(text: str, **variables: Any) -> int:
    document = parse(text)
    operation: Any = document.definitions[-1]
    values = get_variable_values(schema, operation.variable_definitions or (), variables)
    assert not isinstance(values, list), values
    return Cost(schema, document, operation).of(values.coerced, 100)


def test_what_fields_cost() -> None:
    assert cost("{ viewer { account { name } } }") == 3
    assert cost("{ feed(first: 25) { nodes { title } } }") == 1 + 10 + 25 * 2
    assert cost("{ feed(first: 25) { edges { cursor node { title } } } }") == 1 + 10 + 25 * 4
    assert cost("query($n: Int) { feed(last: $n) { nodes { title } } }", n=7) == 1 + 10 + 7 * 2
    assert cost("query($n: Int) { feed(first: $n) { nodes { title } } }") == 1 + 10 + 100 * 2
    assert cost('{ nodes(ids: ["a", "b"]) { id } }') == 1 + 2
    assert cost("fragment F on Query { viewer { account { id } } } { ...F ...F }") == 6
    assert cost("{ feed(first: 5) { nodes { bodyHtml } } }") == 1 + 10 + 5 * (1 + RENDERED_COST)
    assert cost('{ account(name: "a") { karmaByCommunity { total } } }') == 1 + 1 + 10 + 10 * 1
    told = Settings.model_fields["conversations_page_size"].default
    assert cost("subscription { conversationsChanged { conversations { id } } }") == 1 + 1 + told * 1


NESTED_PAGES = """feed(%s) { nodes { comments(%s) { nodes { replies(%s) { nodes { body } } } } } }"""


def test_variables_cost_as_what_they_come_to() -> None:
    literal = cost("{ " + NESTED_PAGES % (("first: 5",) * 3) + " }")
    for head, arguments, variables in (
        ("query($n: Int = 5)", "first: $n", {}),
        ("query($n: Int)", "first: $n", {"n": 5}),
        ("query($n: Int = 100)", "first: $n", {"n": 5}),
        ("query($n: Int!)", "last: $n", {"n": 5}),
        ("query($f: Int, $l: Int)", "first: $f, last: $l", {"f": 5}),
        ("query($f: Int, $l: Int)", "first: $f, last: $l", {"f": None, "l": 5}),
        ("query($f: Int)", "first: $f, last: null", {"f": 5}),
    ):
        assert cost(f"{head} {{ {NESTED_PAGES % ((arguments,) * 3)} }}", **variables) == literal, head
    nothing = cost("query($n: Int) { " + NESTED_PAGES % (("first: $n",) * 3) + " }")
    assert nothing == cost("{ " + NESTED_PAGES % (("first: 100",) * 3) + " }")


BRANCHES = {
    "feed": "feed(%s) { nodes { title author { name } } }",
    "communities": "communities(%s) { nodes { name } }",
    "karmaByCommunity": 'account(name: "a") { karmaByCommunity(%s) { total } }',
}
SIZES = st.integers(-(2**31), 2**31 - 1) | st.integers(-3, 103)


@given(branch=st.sampled_from(sorted(BRANCHES)), first=SIZES, last=st.none() | SIZES, as_variables=st.booleans())
@example(branch="feed", first=-99_999_999, last=None, as_variables=False)
def test_no_value_of_an_argument_lowers_what_the_rest_costs(
    branch: str, first: int, last: int | None, as_variables: bool
) -> None:
    rest = "viewer { account { name } }"
    text = BRANCHES[branch]
    if branch == "karmaByCommunity":
        last = None
    if as_variables:
        arguments = "first: $first" + (", last: $last" if last is not None else "")
        document = "query($first: Int, $last: Int) { " + rest + text % arguments + " }"
        found = cost(document, first=first, last=last)
    else:
        arguments = f"first: {first}" + (f", last: {last}" if last is not None else "")
        found = cost("{ " + rest + text % arguments + " }")
    possible = [size if 0 <= size <= 100 else 100 for size in (first, last) if size is not None]
    assert found == cost("{ " + rest + text % f"first: {max(possible)}" + " }")
    assert found > cost("{ " + rest + " }")


def test_literals_that_no_int_can_hold_cost_the_most() -> None:
    most = cost("{ feed(first: 100) { nodes { title } } }")
    for literal in ("99999999999", "-99999999999", "9" * 5_000, "-1", "101"):
        assert cost(f"{{ feed(first: {literal}) {{ nodes {{ title }} }} }}") == most, literal


def test_an_id_asked_for_twice_is_resolved_once(busy: tuple[Client, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, _, post = busy
    asked: list[str] = []

    def parse(identity: str, field: str) -> Any:
        asked.append(identity)
        return parse_id(identity, field)

    monkeypatch.setattr("read_api.schema.queries.parse_id", parse)
    found = reader.ask("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[post] * 30)
    assert found["nodes"] == [{"id": post}] * 30
    assert asked == [post]


def test_the_introspection_query_of_graphiql_is_within_the_limits(visitor: Client) -> None:
    schema_found = visitor.ask(get_introspection_query(input_value_deprecation=True))["__schema"]
    assert {"Post", "Comment", "Account", "Community"} <= {one["name"] for one in schema_found["types"]}


def test_everything_in_the_schema_is_described(visitor: Client) -> None:
    found = visitor.ask("{ __schema { types { name description fields { name description args { name description } } "
                        "inputFields { name description } enumValues { name description } } } }")  # fmt: skip
    silent = [
        f"{kind['name']}.{item['name']}"
        for kind in found["__schema"]["types"]
        if not kind["name"].startswith("__")
        for item in [
            {"name": "", "description": kind["description"]},
            *(kind["fields"] or []),
            *(kind["inputFields"] or []),
            *(kind["enumValues"] or [] if kind["name"] != "ErrorCode" else []),
            *(
                {"name": f"{field['name']}({one['name']})", "description": one["description"]}
                for field in kind["fields"] or []
                for one in field["args"]
            ),
        ]
        if not item["description"]
    ]
    assert silent == []


def test_a_fault_is_masked_and_logged(visitor: Client, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret of the house")

    monkeypatch.setattr("infra.queries.accounts.by_names", broken)
    answer = visitor.http.post("/graphql", json={"query": '{ account(name: "a") { id } }'})
    error = answer.json()["errors"][0]
    assert error["extensions"] == {"code": "INTERNAL", "requestId": answer.headers["x-request-id"]}
    assert "secret" not in answer.text


def test_an_engine_that_is_away_is_said_to_be(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> Any:
        raise psycopg.OperationalError("the connection is lost: host=10.1.2.3")

    monkeypatch.setattr("infra.queries.accounts.by_names", away)
    answer = visitor.post('{ account(name: "a") { id } }')
    assert top_code(answer) == "UNAVAILABLE"
    assert "10.1.2.3" not in str(answer)


def test_what_was_done_and_cannot_be_read_is_not_said_to_be_undone(
    somebody: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise psycopg.OperationalError("the connection is lost")

    ada = somebody()
    query = "mutation($i: SubmitPostInput!) { submitPost(input: $i) { position post { title } } }"
    given = {"communityId": a_community(ada), "title": "A title"}
    monkeypatch.setattr("infra.queries.items.posts", away)
    answer = ada.post(query, {"i": given})
    assert answer["data"]["submitPost"]["position"]
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert error["path"] == ["submitPost", "post"]
    assert "The rest of this answer holds" in error["message"]
    assert "changed" not in error["message"]


def test_views_that_lag_are_waited_for_and_then_said_to_lag(
    somebody: Callable[[], Client], stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = somebody()
    answer = ada.post("{ viewer { account { name } } }")
    assert answer["extensions"]["consistency"]["stale"] is False
    by_extension = ada.http.post(
        "/graphql", json={"query": "{ __typename }", "extensions": {"position": ada.position}}
    ).json()
    assert by_extension["extensions"]["consistency"] == {"position": ada.position, "stale": False}

    async def never(_: int) -> bool:
        await asyncio.sleep(0)
        return False

    monkeypatch.setattr(stack.moot.progress, "wait", never)
    assert ada.post("{ __typename }")["extensions"]["consistency"]["stale"] is True
    ada.position = None
    payload = ada.post(
        "mutation($i: CreateCommunityInput!) { createCommunity(input: $i) { community { id } errors { code } } }",
        {"i": {"name": f"c_{uuid4().hex[:10]}"}},
    )
    assert payload["data"]["createCommunity"]["errors"] == []
    assert payload["extensions"]["consistency"]["stale"] is True
