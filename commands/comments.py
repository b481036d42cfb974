"""Comments: submitting, editing, deleting."""

from commands import standing
from commands.use_case import Act, Decision, Streams, UseCases
from domain import comment, post
from domain.comment import DeleteComment, EditComment, SubmitComment, Thread
from domain.event import Id
from domain.relation import NO_BLOCKS

cases = UseCases()


def _new(_command: SubmitComment, act: Act) -> Id:
    return act.new_id("comment")


@cases.on(SubmitComment, stream=_new, reads=lambda c, _: (c.post_id, c.parent_id))
async def _(command: SubmitComment, act: Act, streams: Streams) -> Decision:
    thread = Thread(streams.state(post, command.post_id), streams.state(comment, command.parent_id), NO_BLOCKS)
    community_id = thread.post.community_id if thread.post else None
    other_id = thread.replied_to_id
    await streams.fetch(
        *standing.access_streams(community_id, act.actor_id), standing.relation_stream(act.actor_id, other_id)
    )
    events = comment.decide_submit(
        command,
        Thread(thread.post, thread.parent, standing.blocks(streams, act.actor_id, other_id)),
        comment_id=_new(command, act),
        author_id=act.actor_id,
        at=act.at,
        access=standing.access(streams, community_id, act.actor_id),
        limits=act.limits,
    )
    return Decision(events)


def _comment(command: EditComment | DeleteComment, _act: Act) -> Id:
    return command.comment_id


@cases.on(EditComment, DeleteComment, stream=_comment)
async def _(command: EditComment | DeleteComment, act: Act, streams: Streams) -> Decision:
    state = streams.state(comment, command.comment_id)
    community_id = state.community_id if state else None
    await streams.fetch(*standing.access_streams(community_id, act.actor_id))
    access = standing.access(streams, community_id, act.actor_id)
    return Decision(comment.decide_own(command, state, actor_id=act.actor_id, access=access, limits=act.limits))
