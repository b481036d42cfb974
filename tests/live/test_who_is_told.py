"""What is told as it happens: to whom, and made how often."""

import asyncio
from contextlib import AsyncExitStack

from tests.api.stack import Stack
from tests.live.chat import Den, done
from tests.live.forum import a_community, comment, submit_post, vote
from tests.live.socket import Socket, signed_in
from tests.live.watching import COMMENTS, POSTS, REPLIES, SCORE, Somebody, followers, operations_of, refused, told


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
            seen = {"position": after}  # that of her block: without it she may be told before a view knows of it
            for socket in (hers, his):
                await socket.subscribe("c", COMMENTS, variables={"id": post, "after": after}, extensions=seen)
                await socket.subscribe("p", POSTS, variables={"id": community, "after": after}, extensions=seen)
            await hers.subscribe("n", REPLIES, variables={"after": after}, extensions=seen)
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


def test_what_is_true_of_several_is_made_once_for_them(stack: Stack, somebody: Somebody) -> None:
    """Who reacted, whom somebody blocks, whom a message mentions: all others see the same."""
    ada, ben, eve, kim, lee = people = [somebody() for _ in range(5)]
    den = Den(ada, *people[1:])
    query = """subscription($id: ID!) { messageChanged(channelId: $id) { message {
        body replyTo { body } mentionsViewer reactions { emoji viewerReacted } } } }"""
    renderer = operations_of(stack).renderer

    def say(body: str, **more: object) -> str:
        message: str = done(
            ada, "sendMessage", "SendMessageInput", "message { id }", channelId=den.channel, body=body, **more
        )["message"]["id"]
        return message

    async def scene(sockets: list[Socket]) -> None:
        kim.position = ada.position
        done(kim, "blockAccount", "AccountInput", accountId=eve.id)
        for socket in sockets:
            await socket.subscribe("m", query, variables={"id": den.channel}, extensions={"position": kim.position})
        await followers(stack, len(sockets))

        async def seen(executions: int) -> list[dict[str, object]]:
            told = [(await socket.next("m"))["messageChanged"]["message"] for socket in sockets]
            nonlocal before
            assert renderer.executions - before == executions
            before = renderer.executions
            return told

        fields = {"channelId": den.channel, "body": "hers"}
        hers = await told(done, eve, "sendMessage", "SendMessageInput", "message { id }", **fields)
        for socket in sockets[:3] + sockets[4:]:  # Kim hears nothing of it
            assert (await socket.next("m"))["messageChanged"]["message"]["body"] == "hers"
        before = renderer.executions
        ada.position = eve.position
        said = await told(say, "look", replyToId=hers["message"]["id"])
        assert [one["replyTo"] for one in await seen(2)] == [{"body": "hers"}] * 3 + [{"body": None}, {"body": "hers"}]
        await told(done, lee, "addReaction", "ReactionInput", messageId=said, emoji="👍")
        found = await seen(3)
        assert [one["reactions"] for one in found] == [[{"emoji": "👍", "viewerReacted": who is lee}] for who in people]
        assert found[3]["replyTo"] == {"body": None}
        await told(say, f"@{ben.name}")
        assert [one["mentionsViewer"] for one in await seen(2)] == [who is ben for who in people]
        await told(say, "@everyone")
        assert [one["mentionsViewer"] for one in await seen(1)] == [True] * 5

    async def run() -> None:
        async with AsyncExitStack() as opened:
            await scene([await opened.enter_async_context(signed_in(stack, who)) for who in people])

    asyncio.run(run())


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
