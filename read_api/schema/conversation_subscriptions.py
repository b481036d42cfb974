"""The viewer's conversations, as they change."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence

import strawberry

from domain.event import Id
from read_api.ids import Kind, global_id
from read_api.live.conversations import ConversationsScene, conversation_limits
from read_api.live.following import NOW
from read_api.live.streams import Stream, watching
from read_api.schema.common import Info
from read_api.schema.conversations import Conversation


@strawberry.type(description="Your conversations, or what has changed of them.")
class ConversationsChanged:
    """The viewer's conversations, or what has changed of them."""

    ids: strawberry.Private[Sequence[Id]]
    gone: strawberry.Private[Sequence[Id]]
    begins: bool = strawberry.field(
        description="Whether you are told anew: forget what you knew. Many conversations come in several messages, of "
        "which the first begins; you are in no other."
    )

    @strawberry.field(
        description="Those that you came to, or of which you see something else now, what is `unread` included: each "
        "as it is by then."
    )
    async def conversations(self, info: Info) -> list[Conversation]:
        """Those that are new or changed."""
        found = await info.context.loaders.conversations.load_many(self.ids)
        return [conversation for conversation in found if conversation is not None]

    @strawberry.field(description="The ids of those that you are not in any more.")
    def gone_ids(self) -> list[strawberry.ID]:
        """Those that the viewer is not in any more."""
        return [strawberry.ID(global_id(Kind.CONVERSATION, one)) for one in self.gone]


@strawberry.type(description="Your conversations, as they change.")
class ConversationSubscriptions:
    """The viewer's conversations, as they change."""

    @strawberry.subscription(
        description="The conversations that you are in, the last joined first (of very many, not the oldest): first "
        "all, then each that is other than it was, because somebody wrote, edited or deleted, you moved a marker on "
        "any device, people came or went, it has another name or owner, or there is a block or one less. You are told, "
        "too, when you came to one, or are in it no more. There is no cursor: after a lost connection you are told all "
        "anew."
    )
    async def conversations_changed(self, info: Info) -> AsyncIterable[ConversationsChanged]:
        """The viewer's conversations."""
        context = watching(info.context)
        scene = ConversationsScene(
            context.require_viewer(), conversation_limits(context.moot.settings), _conversations_changed
        )
        stream: Stream[ConversationsChanged] = Stream(context.topics, scene, context.viewer_id, NOW)
        return stream


def _conversations_changed(begins: bool, ids: Sequence[Id], gone: Sequence[Id]) -> ConversationsChanged:
    return ConversationsChanged(begins=begins, ids=ids, gone=gone)
