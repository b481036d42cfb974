"""Clients of subscriptions who go from one API process to the next and on from their last cursor."""

from collections.abc import Callable
from itertools import cycle
from typing import Any

from read_api.cursors import open_position
from tests.api.stack import Client
from tests.live.socket import signed_in
from tests.stack.whole import Whole, at


class Follower:
    """Hears ``messages`` at one process, is cut off without a word, and goes on at another; first at ``begins``."""

    def __init__(
        self, whole: Whole, query: str, who: Client, given: dict[str, Any], *, messages: int = 1, begins: int = 0
    ) -> None:
        self._whole, self._query, self._who, self._given = whole, query, who, dict(given)
        self._ways = cycle([*whole.apis[begins:], *whole.apis[:begins]])
        self._messages = messages
        self.heard: list[Any] = []

    async def follow(self, last: Callable[[Any], bool]) -> None:
        """Until it has heard the last that there is to hear."""
        while not (self.heard and last(self.heard[-1])):
            async with signed_in(at(next(self._ways)), self._who) as socket:
                await socket.subscribe("f", self._query, variables=self._given)
                for _ in range(self._messages):
                    (event,) = (await socket.next("f")).values()
                    assert event["cursor"] != self._given["after"], "the last one once more"
                    self.heard.append(event)
                    self._given["after"] = event["cursor"]
                    if last(event):
                        break
                socket.raw.transport.abort()  # no closing handshake: what is under way is lost

    def places(self) -> list[int]:
        """The positions of what it heard."""
        return [open_position(self._whole.sealer, event["cursor"]) for event in self.heard]
