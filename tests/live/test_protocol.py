"""graphql-transport-ws, message by message, against a real server."""

import asyncio
import threading
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from read_api.live import connection
from tests.api.stack import Stack
from tests.live.forum import a_post
from tests.live.socket import SECONDS, Socket, opened, signed_in

TYPENAME = {"data": {"__typename": "Query"}}


def play(stack: Stack, scene: Any, **more: Any) -> None:
    async def run() -> None:
        async with opened(stack, **more) as socket:
            await scene(socket)

    asyncio.run(run())


def closes(stack: Stack, code: int, *messages: Any, reason: str = "") -> None:
    async def scene(socket: Socket) -> None:
        for message in messages:
            await socket.send(message)
        found, why = await socket.closed()
        assert found == code, why
        assert reason in why

    play(stack, scene)


INIT = {"type": "connection_init"}


@pytest.mark.parametrize("payload", [{}, {"payload": None}, {"payload": {}}, {"payload": {"anything": [1, None]}}])
def test_connection_init_with_null_absent_or_any_object_is_acknowledged(stack: Stack, payload: dict[str, Any]) -> None:
    async def scene(socket: Socket) -> None:
        await socket.send({**INIT, **payload})
        assert await socket.receive() == {"type": "connection_ack"}
        await socket.alive()

    play(stack, scene)


@pytest.mark.parametrize("payload", [[], "text", 1, True])
def test_connection_init_with_anything_else_is_a_bad_request(stack: Stack, payload: Any) -> None:
    closes(stack, 4400, {**INIT, "payload": payload})


def test_a_second_connection_init_closes(stack: Stack) -> None:
    closes(stack, 4429, INIT, INIT, reason="Too many initialisation requests")


def test_without_connection_init_the_socket_is_closed_in_time(strict: Stack) -> None:
    closes(strict, 4408, reason="Connection initialisation timeout")


def test_pings_do_not_stand_in_for_connection_init(strict: Stack) -> None:
    closes(strict, 4408, {"type": "ping"}, {"type": "pong"})


def test_an_operation_before_the_acknowledgement_closes(stack: Stack) -> None:
    closes(stack, 4401, {"id": "1", "type": "subscribe", "payload": {"query": "{ __typename }"}}, reason="Unauthorized")


def test_so_does_one_that_comes_before_it_is_known_who_asks(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the reference implementation, which takes each message as it comes."""
    asked = threading.Event()

    async def authenticated(_moot: object, _token: str) -> None:
        asked.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(connection, "authenticated", authenticated)

    async def scene(socket: Socket) -> None:
        await socket.send(INIT)
        assert await asyncio.to_thread(asked.wait, SECONDS)
        await socket.alive()  # it is read on meanwhile
        await socket.send({"id": "1", "type": "subscribe", "payload": {"query": "{ __typename }"}})
        assert await socket.closed() == (4401, "Unauthorized")

    play(stack, scene)


def test_a_fault_while_it_is_found_out_who_asks_closes(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def authenticated(_moot: object, _token: str) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(connection, "authenticated", authenticated)
    closes(stack, 4500, INIT, reason="Internal error")


@pytest.mark.parametrize(
    "text",
    ["", "{", "no json", "null", "1", '"connection_init"', "[]", '[{"type":"connection_init"}]', "[" * 100_000, "NaN"],
)
def test_json_that_is_no_object_closes_that_socket_and_nothing_else(stack: Stack, text: str) -> None:
    closes(stack, 4400, text)
    closes(stack, 4400, INIT, text)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"payload": {}},
        {"type": None},
        {"type": 1},
        {"type": ["ping"]},
        {"type": "start", "id": "1", "payload": {"query": "{ __typename }"}},
        {"type": "connection_ack"},
        {"type": "next", "id": "1", "payload": {}},
        {"type": "error", "id": "1", "payload": []},
        {"type": "PING"},
        {"type": "ping", "payload": []},
        {"type": "pong", "payload": "text"},
    ],
)
def test_messages_that_the_protocol_does_not_know_close(stack: Stack, message: Any) -> None:
    closes(stack, 4400, INIT, message)


@pytest.mark.parametrize(
    "id_", [{}, {"id": ""}, {"id": None}, {"id": 1}, {"id": ["1"]}, {"id": {}}, {"id": "x" * 1025}]
)
def test_ids_are_texts_that_are_not_empty(stack: Stack, id_: dict[str, Any]) -> None:
    closes(stack, 4400, INIT, {"type": "subscribe", "payload": {"query": "{ __typename }"}, **id_})


@pytest.mark.parametrize("id_", [{}, {"id": ""}, {"id": None}, {"id": 1}])
def test_so_are_those_to_be_completed(stack: Stack, id_: dict[str, Any]) -> None:
    closes(stack, 4400, INIT, {"type": "complete", **id_})


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"payload": None},
        {"payload": []},
        {"payload": "{ __typename }"},
        {"payload": {}},
        {"payload": {"query": None}},
        {"payload": {"query": 1}},
        {"payload": {"query": "{ __typename }", "variables": []}},
        {"payload": {"query": "{ __typename }", "variables": "x"}},
        {"payload": {"query": "{ __typename }", "variables": 1}},
        {"payload": {"query": "{ __typename }", "operationName": 1}},
        {"payload": {"query": "{ __typename }", "operationName": {}}},
        {"payload": {"query": "{ __typename }", "extensions": []}},
        {"payload": {"query": "{ __typename }", "extensions": "x"}},
    ],
)
def test_payloads_of_subscribe_are_what_they_should_be(stack: Stack, payload: dict[str, Any]) -> None:
    closes(stack, 4400, INIT, {"id": "1", "type": "subscribe", **payload})


@pytest.mark.parametrize(
    "more",
    [{}, {"variables": None}, {"variables": {}}, {"operationName": None}, {"extensions": None}, {"extensions": {}}],
)
def test_what_may_be_left_out_may_be_null(stack: Stack, more: dict[str, Any]) -> None:
    async def scene(socket: Socket) -> None:
        await socket.init()
        await socket.subscribe("1", "{ __typename }", **more)
        assert await socket.receive() == {"id": "1", "type": "next", "payload": TYPENAME}
        assert await socket.receive() == {"id": "1", "type": "complete"}

    play(stack, scene)


def test_binary_frames_close(stack: Stack) -> None:
    closes(stack, 4400, b'{"type":"connection_init"}')


def test_text_that_is_no_utf_8_closes(stack: Stack) -> None:
    async def scene(socket: Socket) -> None:
        await socket.init()
        await socket.raw.send(b"\xff\xfe", text=True)
        assert (await socket.closed())[0] == 1007

    play(stack, scene)


def test_a_message_that_is_too_big_closes(strict: Stack) -> None:
    closes(strict, 1009, INIT, {"type": "ping", "payload": {"x": "y" * 2048}}, reason="2048")
    closes(strict, 1009, INIT, {"type": "ping", "payload": {"x": "é" * 1200}})


def test_reasons_fit_their_frame_and_are_cut_between_characters(stack: Stack) -> None:
    async def scene() -> None:
        post = await asyncio.to_thread(a_post, stack)
        query = f'subscription {{ scoreChanged(targetId: "{post}") {{ cursor }} }}'
        async with signed_in(stack) as socket:
            await socket.subscribe("é" * 500, query)
            await socket.next("é" * 500)
            await socket.subscribe("é" * 500, query)
            code, reason = await socket.closed()
            assert code == 4409
            assert reason.startswith("Subscriber for ééé")
            assert len(reason.encode()) in {122, 123}

    asyncio.run(scene())


def test_a_ping_is_answered_with_its_payload_and_a_pong_with_nothing(stack: Stack) -> None:
    async def scene(socket: Socket) -> None:
        for ready in (False, True):
            if ready:
                await socket.init()
            await socket.send({"type": "ping"})
            assert await socket.receive() == {"type": "pong"}
            payload = {"a": [1, {"b": None}], "big": 2**80, "text": "é\u2028"}
            await socket.send({"type": "ping", "payload": payload})
            assert await socket.receive() == {"type": "pong", "payload": payload}
            await socket.send({"type": "ping", "payload": None})
            assert (await socket.receive())["type"] == "pong"
            await socket.send({"type": "pong"})
            await socket.send({"type": "pong", "payload": {"unasked": True}})
            await socket.alive()

    play(stack, scene)


def test_the_server_pings_and_keeps_who_answers(strict: Stack) -> None:
    async def scene(socket: Socket) -> None:
        await socket.init()
        for _ in range(3):
            assert await socket.receive(pings=True) == {"type": "ping"}
            await socket.send({"type": "pong"})
        await socket.alive()

    play(strict, scene)


def test_who_does_not_answer_a_ping_is_closed(strict: Stack) -> None:
    async def scene(socket: Socket) -> None:
        await socket.init()
        assert await socket.receive(pings=True) == {"type": "ping"}
        assert (await socket.closed())[0] == 4291

    play(strict, scene)


@pytest.mark.parametrize("protocols", [("graphql-ws",), (), ("graphql-ws", "soap")])
def test_the_legacy_protocol_and_no_protocol_are_refused(stack: Stack, protocols: tuple[str, ...]) -> None:
    async def scene(socket: Socket) -> None:
        assert socket.raw.subprotocol is None
        assert await socket.closed() == (4406, "Subprotocol not acceptable")

    play(stack, scene, protocols=protocols)


def test_ours_is_chosen_from_several(stack: Stack) -> None:
    async def scene(socket: Socket) -> None:
        assert socket.raw.subprotocol == "graphql-transport-ws"
        await socket.init()

    play(stack, scene, protocols=("graphql-ws", "graphql-transport-ws"))


def test_pages_of_other_sites_are_turned_away_at_the_handshake(strict: Stack) -> None:
    async def fine(socket: Socket) -> None:
        await socket.init()

    for origin in ("https://forum.example", strict.url):
        play(strict, fine, origin=origin)
    for origin in (
        "https://evil.example",
        "null",
        "https://forum.example.evil.example",
        "http://forum.example",
        "http://[",
    ):
        with pytest.raises(InvalidStatus, match="403"):
            play(strict, fine, origin=origin)


def test_errors_of_one_operation_leave_the_socket_and_the_others_alone(stack: Stack) -> None:
    """Syntax errors, unknown fields, unknown operations, variables of a wrong type, too much of everything."""

    async def scene(socket: Socket) -> None:
        await socket.init()
        bad = [
            ("{", {}),
            ("", {}),
            ("{ nope }", {}),
            ("query A { __typename } query B { __typename }", {}),
            ("query A { __typename }", {"operationName": "B"}),
            ("fragment F on Query { __typename }", {}),
            ("query($id: ID!) { node(id: $id) { id } }", {"variables": {"id": {"no": "id"}}}),
            ("query($id: ID!) { node(id: $id) { id } }", {}),
            ("{" + " ".join(f"a{n}: __typename" for n in range(200)) + "}", {}),
            ("subscription { nope }", {}),
            ("subscription { notificationAdded { cursor } }", {}),
            ('subscription { scoreChanged(targetId: "nonsense") { cursor } }', {}),
            ("subscription($id: ID!) { scoreChanged(targetId: $id) { cursor } }", {}),
            ("subscription { __typename }", {}),
            ("{ __typename }", {"extensions": {"position": 1}}),
            ("{ __typename }", {"extensions": {"position": "forged"}}),
        ]
        for number, (query, more) in enumerate(bad):
            await socket.subscribe(str(number), query, **more)
            message = await socket.receive()
            assert (message["type"], message["id"]) == ("error", str(number)), (query, message)
            assert message["payload"], query
            for error in message["payload"]:
                assert error["message"]
                assert error["extensions"]["code"] != "INTERNAL", (query, error)
                assert error["extensions"]["requestId"]
        await socket.subscribe("fine", "{ __typename }")
        assert await socket.receive() == {"id": "fine", "type": "next", "payload": TYPENAME}
        assert await socket.receive() == {"id": "fine", "type": "complete"}
        await socket.alive()

    play(stack, scene)


def test_an_id_is_free_again_once_its_operation_is_over(stack: Stack) -> None:
    async def scene(socket: Socket) -> None:
        await socket.init()
        for query in ("{ __typename }", "{", "{ __typename }"):
            await socket.subscribe("same", query)
            first = await socket.receive()
            assert first["type"] == ("error" if query == "{" else "next")
            if query != "{":
                assert await socket.receive() == {"id": "same", "type": "complete"}

    play(stack, scene)


def test_completing_what_is_unknown_or_over_is_ignored(stack: Stack) -> None:
    async def scene(socket: Socket) -> None:
        await socket.send({"type": "complete", "id": "never"})
        await socket.init()
        await socket.subscribe("1", "{ __typename }")
        assert (await socket.receive())["type"] == "next"
        assert (await socket.receive())["type"] == "complete"
        await socket.send({"type": "complete", "id": "1"})
        await socket.send({"type": "complete", "id": "1"})
        await socket.alive()

    play(stack, scene)


def test_completing_at_once_is_no_race(stack: Stack) -> None:
    """Whatever wins, at most one result comes, nothing after the end, and the id can be used again."""

    async def scene(socket: Socket) -> None:
        await socket.init()
        for _ in range(30):
            await socket.subscribe("x", "{ __schema { types { name } } }")
            await socket.send({"type": "complete", "id": "x"})
            await socket.subscribe("x", "{ __typename }")
            results = []
            while True:
                message = await socket.receive()
                assert message["id"] == "x"
                if message["type"] == "complete" and results and results[-1] == TYPENAME:
                    break
                if message["type"] == "next":
                    results.append(message["payload"])
            assert len(results) <= 2
        await socket.alive()

    play(stack, scene)


def test_more_operations_than_allowed_are_refused_one_by_one(strict: Stack) -> None:
    async def scene() -> None:
        async with signed_in(strict) as socket:
            post = await asyncio.to_thread(a_post, strict)
            query = f'subscription {{ commentAdded(postId: "{post}") {{ cursor }} }}'
            for number in range(3):
                await socket.subscribe(str(number), query)
            await socket.subscribe("one more", query)
            refused = await socket.receive()
            assert (refused["id"], refused["type"]) == ("one more", "error")
            assert refused["payload"][0]["extensions"]["code"] == "TOO_MANY_REQUESTS"
            await socket.send({"type": "complete", "id": "1"})
            await socket.subscribe("now", "{ __typename }")
            assert (await socket.receive())["payload"] == TYPENAME

    asyncio.run(scene())


def test_a_duplicate_id_closes(stack: Stack) -> None:
    async def scene() -> None:
        post = await asyncio.to_thread(a_post, stack)
        query = f'subscription {{ scoreChanged(targetId: "{post}") {{ cursor }} }}'
        async with signed_in(stack) as socket:
            await socket.subscribe("same", query)
            await socket.next("same")
            await socket.subscribe("other", query)
            await socket.next("other")
            await socket.subscribe("same", "{ __typename }")
            assert await socket.closed() == (4409, "Subscriber for same already exists")

    asyncio.run(scene())
