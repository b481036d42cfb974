"""Comments below a post: in pages, in order, with votes arriving in between, and in batches."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.stack import Client
from tests.api.test_bad_input import community_of, post_of, top_code
from tests.api.test_work_done import counted


@pytest.fixture
def thread(somebody: Callable[[], Client]) -> tuple[Client, str, list[str]]:
    """Somebody, a post, and its comments: 0 to 4 below the post, then 5 below 0, 6 below 5, 7 below 0."""
    ada = somebody()
    post = post_of(ada, community_of(ada))
    made: list[str] = []
    for parent in (None, None, None, None, None, 0, 5, 0):
        more = {} if parent is None else {"parentId": made[parent]}
        payload = ada.do("submitComment", "comment { id }", postId=post, body=f"number {len(made)}", **more)
        made.append(payload["comment"]["id"])
    return ada, post, made


PAGE = """query($id: ID!, $sort: CommentSort!, $after: String, $before: String, $first: Int, $last: Int) {
  node(id: $id) { ... on Post { comments(sort: $sort, first: $first, after: $after, last: $last, before: $before) {
    nodes { id body } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } } }"""


def _pages(client: Client, post: str, sort: str, size: int, between: Callable[[], None]) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = client.ask(PAGE, id=post, sort=sort, first=size, after=after)["node"]["comments"]
        found += [node["id"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]
        between()


def test_pages_in_each_order(thread: tuple[Client, str, list[str]]) -> None:
    ada, post, made = thread
    for target, value in ((1, "UP"), (3, "DOWN")):
        ada.do("castVote", targetId=made[target], value=value)
    expected = {
        "OLD": [0, 1, 2, 3, 4],
        "NEW": [4, 3, 2, 1, 0],
        "TOP": [1, 4, 2, 0, 3],
        "BEST": [1, 4, 3, 2, 0],
    }
    for sort, order in expected.items():
        assert _pages(ada, post, sort, 2, lambda: None) == [made[number] for number in order], sort
    page = ada.ask(PAGE, id=post, sort="OLD", last=2)["node"]["comments"]
    assert [node["id"] for node in page["nodes"]] == made[3:5]
    before = page["pageInfo"]["startCursor"]
    page = ada.ask(PAGE, id=post, sort="OLD", last=2, before=before)["node"]["comments"]
    assert [node["id"] for node in page["nodes"]] == made[1:3]
    assert page["pageInfo"]["hasPreviousPage"] is True


def test_votes_and_comments_in_between_neither_hide_nor_repeat(
    thread: tuple[Client, str, list[str]], somebody: Callable[[], Client]
) -> None:
    ada, post, made = thread
    ben = somebody()

    def meddle() -> None:
        ben.do("castVote", targetId=made[0], value="UP")
        ben.do("castVote", targetId=made[4], value="DOWN")
        ben.do("submitComment", "comment { id }", postId=post, body="late")
        ada.position = ben.position

    for sort in ("TOP", "BEST"):
        found = _pages(ada, post, sort, 2, meddle)
        assert len(found) == len(set(found))
        assert set(made[:5]) <= set(found)
    shown = len(_pages(ada, post, "OLD", 100, meddle))
    assert len(_pages(ada, post, "OLD", 2, meddle)) == shown


def test_replies_parents_and_the_whole_thread(thread: tuple[Client, str, list[str]]) -> None:
    ada, post, made = thread
    found = ada.ask(
        """query($id: ID!) { node(id: $id) { ... on Post {
          thread(sort: OLD, first: 100) { nodes { id depth parent { id } replyCount } } } } }""",
        id=post,
    )["node"]["thread"]["nodes"]
    assert [(made.index(node["id"]), node["depth"]) for node in found] == [
        (0, 1), (5, 2), (6, 3), (7, 2), (1, 1), (2, 1), (3, 1), (4, 1)
    ]  # fmt: skip
    assert found[2]["parent"] == {"id": made[5]}
    assert found[0]["parent"] is None
    assert found[0]["replyCount"] == 2
    replies = ada.ask(
        """query($id: ID!) { node(id: $id) { ... on Comment { replies(sort: OLD, first: 10) { nodes {
          body replies(first: 5) { nodes { body } } } } } } }""",
        id=made[0],
    )["node"]["replies"]["nodes"]
    again = """query($id: ID!, $after: String) { node(id: $id) { ... on Comment {
      replies(sort: OLD, first: 1, after: $after) { nodes { body } pageInfo { endCursor } } } } }"""
    after = ada.ask(again, id=made[0])["node"]["replies"]["pageInfo"]["endCursor"]
    assert ada.ask(again, id=made[0], after=after)["node"]["replies"]["nodes"] == [{"body": "number 7"}]
    assert replies == [
        {"body": "number 5", "replies": {"nodes": [{"body": "number 6"}]}},
        {"body": "number 7", "replies": {"nodes": []}},
    ]


def test_first_pages_of_many_come_in_one_statement(
    thread: tuple[Client, str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, _, made = thread
    query = """query($ids: [ID!]!) { nodes(ids: $ids) { ... on Comment {
      replies(first: 3) { nodes { body myVote score { total } author { name } } } } } }"""
    ada.ask("{ __typename }")
    ada.position = None
    with counted(monkeypatch) as sent:
        ada.ask(query, ids=made[:1])
    alone = len(sent)
    with counted(monkeypatch) as sent:
        found: dict[str, Any] = ada.ask(query, ids=made)
    assert len(sent) == alone
    assert [len(node["replies"]["nodes"]) for node in found["nodes"]] == [2, 0, 0, 0, 0, 1, 0, 0]


def test_a_cursor_of_another_thread_is_refused(thread: tuple[Client, str, list[str]]) -> None:
    ada, post, _ = thread
    other = post_of(ada, community_of(ada))
    after = ada.ask(PAGE, id=post, sort="NEW", first=1)["node"]["comments"]["pageInfo"]["endCursor"]
    answer = ada.post(PAGE, {"id": other, "sort": "NEW", "first": 1, "after": after})
    assert top_code(answer) == "CURSOR_INVALID"
