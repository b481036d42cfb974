"""What a newcomer does first, over HTTP: register, open a community, post, comment, vote, read."""

from uuid import uuid4

from tests.api.stack import Client, Stack

POST = "post { id title body bodyHtml author { name } community { name } score { up down total } myVote commentCount }"


def test_a_first_session(stack: Stack, visitor: Client) -> None:
    with Client(stack) as ada, Client(stack) as ben:
        _first_session(ada.sign_up(), ben.sign_up(), visitor)


def _first_session(ada: Client, ben: Client, visitor: Client) -> None:
    name = f"c_{uuid4().hex[:10]}"
    made = ada.do("createCommunity", "community { id name memberCount viewerMembership { moderator } }", name=name)
    assert made["errors"] == []
    assert made["community"]["name"] == name
    assert made["community"]["viewerMembership"] == {"moderator": True}

    submitted = ada.do(
        "submitPost", POST, communityId=made["community"]["id"], title="Hello", body="**Hi** <b>there</b>"
    )
    assert submitted["errors"] == []
    post = submitted["post"]
    assert post["bodyHtml"] == "<p><strong>Hi</strong> &lt;b&gt;there&lt;/b&gt;</p>\n"
    assert post["author"] == {"name": ada.name}
    assert post["community"] == {"name": name}

    commented = ben.do("submitComment", "comment { id depth post { title } }", postId=post["id"], body="Welcome")
    assert commented["comment"]["post"] == {"title": "Hello"}
    voted = ben.do(
        "castVote",
        "target { ... on Post { myVote score { up down total } commentCount } }",
        targetId=post["id"],
        value="UP",
    )
    assert voted["target"] == {"myVote": "UP", "score": {"up": 1, "down": 0, "total": 1}, "commentCount": 1}

    visitor.position = ben.position
    found = visitor.ask(
        "query($name: String!) { community(name: $name) { feed(first: 5) { nodes { title myVote score { total } } "
        "pageInfo { hasNextPage } } } account(name: $name) { id } }",
        name=name.upper(),
    )
    assert found["community"]["feed"] == {
        "nodes": [{"title": "Hello", "myVote": "NONE", "score": {"total": 1}}],
        "pageInfo": {"hasNextPage": False},
    }
    assert found["account"] is None
