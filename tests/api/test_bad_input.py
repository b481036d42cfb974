"""Operations with input that cannot be used: each gets a typed error, and nothing happens."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from domain.event import Id
from read_api.ids import Kind, global_id
from tests.api.stack import Client

UNKNOWN = Id("00000000-0000-4000-8000-000000000000")


def codes(payload: dict[str, Any]) -> list[tuple[str, list[str] | None]]:
    return [(error["code"], error["field"]) for error in payload["errors"]]


def top_code(answer: dict[str, Any]) -> str:
    found: str = answer["errors"][0]["extensions"]["code"]
    return found


def community_of(client: Client, **more: Any) -> str:
    made = client.do("createCommunity", "community { id }", name=f"c_{uuid4().hex[:10]}", **more)
    assert made["errors"] == []
    found: str = made["community"]["id"]
    return found


def post_of(client: Client, community: str, **more: Any) -> str:
    made = client.do("submitPost", "post { id }", communityId=community, **{"title": "A post", **more})
    assert made["errors"] == [], made
    found: str = made["post"]["id"]
    return found


@pytest.mark.parametrize(
    "bad",
    ["", "x", "nonsense", "cAAAAAAAAAAAAAAAAAAAAA", "p" * 23, "=" * 23, "ä" * 23, "\x00" * 23, "x" * 10_000, UNKNOWN],
)
def test_what_is_no_id(visitor: Client, somebody: Callable[[], Client], bad: str) -> None:
    answer = visitor.post("query($id: ID!) { node(id: $id) { id } }", {"id": bad})
    assert top_code(answer) == "INVALID_ID"
    assert answer["data"] == {"node": None}
    assert codes(somebody().do("lockPost", "post { id }", kind_of_input="PostInput", postId=bad)) == [
        ("INVALID_ID", ["input", "postId"])
    ]


def test_an_id_has_one_spelling(visitor: Client) -> None:
    good = global_id(Kind.POST, UNKNOWN)
    for other in (good[:-1] + chr(ord(good[-1]) + 1), good + "=", good.swapcase()):
        assert top_code(visitor.post("query($id: ID!) { node(id: $id) { id } }", {"id": other})) == "INVALID_ID"


def test_an_id_of_nothing_is_null(visitor: Client) -> None:
    for kind in Kind:
        assert visitor.ask("query($id: ID!) { node(id: $id) { id } }", id=global_id(kind, UNKNOWN)) == {"node": None}


def test_an_id_of_another_type(somebody: Callable[[], Client]) -> None:
    ada = somebody()
    community = community_of(ada)
    cases = {
        "lockPost": ("PostInput", "post { id }", "postId"),
        "deleteComment": ("CommentInput", "comment { id }", "commentId"),
        "followAccount": ("AccountInput", "account { id }", "accountId"),
        "saveItem": ("TargetInput", "target { __typename }", "targetId"),
    }
    for mutation, (kind, fields, field) in cases.items():
        payload = ada.do(mutation, fields, kind_of_input=kind, **{field: community})
        assert codes(payload) == [("ID_OF_ANOTHER_TYPE", ["input", field])]
        assert payload["position"] is None


def test_ids_of_nothing_in_mutations(somebody: Callable[[], Client]) -> None:
    ada = somebody()
    post, comment = global_id(Kind.POST, UNKNOWN), global_id(Kind.COMMENT, UNKNOWN)
    assert codes(ada.do("submitComment", postId=post, body="x"))[0][0] == "POST_NOT_FOUND"
    assert codes(ada.do("editComment", commentId=comment, body="x"))[0][0] == "COMMENT_NOT_FOUND"
    assert codes(ada.do("castVote", targetId=post, value="UP"))[0][0] == "TARGET_NOT_FOUND"
    community = global_id(Kind.COMMUNITY, UNKNOWN)
    assert codes(ada.do("joinCommunity", kind_of_input="CommunityInput", communityId=community))[0][0] == (
        "COMMUNITY_NOT_FOUND"
    )


def test_a_visitor_changes_nothing(visitor: Client) -> None:
    payload = visitor.do("createCommunity", "community { id }", name="visitors")
    assert codes(payload) == [("UNAUTHENTICATED", None)]
    assert payload["community"] is None


def test_text_that_is_refused(somebody: Callable[[], Client]) -> None:
    ada = somebody()
    community = community_of(ada)
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"title": ""}, "TOO_SHORT", "title"),
        ({"title": "x" * 10_000}, "TOO_LONG", "title"),
        ({"title": "with \x00 in it"}, "INVALID_CHARACTERS", "title"),
        ({"title": "ok", "body": "\x1b[31m"}, "INVALID_CHARACTERS", "body"),
        ({"title": "ok", "body": "\u200b \u2060"}, "TOO_SHORT", "body"),
        ({"title": "ok", "kind": "LINK", "url": "javascript:alert(1)"}, "INVALID_URL", "url"),
        ({"title": "ok", "anonymous": True}, "ANONYMOUS_NOT_ALLOWED", "anonymous"),
    ]
    for given, code, field in cases:
        payload = ada.do("submitPost", "post { id }", communityId=community, **given)
        assert codes(payload) == [(code, ["input", field])], given
        assert payload["post"] is None


def test_lone_surrogates_are_refused(visitor: Client) -> None:
    body = b'{"query": "query($n: String!) { account(name: $n) { id } }", "variables": {"n": "\\ud800"}}'
    answer = visitor.http.post("/graphql", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    inline = visitor.post('{ account(name: "\\uD800") { id } }')
    assert top_code(inline) == "BAD_REQUEST"


def test_names_that_cannot_be(visitor: Client) -> None:
    for name in ("", "\x00", "x" * 100_000, "' OR 1=1 --", "%", "ada\u202e"):
        assert visitor.ask("query($n: String!) { account(name: $n) { id } community(name: $n) { id } }", n=name) == {
            "account": None,
            "community": None,
        }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("", "FIRST_OR_LAST"),
        ("first: 1, last: 1", "FIRST_OR_LAST"),
        ('first: 1, before: "x"', "FIRST_OR_LAST"),
        ('last: 1, after: "x"', "FIRST_OR_LAST"),
        ("first: 0", "PAGE_TOO_LARGE"),
        ("first: -1", "PAGE_TOO_LARGE"),
        ("first: 101", "PAGE_TOO_LARGE"),
        ("last: 101", "PAGE_TOO_LARGE"),
        ('first: 1, after: ""', "CURSOR_INVALID"),
        ('first: 1, after: "nonsense"', "CURSOR_INVALID"),
        ('last: 1, before: "bm9uc2Vuc2Vub25zZW5zZQ"', "CURSOR_INVALID"),
        ('first: 1, after: "äöü"', "CURSOR_INVALID"),
        ("first: 99999999999", "BAD_REQUEST"),
        ('first: "1"', "BAD_REQUEST"),
    ],
)
def test_pages_that_cannot_be(visitor: Client, arguments: str, code: str) -> None:
    given = f"({arguments})" if arguments else ""
    for connection in ("feed", "communities"):
        assert top_code(visitor.post(f"{{ {connection}{given} {{ pageInfo {{ hasNextPage }} }} }}")) == code


def test_a_cursor_is_good_for_its_own_list_alone(somebody: Callable[[], Client]) -> None:
    ada = somebody()
    community = community_of(ada)
    post_of(ada, community), post_of(ada, community)
    query = "query($a: String) { feed(sort: NEW, first: 1, after: $a) { pageInfo { endCursor } } }"
    cursor = ada.ask(query)["feed"]["pageInfo"]["endCursor"]
    assert ada.ask(query, a=cursor)["feed"]["pageInfo"]["endCursor"] != cursor
    for other in (
        query.replace("NEW", "HOT"),
        query.replace("feed(sort: NEW, ", "feed: communities("),
        "query($a: String) { viewer { homeFeed(sort: NEW, first: 1, after: $a) { pageInfo { endCursor } } } }",
    ):
        assert top_code(ada.post(other, {"a": cursor})) == "CURSOR_INVALID"
    for place in range(0, len(cursor), 7):
        altered = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        assert top_code(ada.post(query, {"a": altered})) == "CURSOR_INVALID"


def test_too_many_ids(visitor: Client) -> None:
    ids = [global_id(Kind.POST, UNKNOWN)] * 101
    assert top_code(visitor.post("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", {"ids": ids})) == "PAGE_TOO_LARGE"


def test_variables_of_wrong_types(visitor: Client) -> None:
    for variables in ({}, {"n": None}, {"n": 7}, {"n": ["x"]}, {"n": {"a": 1}}):
        answer = visitor.post("query($n: String!) { account(name: $n) { id } }", variables)
        assert top_code(answer) == "BAD_REQUEST"
        assert "data" not in answer


def test_a_time_without_a_zone(visitor: Client) -> None:
    answer = visitor.post('{ feed(sort: TOP, period: YEAR, until: "2015-01-01T00:00:00", first: 1) { nodes { id } } }')
    assert top_code(answer) == "BAD_REQUEST"
    answer = visitor.post('{ feed(sort: TOP, period: YEAR, until: "yesterday", first: 1) { nodes { id } } }')
    assert top_code(answer) == "BAD_REQUEST"


FEEDS = {
    "feed": "{ %s }",
    "community": "query($id: ID!) { node(id: $id) { ... on Community { %s } } }",
    "home": "{ viewer { %s } }",
}


@pytest.mark.parametrize("where", sorted(FEEDS))
def test_times_at_the_ends_of_time(somebody: Callable[[], Client], where: str) -> None:
    ada = somebody()
    field = "homeFeed" if where == "home" else "feed"
    variables = {"id": community_of(ada)} if where == "community" else {}
    for sort in ("TOP", "CONTROVERSIAL", "HOT"):
        for period in ("YEAR", "DAY", "ALL"):
            for until, possible in (
                ("0001-01-01T00:00:00Z", True),
                ("0001-06-01T00:00:00Z", True),
                ("9999-12-31T23:59:59Z", True),
                ("9999-12-31T23:59:59-23:59", False),
                ("0001-01-01T00:00:00+23:59", False),
            ):
                asked = f'{field}(sort: {sort}, period: {period}, until: "{until}", first: 1) {{ nodes {{ id }} }}'
                answer = ada.post(FEEDS[where] % asked, variables)
                if possible:
                    assert "errors" not in answer, (sort, period, until, answer)
                else:
                    error = answer["errors"][0]["extensions"]
                    assert (error["code"], error["field"]) == ("BAD_REQUEST", "until")


def test_idempotency_keys(somebody: Callable[[], Client]) -> None:
    ada = somebody()
    name = f"c_{uuid4().hex[:10]}"
    for key in ("", "x" * 201, " ", "   ", "\u3000", "a\nb", "a\x00b", "\u200b", "a\x7f", "\u2028"):
        payload = ada.do("createCommunity", "community { id }", name=name, idempotencyKey=key)
        assert codes(payload) == [("IDEMPOTENCY_KEY_INVALID", ["input", "idempotencyKey"])]
    first = ada.do("createCommunity", "community { id }", name=name, idempotencyKey="k", clientMutationId="one")
    again = ada.do("createCommunity", "community { id }", name=name, idempotencyKey="k", clientMutationId="two")
    assert first["community"] == again["community"] != None  # noqa: E711
    assert (first["clientMutationId"], again["clientMutationId"]) == ("one", "two")
    other = ada.do("createCommunity", "community { id }", name=name, idempotencyKey="another")
    assert codes(other) == [("NAME_TAKEN", ["input", "name"])]


def test_a_session_that_ended_is_told_so(somebody: Callable[[], Client]) -> None:
    ada = somebody()
    assert ada.ask("{ viewer { account { name } } }")["viewer"]["account"]["name"] == ada.name
    ada.do("signOut", "sessionsEnded")
    answer = ada.http.post("/graphql", json={"query": "{ viewer { account { name } } }"})
    assert answer.status_code == 401
    error = answer.json()["errors"][0]["extensions"]
    assert (error["code"], error["reason"]) == ("UNAUTHENTICATED", "SESSION_ENDED")


@pytest.mark.parametrize("wrong", [0, 7, False, True, [], ["x"], {}, {"a": 1}, 1.5])
def test_a_position_that_is_no_text(visitor: Client, wrong: Any) -> None:
    assert top_code(visitor.post("{ __typename }", extensions={"position": wrong})) == "POSITION_INVALID"


def test_a_position_that_is_none(visitor: Client) -> None:
    for nothing in (None, ""):
        assert "errors" not in visitor.post("{ __typename }", extensions={"position": nothing})
