"""What is told as it happens: from where on, and until when."""

import asyncio

import pytest

from tests.api.stack import Client, Stack
from tests.live.forum import a_community, comment, submit_post, vote
from tests.live.socket import signed_in
from tests.live.watching import COMMENTS, POSTS, REPLIES, SCORE, Somebody, followers, idle, refused, told


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


def test_whoever_comes_later_gets_what_the_score_leads_to_as_it_is_now(stack: Stack, somebody: Somebody) -> None:
    ada, ben = somebody(), somebody()
    post = submit_post(ada, a_community(ada), body="as it was")
    query = (
        "subscription($id: ID!) { scoreChanged(targetId: $id) { score { up } target { ... on Post { body saved } } } }"
    )

    def now(up: int, body: str, saved: bool) -> dict[str, object]:
        return {"scoreChanged": {"score": {"up": up}, "target": {"body": body, "saved": saved}}}

    async def scene() -> None:
        async with signed_in(stack, ben) as socket:
            await socket.subscribe("a", query, variables={"id": post})
            assert await socket.next("a") == now(0, "as it was", False)
            await told(vote, ada, post)
            assert await socket.next("a") == now(1, "as it was", False)
            edited = await told(ada.do, "editPost", postId=post, body="as it is")
            assert not edited["errors"], edited
            saved = await told(ben.do, "saveItem", kind_of_input="TargetInput", targetId=post)
            assert not saved["errors"], saved
            extensions = {"position": ben.position}
            await socket.subscribe("b", query, variables={"id": post}, extensions=extensions)
            assert await socket.next("b") == now(1, "as it is", True)

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
