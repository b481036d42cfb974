"""Counts beyond what an Int of GraphQL holds, as archives bring them: shown as the largest there is."""

from collections.abc import Callable

import psycopg

from read_api.ids import parse_id
from tests.api.stack import Client, Stack
from tests.api.test_bad_input import community_of, post_of

INT_MAX = 2**31 - 1


def test_scores_and_karma_beyond_an_int(stack: Stack, somebody: Callable[[], Client]) -> None:
    ada = somebody()
    community = community_of(ada)
    post = post_of(ada, community)
    comment = ada.do("submitComment", "comment { id }", postId=post, body="x")["comment"]["id"]
    ada.ask("{ __typename }")
    ids = {"many": 2**40, "post": parse_id(post, "id")[1], "comment": parse_id(comment, "id")[1]}
    author, place = parse_id(ada.id, "id")[1], parse_id(community, "id")[1]
    with psycopg.connect(stack.moot.database_url) as connection:
        connection.execute("UPDATE views.feed SET up = %(many)s, down = 3 WHERE post_id = %(post)s", ids)
        connection.execute("INSERT INTO views.scores VALUES (%(comment)s, 1, %(many)s, 1)", ids)
        karma = "INSERT INTO views.karma VALUES (%s, %s, %s, %s, 1)"
        connection.execute(karma, (author, place, 2**31 - 2, 2**31 - 2))
    found = ada.ask(
        """query($community: ID!, $post: ID!, $comment: ID!, $author: ID!) {
            feed: node(id: $community) { ... on Community { feed(sort: NEW, first: 1) {
                nodes { score { up down total } } } } }
            post: node(id: $post) { ... on Post { score { up down total } } }
            comment: node(id: $comment) { ... on Comment { score { up down total } } }
            author: node(id: $author) { ... on Account {
                karma { posts comments total } karmaByCommunity { posts comments total } } } }""",
        community=community,
        post=post,
        comment=comment,
        author=ada.id,
    )
    score = {"up": INT_MAX, "down": 3, "total": INT_MAX}
    assert found["feed"]["feed"]["nodes"] == [{"score": score}]
    assert found["post"]["score"] == score
    assert found["comment"]["score"] == {"up": 1, "down": INT_MAX, "total": -INT_MAX}
    karma_shown = {"posts": INT_MAX - 1, "comments": INT_MAX - 1, "total": INT_MAX}
    assert found["author"] == {"karma": karma_shown, "karmaByCommunity": [karma_shown]}
