"""All projections by name, in the order in which a runner that commits one at a time must commit them.

``score_changes`` comes before ``feed`` and ``scores``: paging takes a score back to an earlier position by
subtracting its later changes, so these must never be behind the scores. So does ``member_changes`` before
``communities``. And ``channel_overrides`` before ``channels``: who may not see a new one is known before it is shown.
"""

from projections.blocks import blocks
from projections.channel_activity import channel_activity
from projections.channel_messages import channel_messages
from projections.channel_overrides import channel_overrides
from projections.channels import channels
from projections.comments import comments
from projections.communities import communities
from projections.conversation_members import conversation_members
from projections.conversations import conversations
from projections.core import Projection
from projections.feed import feed
from projections.follows import follows
from projections.invites import invites
from projections.karma import karma
from projections.member_changes import member_changes
from projections.memberships import memberships
from projections.message_counts import message_counts
from projections.message_mentions import message_mentions
from projections.messages import messages
from projections.notifications import notifications
from projections.posts import posts
from projections.profiles import profiles
from projections.reaction_counts import reaction_counts
from projections.reactions import reactions
from projections.read_markers import read_markers
from projections.saved import saved
from projections.score_changes import score_changes
from projections.scores import scores
from projections.server_bans import server_bans
from projections.server_members import server_members
from projections.server_roles import server_roles
from projections.servers import servers
from projections.subjects import subjects
from projections.votes import votes

ALL: dict[str, Projection] = {
    projection.name: projection
    for projection in (
        profiles,
        member_changes,
        communities,
        memberships,
        follows,
        blocks,
        saved,
        votes,
        score_changes,
        scores,
        karma,
        posts,
        feed,
        comments,
        notifications,
        servers,
        server_roles,
        server_members,
        server_bans,
        invites,
        channel_overrides,
        channels,
        conversations,
        conversation_members,
        messages,
        message_counts,
        message_mentions,
        channel_messages,
        channel_activity,
        reactions,
        reaction_counts,
        read_markers,
        subjects,
    )
}

GROUPS: dict[str, tuple[Projection, ...]] = {
    "people": (profiles, follows, blocks),
    "content": (member_changes, communities, memberships, comments, notifications, saved),
    "votes": (score_changes, scores, posts, feed, votes, karma),
    "servers": (
        servers,
        server_roles,
        server_members,
        server_bans,
        invites,
        channels,
        channel_overrides,
        conversations,
        conversation_members,
    ),
    "messages": (
        messages,
        message_counts,
        message_mentions,
        channel_messages,
        channel_activity,
        reactions,
        reaction_counts,
        read_markers,
    ),
    "subjects": (subjects,),
}
"""The projections by who keeps them in a fleet: each group reads the log once, by any number of workers of its own.

Views that read other topics are apart (``people``, ``servers``, ``messages``), and so is what most events are about,
and most work (``votes``), from what has least to do (``content``): a wave of votes delays no reply. ``subjects`` reads
everything, and nobody waits for it. ``score_changes``, ``scores``, ``posts`` and ``feed`` are local and of one group,
so they are in each partition at the same position: paging takes back from the ones what the other says, and shows what
the ones rank by the other. ``member_changes`` and ``communities`` are neither local nor apart, to the same end.
"""
