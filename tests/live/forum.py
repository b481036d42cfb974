"""What happens in the forum while somebody watches, by the API's mutations."""

from typing import Any
from uuid import uuid4

from tests.api.stack import Client, Stack


def a_community(who: Client, **given: Any) -> str:
    """The id of a new community of hers."""
    made = who.do("createCommunity", "community { id }", name=f"c_{uuid4().hex[:12]}", **given)
    assert not made["errors"], made
    identity: str = made["community"]["id"]
    return identity


def submit_post(who: Client, community: str, **given: Any) -> str:
    """The id of a new post of hers."""
    made = who.do("submitPost", "post { id }", communityId=community, **{"title": "A title", **given})
    assert not made["errors"], made
    identity: str = made["post"]["id"]
    return identity


def a_post(stack: Stack) -> str:
    """The id of a post in a public community, by somebody."""
    with Client(stack) as who:
        who.appear()
        return submit_post(who, a_community(who))


def comment(who: Client, post: str, body: str = "A comment", **given: Any) -> str:
    """The id of a new comment of hers."""
    made = who.do("submitComment", "comment { id }", postId=post, body=body, **given)
    assert not made["errors"], made
    identity: str = made["comment"]["id"]
    return identity


def vote(who: Client, target: str, value: str = "UP") -> str:
    """Her vote; gives the position."""
    made = who.do("castVote", targetId=target, value=value)
    assert not made["errors"], made
    assert who.position is not None
    return who.position
