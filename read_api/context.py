"""What one operation knows: who asks, with which request, and the loaders that batch its look-ups.

A context lives as long as one operation and never longer: over a WebSocket every operation, and every event
of a subscription, has its own, so that nothing a loader remembers is ever stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from domain.event import Id
from read_api.errors import unauthenticated

if TYPE_CHECKING:
    from infra.composition import Moot
    from read_api.cursors import Sealer
    from read_api.loaders import Loaders


class Context:
    """One operation's.

    ``viewer_id`` is the signed-in account, ``None`` for a visitor, and ``session_id`` the session that the access
    token belongs to. ``address`` is the network address that the request came from and ``client`` its User-Agent.
    ``cookies`` came with the request; what is appended to ``set_cookies`` (whole ``Set-Cookie``
    values) leaves with the response, if it ``sets_cookies``: over HTTP alone. ``position`` is the position of the log
    that the client asked to have seen, if it did, and ``stale`` whether the views had not reached it in time.
    ``reading`` decides which server is read from.
    """

    __slots__ = (
        "_loaders",
        "address",
        "client",
        "cookies",
        "moot",
        "position",
        "reading",
        "request_id",
        "sealer",
        "session_id",
        "set_cookies",
        "sets_cookies",
        "stale",
        "viewer_id",
    )

    def __init__(
        self,
        moot: Moot,
        sealer: Sealer,
        *,
        request_id: str,
        viewer_id: Id | None = None,
        session_id: str | None = None,
        address: str = "",
        client: str = "",
        cookies: Mapping[str, str] | None = None,
        sets_cookies: bool = False,
        position: int | None = None,
    ) -> None:
        self.moot = moot
        self.sealer = sealer
        self.request_id = request_id
        self.viewer_id = viewer_id
        self.session_id = session_id
        self.address = address
        self.client = client
        self.cookies: Mapping[str, str] = cookies or {}
        self.set_cookies: list[str] = []
        self.sets_cookies = sets_cookies
        self.position = position
        self.stale = False
        self.reading = moot.reads.begin()
        self._loaders: Loaders | None = None

    @property
    def loaders(self) -> Loaders:
        """The batched look-ups of this operation, made when first used."""
        if self._loaders is None:
            from read_api.loaders import Loaders  # noqa: PLC0415 - loaders know contexts

            self._loaders = Loaders(self.reading, self.viewer_id, self.moot.messages, self.moot.presences)
        return self._loaders

    def forget(self) -> None:
        """Drop what the loaders remember: something may have changed since."""
        self._loaders = None

    def renewed(self) -> Context:
        """The same caller with empty loaders: for the next event of a subscription."""
        return Context(
            self.moot,
            self.sealer,
            request_id=self.request_id,
            viewer_id=self.viewer_id,
            session_id=self.session_id,
            address=self.address,
            client=self.client,
            cookies=self.cookies,
            sets_cookies=self.sets_cookies,
            position=self.position,
        )

    def require_viewer(self) -> Id:
        """The signed-in account. Raises ``ApiError`` with ``UNAUTHENTICATED`` for a visitor."""
        if self.viewer_id is None:
            raise unauthenticated()
        return self.viewer_id
