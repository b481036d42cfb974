"""Every limit of the rules, by name. The settings build one of these; the defaults are what a site starts with."""

from typing import Annotated, Final

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]

LEADING_POSTS_MAX: Final = 4
"""Sticky posts that lead a feed: more would push what is new off the first screen."""
EMOJI_TOLD_MAX: Final = 20
"""Emoji that are told of one message: more would be longer than what it says."""


class Limits(Struct, frozen=True):
    """Lengths are in characters (Unicode code points, after normalisation to NFC)."""

    account_name_length_min: Positive = 3
    """Shorter names would run out at once and are hard to search for."""
    account_name_length_max: Positive = 20
    """A name stands beside every post and comment, on the narrowest screen."""
    community_name_length_min: Positive = 3
    """Shorter names would run out at once."""
    community_name_length_max: Positive = 21
    """A name is part of addresses and stands beside every post in a mixed feed."""
    display_name_length_max: Positive = 50
    """Room for a full name in any script, on one line."""
    community_title_length_max: Positive = 100
    """One line on top of the community's page."""
    community_description_length_max: Positive = 5_000
    """A page of rules and links; it is sent with the community wherever that is shown in full."""
    post_title_length_max: Positive = 300
    """Titles are read in lists; three lines of one are enough."""
    post_body_length_max: Positive = 40_000
    """About twenty printed pages; longer texts belong behind a link."""
    comment_body_length_max: Positive = 10_000
    """A comment is one of hundreds that are sent together."""
    url_length_max: Positive = 2_000
    """What browsers, proxies and link checkers are known to take."""
    comment_depth_max: Annotated[int, Meta(ge=1, le=250)] = 100
    """Levels of comments below a post, 1 being directly below it. The path of a comment has ten bytes a level
    and is in an index of PostgreSQL, whose entries hold about 2,700 bytes."""
    moderators_max: Positive = 100
    """Moderators of one community; their list is one small stream."""
    stickies_max: Annotated[int, Meta(ge=1, le=LEADING_POSTS_MAX)] = LEADING_POSTS_MAX
    """Sticky posts of one community at a time: as many as lead its Hot feed, so that each of them does."""
    server_name_length_max: Positive = 100
    """One line on top of the server's channels."""
    server_description_length_max: Positive = 1_000
    """Shown with an invite, so that people know where it leads."""
    role_name_length_max: Positive = 50
    """One line in a list of roles and beside a member."""
    roles_max: Positive = 100
    """Roles of one server; they are one small stream, which is loaded with every decision there."""
    channel_name_length_max: Positive = 50
    """One line in a narrow list."""
    channel_topic_length_max: Positive = 1_000
    """Shown above the channel; longer rules belong into a message."""
    channels_max: Positive = 500
    """Channels of one server: more are found by nobody, and their order is one small stream."""
    overrides_max: Positive = 100
    """Roles and members for whom one channel says otherwise; they are loaded with every message sent there."""
    slow_mode_seconds_max: Positive = 21_600
    """Six hours between two messages of one person; what is slower is an announcement channel."""
    invite_uses_max: Positive = 100
    """Uses of an invite that counts them: each is an event of its stream. More need one without a limit."""
    message_body_length_max: Positive = 4_000
    """One of many on a screen; longer texts are posts."""
    mentions_max: Positive = 20
    """People and roles that one message mentions: each is looked up with it, and told."""
    reactions_max: Positive = 20
    """Different emoji with which one account reacts to one message."""
    emoji_max: Annotated[int, Meta(ge=1, le=EMOJI_TOLD_MAX)] = EMOJI_TOLD_MAX
    """Different emoji with which all together ever react to one message: as many as are told of it. One that somebody
    brought stays among them when it is taken back, and everybody may join in with those."""
    emoji_brought_max: Positive = 10
    """Of these, how many one account brings: a poll has as many answers, and nobody alone takes all places."""
    attachments_max: Positive = 10
    """Files that one message refers to; they are shown below it, all at once."""
    attachment_name_length_max: Positive = 255
    """The longest name of a file on common systems."""
    attachment_bytes_max: Positive = 1_000_000_000
    """What a message may say of a file's size; the file is elsewhere."""
    messages_burst: Positive = 30
    """Messages that one account may write at once, in all channels together; as many edits, reactions, and moves of
    read markers."""
    messages_seconds_each: Annotated[float, Meta(gt=0)] = 0.5
    """After those, one more each so many seconds: faster than people write, slower than a flood."""
    reason_length_max: Positive = 500
    """Why somebody was kicked or banned: a few sentences for the other moderators."""
    group_members_max: Annotated[int, Meta(ge=2, le=50)] = 50
    """People in one group, who are listed whole wherever it is shown and loaded with every message sent there."""
    group_name_length_max: Positive = 100
    """One line on top of what is said in the group."""
    changes_max: Positive = 500
    """Events that one account records in one stream, after which only what ends something is taken from it there.
    Whoever votes on a post loads its stream, so its author must not be able to make it long. Nor must he be able to
    take it from the moderators: what others changed does not count. Groups are held to this
    too, as everybody who is in one may change it."""
    structure_changes_max: Positive = 5_000
    """The same for what many people build over years: a chat server, its roles, the order of its channels. It takes
    others to let somebody change these, so nobody can make them long against their will."""
    attempts_max: Positive = 16
    """Times that a command is decided again because somebody else wrote first to what it was decided from. Each time
    one of those who collide gets through, so this is how many may write to one stream at the same moment."""
