"""Who sees what: private communities, anonymous authors, blocked people, what was deleted."""

from collections.abc import Callable
from typing import Any

from tests.api.stack import Client
from tests.api.test_bad_input import codes, community_of, post_of

FEEDS = """
query($community: ID!, $post: ID!, $comment: ID!, $author: String!, $name: String!) {
  community: node(id: $community) { id }
  named: community(name: $name) { id }
  post: node(id: $post) { id }
  comment: node(id: $comment) { id }
  feed(sort: NEW, first: 100) { nodes { id } }
  communities(first: 100) { nodes { id } }
  account(name: $author) {
    posts(first: 100) { nodes { id } }
    comments(first: 100) { nodes { id } }
    communities(first: 100) { nodes { id } }
    karmaByCommunity { community { id } }
  }
}
"""


def _everything(client: Client, **variables: Any) -> str:
    return str(client.ask(FEEDS, **variables))


def test_a_private_community_does_not_exist_for_others(somebody: Callable[[], Client], visitor: Client) -> None:
    ada, ben, eve = somebody(), somebody(), somebody()
    community = community_of(ada, visibility="PRIVATE")
    name = ada.ask("query($id: ID!) { node(id: $id) { ... on Community { name } } }", id=community)["node"]["name"]
    post = post_of(ada, community)
    comment = ada.do("submitComment", "comment { id }", postId=post, body="psst")["comment"]["id"]
    invited = ada.do(
        "inviteMember",
        "community { id } account { name }",
        kind_of_input="MemberInput",
        communityId=community,
        accountId=ben.id,
    )
    assert invited["account"] == {"name": ben.name}
    variables = {"community": community, "post": post, "comment": comment, "author": ada.name, "name": name}

    for outsider in (visitor, eve):
        outsider.position = ada.position
        seen = _everything(outsider, **variables)
        assert not any(secret in seen for secret in (community, post, comment))
    assert codes(eve.do("castVote", targetId=post, value="UP"))[0][0] == "TARGET_NOT_FOUND"

    ben.position = ada.position
    invited_sees = _everything(ben, **variables)
    assert community in invited_sees
    assert post not in invited_sees
    assert comment not in invited_sees
    joined = ben.do("joinCommunity", "community { id }", kind_of_input="CommunityInput", communityId=community)
    assert joined["errors"] == []
    seen = _everything(ben, **variables)
    assert all(thing in seen for thing in (community, post, comment))

    left = ben.do("leaveCommunity", "community { id }", kind_of_input="CommunityInput", communityId=community)
    assert left["errors"] == []
    assert left["community"] is None
    assert post not in _everything(ben, **variables)


def test_an_anonymous_author_is_known_to_moderators_and_to_himself(
    somebody: Callable[[], Client], visitor: Client
) -> None:
    moderator, author, reader = somebody(), somebody(), somebody()
    community = community_of(moderator, anonymousAllowed=True)
    post = post_of(author, community, anonymous=True, body="it was me")
    query = """query($id: ID!, $name: String!) {
      node(id: $id) { ... on Post { author { name } anonymous body } }
      account(name: $name) { karma { total } posts(first: 10) { nodes { id } } }
    }"""
    reader.do("castVote", targetId=post, value="UP")
    for client, known, listed in (
        (author, {"name": author.name}, 1),
        (moderator, {"name": author.name}, 0),
        (reader, None, 0),
        (visitor, None, 0),
    ):
        client.position = reader.position
        found = client.ask(query, id=post, name=author.name)
        assert found["node"] == {"author": known, "anonymous": True, "body": "it was me"}
        assert len(found["account"]["posts"]["nodes"]) == listed
        assert found["account"]["karma"]["total"] == 0


def test_a_blocked_author_is_neither_listed_nor_read(somebody: Callable[[], Client]) -> None:
    reader, pest = somebody(), somebody()
    community = community_of(reader)
    post = post_of(pest, community, body="noise")
    link = post_of(pest, community, kind="LINK", url="https://noise.example/")
    mine = post_of(reader, community)
    comment = pest.do("submitComment", "comment { id }", postId=mine, body="more noise")["comment"]["id"]
    reader.position = pest.position
    query = """query($community: ID!, $post: ID!, $link: ID!, $comment: ID!, $pest: ID!) {
      node(id: $community) { ... on Community { feed(sort: NEW, first: 10) { nodes { id } } } }
      post: node(id: $post) { ... on Post { title body bodyHtml hidden } }
      link: node(id: $link) { ... on Post { title kind url hidden } }
      comment: node(id: $comment) { ... on Comment { body bodyHtml hidden } }
      pest: node(id: $pest) { ... on Account { viewerBlocks } }
      viewer { notifications(first: 10) { nodes { actor { id } } } blockedAccounts(first: 10) { nodes { id } } }
    }"""
    variables = {"community": community, "post": post, "link": link, "comment": comment, "pest": pest.id}
    before = reader.ask(query, **variables)
    assert {one["id"] for one in before["node"]["feed"]["nodes"]} == {post, link, mine}
    assert before["post"]["body"] == "noise"
    assert before["link"] == {"title": "A post", "kind": "LINK", "url": "https://noise.example/", "hidden": False}
    assert before["viewer"]["notifications"]["nodes"] == [{"actor": {"id": pest.id}}]

    reader.do("blockAccount", "account { viewerBlocks }", kind_of_input="AccountInput", accountId=pest.id)
    after = reader.ask(query, **variables)
    assert after["node"]["feed"]["nodes"] == [{"id": mine}]
    assert after["post"] == {"title": "A post", "body": None, "bodyHtml": None, "hidden": True}
    assert after["link"] == {"title": "A post", "kind": "LINK", "url": None, "hidden": True}
    assert after["comment"] == {"body": None, "bodyHtml": None, "hidden": True}
    assert after["pest"] == {"viewerBlocks": True}
    assert after["viewer"] == {"notifications": {"nodes": []}, "blockedAccounts": {"nodes": [{"id": pest.id}]}}


def test_what_was_deleted_leaves_a_gravestone(somebody: Callable[[], Client], visitor: Client) -> None:
    ada = somebody()
    community = community_of(ada)
    post = post_of(ada, community, body="regrets")
    comment = ada.do("submitComment", "comment { id }", postId=post, body="too")["comment"]["id"]
    ada.do("submitComment", "comment { id }", postId=post, parentId=comment, body="stays")
    fields = "deleted body bodyHtml author { name }"
    gone = ada.do(
        "deleteComment", f"comment {{ {fields} replyCount }}", kind_of_input="CommentInput", commentId=comment
    )
    nothing = {"deleted": True, "body": None, "bodyHtml": None, "author": None}
    assert gone["comment"] == {**nothing, "replyCount": 1}
    gone = ada.do("deletePost", f"post {{ {fields} title url }}", kind_of_input="PostInput", postId=post)
    assert gone["post"] == {**nothing, "title": None, "url": None}
    visitor.position = ada.position
    assert "regrets" not in str(visitor.ask("query($i: ID!) { node(id: $i) { ... on Post { title body } } }", i=post))
    assert visitor.ask(
        "query($i: ID!) { node(id: $i) { ... on Community { feed(first: 5) { nodes { id } } } } }", i=community
    ) == {"node": {"feed": {"nodes": []}}}


def test_what_is_the_viewers_own(somebody: Callable[[], Client], visitor: Client) -> None:
    ada, ben = somebody(), somebody()
    community = community_of(ada)
    post = post_of(ada, community)
    comment = ada.do("submitComment", "comment { id }", postId=post, body="x")["comment"]["id"]
    ben.do("saveItem", kind_of_input="TargetInput", targetId=post)
    ben.do("saveItem", kind_of_input="TargetInput", targetId=comment)
    ben.do("castVote", targetId=comment, value="DOWN")
    ben.do("followAccount", kind_of_input="AccountInput", accountId=ada.id)
    query = """query($c: ID!, $a: ID!) {
      viewer {
        account { name isViewer }
        saved(first: 10) { nodes { __typename ... on Post { id saved } ... on Comment { id saved } } }
        homeFeed(sort: NEW, first: 10) { nodes { id } }
      }
      comment: node(id: $c) { ... on Comment { myVote saved score { total } } }
      ada: node(id: $a) { ... on Account { viewerFollows followerCount karma { comments total }
        followers(first: 5) { nodes { name } } } }
    }"""
    found = ben.ask(query, c=comment, a=ada.id)
    assert found["viewer"] == {
        "account": {"name": ben.name, "isViewer": True},
        "saved": {
            "nodes": [
                {"__typename": "Comment", "id": comment, "saved": True},
                {"__typename": "Post", "id": post, "saved": True},
            ]
        },
        "homeFeed": {"nodes": [{"id": post}]},
    }
    assert found["comment"] == {"myVote": "DOWN", "saved": True, "score": {"total": -1}}
    assert found["ada"] == {
        "viewerFollows": True,
        "followerCount": 1,
        "karma": {"comments": -1, "total": -1},
        "followers": {"nodes": [{"name": ben.name}]},
    }
    visitor.position = ben.position
    seen = visitor.ask(query, c=comment, a=ada.id)
    assert seen["viewer"] is None
    assert seen["comment"] == {"myVote": "NONE", "saved": False, "score": {"total": -1}}
