"""Posts: submitting, editing, deleting, and what moderators do with them."""

from commands import standing
from commands.use_case import Act, Decision, Streams, UseCases
from domain import post, stickies
from domain.event import Event, Id
from domain.ids import stickies_id
from domain.post import DeletePost, EditPost, LockPost, StickyPost, SubmitPost, UnlockPost, UnstickyPost

cases = UseCases()


def _new(_command: SubmitPost, act: Act) -> Id:
    return act.new_id("post")


@cases.on(SubmitPost, stream=_new, reads=lambda c, act: standing.access_streams(c.community_id, act.actor_id))
async def _(command: SubmitPost, act: Act, streams: Streams) -> Decision:
    events = post.decide_submit(
        command,
        post_id=_new(command, act),
        author_id=act.actor_id,
        access=standing.access(streams, command.community_id, act.actor_id),
        limits=act.limits,
    )
    return Decision(events)


Change = EditPost | DeletePost | LockPost | UnlockPost | StickyPost | UnstickyPost


def _post(command: Change, _act: Act) -> Id:
    return command.post_id


@cases.on(EditPost, DeletePost, LockPost, UnlockPost, StickyPost, UnstickyPost, stream=_post)
async def _(command: Change, act: Act, streams: Streams) -> Decision:
    state = streams.state(post, command.post_id)
    community_id = state.community_id if state else None
    await streams.fetch(*standing.access_streams(community_id, act.actor_id))
    access = standing.access(streams, community_id, act.actor_id)
    if isinstance(command, EditPost | DeletePost):
        events = post.decide_own(command, state, actor_id=act.actor_id, access=access, limits=act.limits)
    else:
        events = post.decide_moderation(command, state, actor_id=act.actor_id, access=access)
    if not events or state is None or not isinstance(command, StickyPost | UnstickyPost | DeletePost):
        return Decision(events)
    return Decision(events, others=await _listed(command, state, act, streams))


async def _listed(
    command: StickyPost | UnstickyPost | DeletePost, state: post.Post, act: Act, streams: Streams
) -> tuple[tuple[Id, tuple[Event, ...]], ...]:
    """What becomes of the list of sticky posts. Raises ``TOO_MANY_STICKIES``."""
    if isinstance(command, DeletePost) and not state.sticky:
        return ()
    list_id, about = stickies_id(state.community_id), {"community_id": state.community_id, "post_id": state.post_id}
    await streams.fetch(list_id)
    post_ids = streams.state(stickies, list_id)
    if isinstance(command, StickyPost):
        return ((list_id, stickies.listed(post_ids, **about, limits=act.limits)),)
    return ((list_id, stickies.delisted(post_ids, **about)),)
