"""The list of communities, page by page, while people join and leave."""

from collections.abc import Callable

from tests.api.stack import Client
from tests.api.test_bad_input import community_of

PAGE = """query($after: String) { communities(first: 3, after: $after) {
  nodes { id memberCount } pageInfo { hasNextPage endCursor } } }"""


def test_a_community_that_grows_or_shrinks_between_pages_is_neither_hidden_nor_repeated(
    somebody: Callable[[], Client],
) -> None:
    ada, people = somebody(), [somebody() for _ in range(4)]

    def do(who: Client, what: str, community: str) -> None:
        who.position = ada.position
        done = who.do(what, "community { id }", kind_of_input="CommunityInput", communityId=community)
        assert done["errors"] == []
        ada.position = who.position

    made = [community_of(ada) for _ in range(8)]
    for number, community in enumerate(made):
        for who in people[: number % 3]:
            do(who, "joinCommunity", community)
    every = ada.ask("{ communities(first: 100) { nodes { id } } }")["communities"]["nodes"]
    found: list[str] = []
    after, more = None, True
    while more:
        page = ada.ask(PAGE, after=after)["communities"]
        found += [node["id"] for node in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        shown = [community for community in made if community in found]
        hidden = [community for community in made if community not in found]
        for community in hidden[:2]:  # past what was shown already
            joined = ada.ask("query($id: ID!) { node(id: $id) { ... on Community { memberCount } } }", id=community)
            for who in people[joined["node"]["memberCount"] - 1 :]:
                do(who, "joinCommunity", community)
        for community in shown[:1]:
            do(people[0], "leaveCommunity", community)
    assert found == [node["id"] for node in every]
