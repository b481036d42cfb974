"""What is told as it happens: to whom, from where on, and until when."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.routing import WebSocketRoute

from read_api.live.operations import Operations
from tests.api.stack import Client, Stack
from tests.live.forum import a_community, comment, submit_post, vote
from tests.live.socket import Socket, signed_in

SCORE = (
    "subscription($id: ID!, $after: String) { scoreChanged(targetId: $id, after: $after) { cursor score { up down } } }"
)
COMMENTS = (
    "subscription($id: ID!, $after: String) { commentAdded(postId: $id, after: $after) "
    "{ cursor comment { id body author { name } } } }"
)
POSTS = (
    "subscription($id: ID!, $after: String) { postAdded(communityId: $id, after: $after) "
    "{ cursor post { id title author { name } community { name } } } }"
)
REPLIES = (
    "subscription($after: String) { notificationAdded(after: $after) "
    "{ cursor notification { actor { name } comment { id } } } }"
)
Somebody = Callable[[], Client]


async def told(what: Callable[..., Any], *given: Any, **more: Any) -> Any:
    """Do something in the forum while the sockets are served."""
    return await asyncio.to_thread(what, *given, **more)


def test_a_score_is_told_as_it_stands_and_whenever_it_changes(stack: Stack, somebody: Somebody) -> None:
    ada, ben = somebody(), somebody()
    post = submit_post(ada, a_community(ada))

    async def scene() -> None:
        async with signed_in(stack) as socket:
            await socket.subscribe("s", SCORE, variables={"id": post})
            assert (await socket.next("s"))["scoreChanged"]["score"] == {"up": 0, "down": 0}
            for who, value, score in (
                (ada, "UP", {"up": 1, "down": 0}),
                (ben, "DOWN", {"up": 1, "down": 1}),
                (ben, "UP", {"up": 2, "down": 0}),
                (ada, "NONE", {"up": 1, "down": 0}),
            ):
                await told(vote, who, post, value)
                assert (await socket.next("s"))["scoreChanged"]["score"] == score
            await told(vote, ada, post, "NONE")  # changes nothing
            await socket.alive()

    asyncio.run(scene())


def test_a_score_goes_on_from_its_cursor(stack: Stack, somebody: Somebody) -> None:
    ada = somebody()
    post = submit_post(ada, a_community(ada))
    reply = comment(ada, post)

    async def scene() -> None:
        for target in (post, reply):
            async with signed_in(stack) as socket:
                await socket.subscribe("s", SCORE, variables={"id": target})
                cursor = (await socket.next("s"))["scoreChanged"]["cursor"]
                await socket.subscribe("same", SCORE, variables={"id": target, "after": cursor})
                await socket.alive()  # nothing has changed since
                await told(vote, ada, target)
                both = [await socket.receive(), await socket.receive()]
                assert {message["id"] for message in both} == {"s", "same"}
                assert len({message["payload"]["data"]["scoreChanged"]["cursor"] for message in both}) == 1
            async with signed_in(stack) as socket:
                await socket.subscribe("later", SCORE, variables={"id": target, "after": cursor})
                assert (await socket.next("later"))["scoreChanged"]["score"] == {"up": 1, "down": 0}

    asyncio.run(scene())


def test_comments_come_from_the_position_of_a_mutation_on(stack: Stack, somebody: Somebody) -> None:
    ada, ben = somebody(), somebody()
    post = submit_post(ada, a_community(ada))
    after = ada.position
    first = comment(ben, post, "before the socket")

    async def scene() -> None:
        async with signed_in(stack) as socket:
            await socket.subscribe("c", COMMENTS, variables={"id": post, "after": after})
            event = (await socket.next("c"))["commentAdded"]
            assert event["comment"] == {"id": first, "body": "before the socket", "author": {"name": ben.name}}
            second = await told(comment, ada, post, "live", parentId=first)
            event = (await socket.next("c"))["commentAdded"]
            assert event["comment"] == {"id": second, "body": "live", "author": {"name": ada.name}}
            async with signed_in(stack) as again:
                await again.subscribe("c", COMMENTS, variables={"id": post, "after": event["cursor"]})
                third = await told(comment, ada, post, "third")
                assert (await again.next("c"))["commentAdded"]["comment"]["id"] == third
            assert (await socket.next("c"))["commentAdded"]["comment"]["id"] == third

    asyncio.run(scene())


def test_posts_of_a_community_and_replies_to_me(stack: Stack, somebody: Somebody) -> None:
    ada, ben = somebody(), somebody()
    community = a_community(ada)
    after = ada.position

    async def scene() -> None:
        async with signed_in(stack, ada) as socket:
            await socket.subscribe("p", POSTS, variables={"id": community, "after": after})
            await socket.subscribe("n", REPLIES, variables={"after": after})
            post = await told(submit_post, ada, community, title="News")
            event = (await socket.next("p"))["postAdded"]
            assert (event["post"]["id"], event["post"]["title"]) == (post, "News")
            assert event["post"]["author"] == {"name": ada.name}
            reply = await told(comment, ben, post)
            event = (await socket.next("n"))["notificationAdded"]
            assert event["notification"] == {"actor": {"name": ben.name}, "comment": {"id": reply}}
            await told(comment, ada, post)  # to herself: nothing to be told
            await socket.alive()

    asyncio.run(scene())


def test_without_a_cursor_lists_begin_now(stack: Stack, somebody: Somebody) -> None:
    ada = somebody()
    post = submit_post(ada, a_community(ada))
    comment(ada, post, "old")

    async def scene() -> None:
        async with signed_in(stack, ada) as socket:
            await socket.subscribe("c", COMMENTS, variables={"id": post}, extensions={"position": ada.position})
            await followers(stack, 1)
            new = await told(comment, ada, post, "new")
            assert (await socket.next("c"))["commentAdded"]["comment"]["id"] == new

    asyncio.run(scene())


async def followers(stack: Stack, number: int) -> None:
    """Wait until so many subscriptions are live: a client is not told."""

    async def following() -> None:
        topics = operations_of(stack).topics
        while sum(len(shared.topic._followers) for shared in topics._shared.values()) != number:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)

    await asyncio.to_thread(stack.run, following())


def operations_of(stack: Stack) -> Operations:
    """What the connections of that server share."""
    found: Operations = next(r.endpoint for r in stack.app.routes if isinstance(r, WebSocketRoute)).operations
    return found


@pytest.mark.parametrize("after", ["", "x", "AAAA", "é", "A" * 600])
def test_forged_cursors_are_refused(stack: Stack, somebody: Somebody, after: str) -> None:
    ada = somebody()
    community = a_community(ada)
    post = submit_post(ada, community)

    async def scene() -> None:
        async with signed_in(stack, ada) as socket:
            for query, of in ((SCORE, post), (COMMENTS, post), (POSTS, community), (REPLIES, None)):
                variables = {"after": after, **({"id": of} if of else {})}
                await socket.subscribe("x", query, variables=variables)
                await refused(socket, "CURSOR_INVALID")

    asyncio.run(scene())


def test_an_altered_cursor_is_refused(stack: Stack, somebody: Somebody) -> None:
    ada = somebody()
    post = submit_post(ada, a_community(ada))
    token = ada.position
    assert token
    altered = ("B" if token[-2] != "B" else "C").join([token[:-2], token[-1]])

    async def scene() -> None:
        async with signed_in(stack) as socket:
            await socket.subscribe("x", SCORE, variables={"id": post, "after": altered})
            await refused(socket, "CURSOR_INVALID")

    asyncio.run(scene())


async def refused(socket: Socket, code: str) -> None:
    message = await socket.receive()
    assert message["type"] == "error", message
    assert [error["extensions"]["code"] for error in message["payload"]] == [code]
    await socket.alive()


def test_a_cursor_too_old_is_told_so_and_nothing_is_sent(strict: Stack) -> None:
    with Client(strict) as ada:
        ada.appear()
        post = submit_post(ada, a_community(ada))
        positions = [ada.position]
        for number in range(21):
            comment(ada, post, str(number))
            positions.append(ada.position)

        async def scene() -> None:
            async with signed_in(strict) as socket:
                await socket.subscribe("old", COMMENTS, variables={"id": post, "after": positions[0]})
                await refused(socket, "CURSOR_TOO_OLD")
                await socket.subscribe("young", COMMENTS, variables={"id": post, "after": positions[1]})
                bodies = [(await socket.next("young"))["commentAdded"]["comment"]["body"] for _ in range(20)]
                assert bodies == [str(number) for number in range(1, 21)]

        asyncio.run(scene())


def test_ids_of_another_type_and_of_nothing_are_refused(stack: Stack, somebody: Somebody) -> None:
    ada = somebody()
    community = a_community(ada)
    post = submit_post(ada, community)
    gone = submit_post(ada, community)
    ada.do("deletePost", postId=gone, kind_of_input="PostInput")

    async def scene() -> None:
        async with signed_in(stack) as socket:
            for query, of, code in (
                (SCORE, community, "ID_OF_ANOTHER_TYPE"),
                (COMMENTS, community, "ID_OF_ANOTHER_TYPE"),
                (POSTS, post, "ID_OF_ANOTHER_TYPE"),
                (SCORE, "nonsense", "INVALID_ID"),
                (SCORE, gone, "NOT_FOUND"),
                (COMMENTS, gone, "NOT_FOUND"),
            ):
                await socket.subscribe("x", query, variables={"id": of}, extensions={"position": ada.position})
                await refused(socket, code)
            await socket.subscribe("x", REPLIES)
            await refused(socket, "UNAUTHENTICATED")

    asyncio.run(scene())


def test_a_private_community_is_for_its_members_as_long_as_they_are(stack: Stack, somebody: Somebody) -> None:
    ada, ben, eve = somebody(), somebody(), somebody()
    community = a_community(ada, visibility="PRIVATE")
    post = submit_post(ada, community)
    for who in (ben,):
        ada.do("inviteMember", communityId=community, accountId=who.id, kind_of_input="MemberInput")
        who.do("joinCommunity", communityId=community, kind_of_input="CommunityInput")
    ada.do("inviteMember", communityId=community, accountId=eve.id, kind_of_input="MemberInput")
    cases = ((SCORE, post), (COMMENTS, post), (POSTS, community))

    async def scene() -> None:
        async with signed_in(stack, ben) as member, signed_in(stack, eve) as invited, signed_in(stack) as visitor:
            for query, of in cases:
                for outside in (invited, visitor):
                    await outside.subscribe(
                        "x", query, variables={"id": of, "after": ada.position}, extensions={"position": ada.position}
                    )
                    await refused(outside, "NOT_FOUND")
                await member.subscribe(
                    query, query, variables={"id": of, "after": ada.position}, extensions={"position": ben.position}
                )
            await told(comment, ada, post, "for members")
            assert (await member.next(COMMENTS))["commentAdded"]["comment"]["body"] == "for members"
            await told(ben.do, "leaveCommunity", communityId=community, kind_of_input="CommunityInput")
            await told(comment, ada, post, "after he left")
            await told(vote, ada, post)
            await told(submit_post, ada, community)
            ended = [await member.receive() for _ in cases]
            assert {message["id"] for message in ended} == {query for query, _ in cases}
            for message in ended:
                assert message["type"] == "error", message
                assert message["payload"][0]["extensions"]["code"] == "NOT_FOUND"
            await member.alive()

    asyncio.run(scene())


def test_a_community_that_turns_private_ends_what_visitors_follow(stack: Stack, somebody: Somebody) -> None:
    ada = somebody()
    community = a_community(ada)
    post = submit_post(ada, community)

    async def scene() -> None:
        async with signed_in(stack) as visitor, signed_in(stack, ada) as member:
            for socket in (visitor, member):
                await socket.subscribe("s", SCORE, variables={"id": post})
                await socket.next("s")
            await told(ada.do, "editCommunity", communityId=community, visibility="PRIVATE")
            await told(vote, ada, post)
            await refused(visitor, "NOT_FOUND")
            assert (await member.next("s"))["scoreChanged"]["score"] == {"up": 1, "down": 0}

    asyncio.run(scene())


def test_nobody_is_told_what_people_do_whom_he_blocks(stack: Stack, somebody: Somebody) -> None:
    ada, ben, eve = somebody(), somebody(), somebody()
    community = a_community(ben)
    post = submit_post(ben, community)
    ada.position = ben.position
    hers_to_answer = comment(ada, post, "hers")
    ada.do("blockAccount", accountId=eve.id, kind_of_input="AccountInput")
    after = ada.position

    async def scene() -> None:
        async with signed_in(stack, ada) as hers, signed_in(stack, ben) as his:
            for socket in (hers, his):
                await socket.subscribe("c", COMMENTS, variables={"id": post, "after": after})
                await socket.subscribe("p", POSTS, variables={"id": community, "after": after})
            await hers.subscribe("n", REPLIES, variables={"after": after})
            await told(comment, eve, post, "unheard")
            await told(submit_post, eve, community, title="unseen")
            assert (await his.next("c"))["commentAdded"]["comment"]["body"] == "unheard"
            assert (await his.next("p"))["postAdded"]["post"]["title"] == "unseen"
            await told(comment, ben, post, "heard", parentId=hers_to_answer)
            got = {
                message["id"]: message["payload"]["data"] for message in [await hers.receive(), await hers.receive()]
            }
            assert got["c"]["commentAdded"]["comment"]["body"] == "heard"
            assert got["n"]["notificationAdded"]["notification"]["actor"] == {"name": ben.name}
            await hers.alive()
            async with signed_in(stack, ada) as again:  # what was missed is told with the same discretion
                await again.subscribe("c", COMMENTS, variables={"id": post, "after": after})
                assert (await again.next("c"))["commentAdded"]["comment"]["body"] == "heard"

    asyncio.run(scene())


def test_who_posts_anonymously_is_named_to_moderators_alone(stack: Stack, somebody: Somebody) -> None:
    """Not even that somebody blocks him gives him away."""
    ada, ben, eve = somebody(), somebody(), somebody()
    community = a_community(ada, anonymousAllowed=True)
    after = ada.position
    eve.do("blockAccount", accountId=ben.id, kind_of_input="AccountInput")

    async def scene() -> None:
        async with (
            signed_in(stack, ada) as moderator,
            signed_in(stack, eve) as other,
            signed_in(stack) as visitor,
        ):
            sockets = (other, visitor, moderator)
            for socket in sockets:
                await socket.subscribe("p", POSTS, variables={"id": community, "after": after})
            await told(submit_post, ben, community, anonymous=True)
            authors = [(await socket.next("p"))["postAdded"]["post"]["author"] for socket in sockets]
            assert authors == [None, None, {"name": ben.name}]

    asyncio.run(scene())


def test_what_depends_on_the_viewer_is_not_shared(stack: Stack, somebody: Somebody) -> None:
    ada, ben = somebody(), somebody()
    post = submit_post(ada, a_community(ada))
    query = "subscription($id: ID!) { scoreChanged(targetId: $id) { cursor target { ... on Post { myVote title } } } }"

    async def scene() -> None:
        async with signed_in(stack, ada) as hers, signed_in(stack, ben) as his, signed_in(stack) as visitor:
            for socket in (hers, his, visitor):
                await socket.subscribe("s", query, variables={"id": post})
                assert (await socket.next("s"))["scoreChanged"]["target"] == {"myVote": "NONE", "title": "A title"}
            await told(vote, ben, post, "DOWN")
            votes = [(await socket.next("s"))["scoreChanged"]["target"]["myVote"] for socket in (hers, his, visitor)]
            assert votes == ["NONE", "DOWN", "NONE"]

    asyncio.run(scene())


def test_one_execution_serves_all_who_ask_for_the_same(stack: Stack, somebody: Somebody) -> None:
    """Whoever they are, and whatever cursor each came with."""
    people = [somebody() for _ in range(5)]
    community = a_community(people[0])
    post = submit_post(people[0], community)
    cursors = []
    for who in people:
        vote(who, post, "DOWN")
        cursors.append(who.position)
    renderer = operations_of(stack).renderer

    async def scene(sockets: list[Socket]) -> None:
        for number, (query, of) in enumerate(((SCORE, post), (COMMENTS, post), (POSTS, community)), 1):
            for socket, after in zip(sockets, [*cursors, None], strict=True):
                variables = {"id": of, "after": cursors[-1] if query == SCORE else after or cursors[-1]}
                await socket.subscribe(query, query, variables=variables, extensions={"position": cursors[-1]})
            await followers(stack, number * len(sockets))
            before = renderer.executions
            if query == SCORE:
                await told(vote, people[0], post)
            elif query == COMMENTS:
                await told(comment, people[0], post)
            else:
                await told(submit_post, people[0], community)
            for socket in sockets:
                await socket.next(query)
            assert renderer.executions - before == 1, query

    async def run() -> None:
        async with AsyncExitStack() as opened:
            await scene([await opened.enter_async_context(signed_in(stack, who)) for who in [*people, None]])

    asyncio.run(run())


def test_loaders_of_one_event_know_nothing_of_the_one_before(stack: Stack, somebody: Somebody) -> None:
    ada = somebody()
    post = submit_post(ada, a_community(ada))

    async def scene() -> None:
        async with signed_in(stack, ada) as socket:
            await socket.subscribe("c", COMMENTS, variables={"id": post, "after": ada.position})
            await told(comment, ada, post)
            assert (await socket.next("c"))["commentAdded"]["comment"]["author"] == {"name": ada.name}
            query = "query { viewer { account { displayName } } }"
            for name in ("One", "Two", "Three"):
                await told(ada.do, "changeDisplayName", displayName=name)
                await socket.subscribe("q", query, extensions={"position": ada.position})
                assert (await socket.next("q"))["viewer"]["account"] == {"displayName": name}
                assert await socket.receive() == {"id": "q", "type": "complete"}

    asyncio.run(scene())


def test_queries_and_mutations_run_over_the_socket_too(stack: Stack, somebody: Somebody) -> None:
    ada = somebody()
    post = submit_post(ada, a_community(ada))

    async def scene() -> None:
        async with signed_in(stack, ada) as socket:
            mutation = (
                "mutation($input: CastVoteInput!) { castVote(input: $input) { position errors { code } "
                "target { ... on Post { score { total } } } } }"
            )
            await socket.subscribe("m", mutation, variables={"input": {"targetId": post, "value": "UP"}})
            done = (await socket.next("m"))["castVote"]
            assert done["errors"] == []
            assert done["target"] == {"score": {"total": 1}}
            assert await socket.receive() == {"id": "m", "type": "complete"}
            query = "query($id: ID!) { node(id: $id) { ... on Post { myVote } } }"
            await socket.subscribe(
                "q", query, variables={"id": post}, extensions={"position": done["position"]}, operationName=None
            )
            assert (await socket.next("q"))["node"] == {"myVote": "UP"}
            assert await socket.receive() == {"id": "q", "type": "complete"}

    asyncio.run(scene())


def test_what_is_completed_says_nothing_more_but_a_mutation_under_way_is_done(stack: Stack, somebody: Somebody) -> None:
    ada = somebody()
    post = submit_post(ada, a_community(ada))
    mutation = "mutation($input: CastVoteInput!) { castVote(input: $input) { position } }"

    async def scene() -> None:
        async with signed_in(stack, ada) as socket:
            for number in range(20):
                value = "DOWN" if number % 2 else "UP"
                await socket.subscribe("m", mutation, variables={"input": {"targetId": post, "value": value}})
                for _ in range(number):  # so that some have begun
                    await asyncio.sleep(0)
                await socket.send({"type": "complete", "id": "m"})
            await socket.subscribe("last", mutation, variables={"input": {"targetId": post, "value": "NONE"}})
            position = (await socket.next("last"))["castVote"]["position"]
            assert await socket.receive() == {"id": "last", "type": "complete"}
            query = "query($id: ID!) { node(id: $id) { ... on Post { myVote } } }"
            await socket.subscribe("q", query, variables={"id": post}, extensions={"position": position})
            assert (await socket.next("q"))["node"]["myVote"] in {"UP", "DOWN", "NONE"}
            assert await socket.receive() == {"id": "q", "type": "complete"}
            await socket.alive()

    asyncio.run(scene())


def test_completing_a_subscription_ends_it_and_frees_its_topic(stack: Stack, somebody: Somebody) -> None:
    ada = somebody()
    post = submit_post(ada, a_community(ada))

    async def scene() -> None:
        async with signed_in(stack) as socket, signed_in(stack) as other:
            for each in (socket, other):
                await each.subscribe("s", SCORE, variables={"id": post})
                await each.next("s")
            await socket.send({"type": "complete", "id": "s"})
            await socket.alive()
            await told(vote, ada, post)
            await other.next("s")
            await socket.alive()
        await asyncio.to_thread(stack.run, idle(stack))

    asyncio.run(scene())


async def idle(stack: Stack) -> None:
    """Wait until nobody follows anything."""
    async with asyncio.timeout(10):
        signals, topics = stack.moot.signals, operations_of(stack).topics
        while len(topics) or {c for c in signals.channels if not c.startswith("moot:")}:  # noqa: ASYNC110
            await asyncio.sleep(0)
