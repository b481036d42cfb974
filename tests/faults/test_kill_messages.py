"""SIGKILL of the embedded process while people write: each message is there once, under its nonce, in every list."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect

from tests.serving import Person, Up, moot

WRITERS, WRITES_BEFORE_KILL = 3, 40
SECONDS = 30.0
PACED = {"MOOT_MESSAGES_SECONDS_EACH": "0.001", "MOOT_MESSAGES_BURST": "1000"}

SERVER = "mutation ($i: CreateServerInput!) { r: createServer(input: $i) { server { id } errors { code } } }"
CHANNEL = "mutation ($i: CreateChannelInput!) { r: createChannel(input: $i) { channel { id } errors { code } } }"
SEND = """mutation ($i: SendMessageInput!) { r: sendMessage(input: $i) {
  message { id } position errors { code } } }"""
FOLLOW = """subscription ($id: ID!, $after: String) { messageChanged(channelId: $id, after: $after) {
  cursor message { id body } } }"""


class Writers:
    """Write as fast as answers come, until the server is gone. ``ids`` are those of the messages, by nonce."""

    def __init__(self, person: Person, channel: str) -> None:
        self.ids: dict[str, str] = {}
        self.unanswered: list[str] = []
        self.enough = threading.Event()
        self._person, self._channel = person, channel
        self._lock = threading.Lock()

    def send(self, up: Up, nonce: str, client: httpx.Client | None = None) -> dict[str, Any]:
        form = {"channelId": self._channel, "body": nonce, "nonce": nonce}
        return self._person.ask(up, SEND, form, client)

    def write(self, up: Up, writer: int) -> None:
        with httpx.Client() as client:
            for number in range(100_000):
                nonce = f"{writer} {number}"
                try:
                    answer = self.send(up, nonce, client)
                except (httpx.TransportError, AssertionError):  # cut off: it may have happened or not
                    self.unanswered.append(nonce)
                    return
                with self._lock:
                    self.ids[nonce] = answer["message"]["id"] if answer["message"] else ""
                    if len(self.ids) >= WRITES_BEFORE_KILL:
                        self.enough.set()


async def followed(up: Up, person: Person, channel: str, after: str, number: int) -> list[tuple[str, str]]:
    """The first messages after that cursor, over two sockets: the second goes on where the first was dropped."""
    found: list[tuple[str, str]] = []
    for wanted in (number // 2, number):
        url = up.place["graphql"].replace("http", "ws", 1)
        async with asyncio.timeout(SECONDS), connect(url, subprotocols=["graphql-transport-ws"], proxy=None) as socket:  # type: ignore[list-item]
            begin = {"type": "connection_init", "payload": {"authorization": f"Bearer {person.token}"}}
            await socket.send(json.dumps(begin))
            payload = {"query": FOLLOW, "variables": {"id": channel, "after": after}}
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            while len(found) < wanted:
                message = json.loads(await socket.recv())
                assert message["type"] == "next", message
                event = message["payload"]["data"]["messageChanged"]
                after = event["cursor"]
                found.append((event["message"]["id"], event["message"]["body"]))
    return found


def test_messages_are_there_once_after_sigkill(tmp_path: Path) -> None:
    up = Up(tmp_path, **PACED)
    person = Person(up, "ada")
    server = person.ask(up, SERVER, {"name": "Den"})["server"]["id"]
    channel = person.ask(up, CHANNEL, {"serverId": server, "name": "general"})["channel"]["id"]
    writers = Writers(person, channel)
    begun = writers.send(up, "first")["position"]
    threads = [threading.Thread(target=writers.write, args=(up, number), daemon=True) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    assert writers.enough.wait(60), "the writers did not get going"
    up.kill()
    for thread in threads:
        thread.join(30)
    with Up(tmp_path, **PACED) as up:
        # All of them are sent again with their nonces: each is the message that it was, if it was one.
        for nonce in [*writers.unanswered, *writers.ids]:
            again = writers.send(up, nonce)["message"]["id"]
            assert again == (writers.ids.get(nonce) or again)
            writers.ids[nonce] = again
        said = moot("events", "tail", "-n", "1000000", "--output", "json", "--data-dir", str(tmp_path))
        events = [json.loads(line) for line in said.stdout.splitlines()]
        logged = [one["data"]["body"] for one in events if one["event"].startswith("message.sent")]
        assert sorted(logged) == sorted(["first", *writers.ids])
        found = asyncio.run(followed(up, person, channel, begun, len(writers.ids)))
    assert [body for _, body in found] == logged[1:]
    assert {body: identity for identity, body in found} == writers.ids
