"""What each view says after a few events; that order between streams does not matter is tested on whole histories."""

from datetime import timedelta
from itertools import permutations
from typing import Any, get_type_hints

import pytest

from domain.account import AccountImported, AccountRegistered, DisplayNameChanged
from domain.ballot import VoteCast
from domain.block import AccountBlocked, AccountUnblocked
from domain.comment import CommentAttached, CommentDeleted, CommentEdited, CommentImported, CommentSubmitted
from domain.community import CommunityCreated, CommunityEdited, CommunityImported
from domain.event import Id
from domain.follow import AccountFollowed, AccountUnfollowed
from domain.membership import InvitationDeclined, MemberInvited, MemberJoined, MemberLeft, ModeratorAppointed
from domain.post import (
    PostDeleted,
    PostEdited,
    PostImported,
    PostLocked,
    PostStickied,
    PostSubmitted,
    PostUnlocked,
    PostUnstickied,
)
from domain.save import ItemSaved, ItemUnsaved
from infra import migrate
from infra.postgres import connect
from infra.rows import create_missing
from infra.tables import Table
from projections.blocks import Block
from projections.catalogue import ALL
from projections.channels import Channel
from projections.comments import Comment
from projections.communities import Community
from projections.feed import FeedPost
from projections.karma import Karma
from projections.member_changes import MemberChange
from projections.memberships import Membership
from projections.notifications import Notification
from projections.posts import Post
from projections.profiles import Profile
from projections.score_changes import ScoreChange
from projections.scores import Score
from projections.stepping import Stepped
from projections.subjects import BUCKET_BITS, TOUCHED, Subject
from projections.votes import Vote
from schemas.registry import WIRE
from streams.announcing import channels_of
from tests.projections.folds import NOW, ident, recorded, rows

ANN, BOB, CAT, DAN = ident("ann"), ident("bob"), ident("cat"), ident("dan")
PLACE, POST, COMMENT, REPLY = ident("place"), ident("post"), ident("comment"), ident("reply")


def vote(voter: Id, previous: Any, value: Any, *, author: Id | None = ANN, on: Id = POST) -> VoteCast:
    target: Any = "post" if on == POST else "comment"
    return VoteCast(voter, on, target, POST, PLACE, author, previous, value)


def submitted(*, anonymous: bool = False) -> PostSubmitted:
    return PostSubmitted(POST, PLACE, ANN, anonymous, "link", "Title", "Body", "https://example.org")


def imported(*, removed: bool = False, author: Id | None = ANN) -> PostImported:
    title = "" if removed else "Title"
    return PostImported(POST, PLACE, author, "text", title, "Body", None, NOW, 9, 2, True, True, removed, "t3_1")


def commented(comment: Id = COMMENT, parent: Id | None = None, told: Id | None = ANN) -> CommentSubmitted:
    return CommentSubmitted(comment, POST, PLACE, BOB, parent, told, b"path", 1 if parent is None else 2, "Text")


def comment_imported(comment: Id, parent: Id | None, *, orphan: bool = False, removed: bool = False) -> CommentImported:
    return CommentImported(
        comment, POST, PLACE, BOB, parent, orphan, b"first", 1, "Text", None, 5, 1, removed, "t1_1"
    )  # fmt: skip


def test_profiles() -> None:
    log = recorded(
        AccountRegistered(ANN, "ann", "Ann"),
        AccountImported(BOB, "bob", "reddit"),
        DisplayNameChanged(ANN, "Anna"),
        AccountFollowed(ANN, BOB),
        AccountFollowed(CAT, BOB),
        AccountUnfollowed(CAT, BOB),
    )
    assert rows("profiles", log) == {
        ANN: Profile(ANN, "ann", "Anna", False, NOW, 0, 1, 4),
        BOB: Profile(BOB, "bob", "bob", True, NOW, 1, 0, 6),
        CAT: Profile(CAT, position=6),
    }


def test_communities() -> None:
    other = ident("other")
    log = recorded(
        CommunityCreated(PLACE, ANN, "place", "A place", "About", "private", True),
        MemberJoined(PLACE, ANN),
        MemberJoined(PLACE, BOB),
        MemberLeft(PLACE, BOB),
        submitted(),
        imported(removed=True),
        PostDeleted(POST, PLACE, ANN, ANN),
        imported(),
        CommunityEdited(PLACE, ANN, "New title", "New text", "public", False),
        CommunityImported(other, "pics", "reddit"),
    )
    assert rows("communities", log) == {
        PLACE: Community(PLACE, "place", "New title", "New text", "public", False, False, ANN, NOW, 1, 1, 9),
        other: Community(other, "pics", "pics", "", "public", False, True, None, NOW, 0, 0, 10),
    }


def test_who_declines_an_invitation_was_never_counted() -> None:
    log = recorded(MemberJoined(PLACE, ANN), MemberInvited(PLACE, BOB, ANN), InvitationDeclined(PLACE, BOB))
    (place,) = rows("communities", log).values()
    assert place.members == 1


def test_memberships() -> None:
    log = recorded(
        MemberInvited(PLACE, ANN, BOB),
        MemberJoined(PLACE, ANN),
        ModeratorAppointed(PLACE, ANN, BOB),
        MemberJoined(PLACE, CAT),
        MemberLeft(PLACE, CAT),
        MemberInvited(PLACE, BOB, ANN),
        InvitationDeclined(PLACE, BOB),
        MemberInvited(PLACE, DAN, ANN),
    )
    assert rows("memberships", log) == {
        (PLACE, ANN): Membership(PLACE, ANN, True, True, True, NOW, 2),
        (PLACE, DAN): Membership(PLACE, DAN, invited=True),
    }


@pytest.mark.parametrize(
    ("name", "begins", "ends", "key"),
    [
        ("follows", AccountFollowed(ANN, BOB), AccountUnfollowed(ANN, BOB), (ANN, BOB)),
        ("blocks", AccountBlocked(ANN, BOB), AccountUnblocked(ANN, BOB), (ANN, BOB)),
        ("saved", ItemSaved(ANN, POST, "post"), ItemUnsaved(ANN, POST, "post"), (ANN, POST)),
    ],
)
def test_what_lasts_while_it_lasts(name: str, begins: Any, ends: Any, key: tuple[Id, Id]) -> None:
    found = rows(name, recorded(begins))
    assert set(found) == {key}
    assert found[key].position == 1
    assert not rows(name, recorded(begins, ends))
    assert rows(name, recorded(begins, ends, begins))[key].position == 3


def test_votes_are_the_last_ones_and_gone_when_withdrawn() -> None:
    log = recorded(vote(BOB, 0, 1), vote(CAT, 0, -1), vote(BOB, 1, -1), vote(CAT, -1, 0))
    assert rows("votes", log) == {(BOB, POST): Vote(BOB, POST, -1, 3)}


def test_scores_are_sums_in_any_order() -> None:
    log = recorded(imported(), vote(BOB, 0, 1), vote(CAT, 0, 1), vote(BOB, 1, -1), vote(CAT, 1, 0))
    for order in permutations(log):
        assert rows("scores", order) == {POST: Score(POST, 9, 3, 5)}
        assert rows("karma", order) == {(ANN, PLACE): Karma(ANN, PLACE, 6, 0, 5)}
        found = rows("feed", order)[POST]
        assert (found.up, found.down, found.position) == (9, 3, 1)


def test_nothing_without_votes_has_a_score() -> None:
    nothing = CommentImported(COMMENT, POST, PLACE, BOB, None, False, b"p", 1, "Text", None, 0, 0, False, "t1_1")
    assert not rows("scores", recorded(nothing))


def test_score_changes_are_one_row_a_vote() -> None:
    log = recorded(imported(), vote(BOB, 0, 1), vote(BOB, 1, -1, on=COMMENT), vote(BOB, -1, 0))
    assert rows("score_changes", log) == {
        2: ScoreChange(2, POST, POST, PLACE, NOW, 1, 0),
        3: ScoreChange(3, COMMENT, POST, PLACE, NOW, -1, 1),
        4: ScoreChange(4, POST, POST, PLACE, NOW, 0, -1),
    }


def test_member_changes_are_one_row_for_each_who_comes_or_goes() -> None:
    log = recorded(
        MemberJoined(PLACE, ANN),
        MemberInvited(PLACE, BOB, ANN),
        InvitationDeclined(PLACE, BOB),
        MemberLeft(PLACE, ANN),
        PostDeleted(POST, PLACE, ANN, ANN),
    )
    assert rows("member_changes", log) == {1: MemberChange(1, PLACE, 1), 4: MemberChange(4, PLACE, -1)}


def test_karma_is_for_known_authors_and_by_kind() -> None:
    log = recorded(
        vote(CAT, 0, 1),
        vote(CAT, 0, 1, author=None),
        vote(CAT, 0, -1, author=BOB, on=COMMENT),
        comment_imported(REPLY, None),
        imported(author=None),
    )
    assert rows("karma", log) == {
        (ANN, PLACE): Karma(ANN, PLACE, 1, 0, 1),
        (BOB, PLACE): Karma(BOB, PLACE, 0, 3, 4),
    }


def test_posts_through_their_life() -> None:
    log = recorded(submitted(anonymous=True), at=NOW - timedelta(days=1)) + recorded(
        PostEdited(POST, PLACE, ANN, "New body"), PostLocked(POST, PLACE, BOB), PostStickied(POST, PLACE, BOB), first=2
    )
    url, yesterday = "https://example.org", NOW - timedelta(days=1)
    expected = Post(
        POST, PLACE, ANN, True, "link", "Title", "New body", url, yesterday, NOW, False, True, True, None, 1
    )
    assert rows("posts", log) == {POST: expected}
    log += recorded(PostUnlocked(POST, PLACE, BOB), PostUnstickied(POST, PLACE, BOB), first=5)
    found = rows("posts", log)[POST]
    assert (found.locked, found.sticky) == (False, False)


def test_what_is_deleted_has_no_text_at_once() -> None:
    post = rows("posts", recorded(submitted(), PostDeleted(POST, PLACE, ANN, BOB)))[POST]
    assert (post.title, post.body, post.url, post.deleted) == ("", "", None, True)
    gone = rows("posts", recorded(imported(removed=True)))[POST]
    assert (gone.title, gone.body, gone.deleted) == ("", "", True)
    comment = rows("comments", recorded(commented(), CommentDeleted(COMMENT, POST, PLACE, BOB, ANN)))[COMMENT]
    assert (comment.body, comment.deleted) == ("", True)
    assert rows("comments", recorded(comment_imported(COMMENT, None, removed=True)))[COMMENT].body == ""


def test_feed_says_nothing_of_an_anonymous_author() -> None:
    assert rows("feed", recorded(submitted(anonymous=True)))[POST].author_id is None
    assert rows("feed", recorded(submitted()))[POST].author_id == ANN


def test_feed_counts_what_comes_before_the_post() -> None:
    log = recorded(
        vote(BOB, 0, 1),
        commented(),
        comment_imported(REPLY, None),
        comment_imported(ident("gone"), None, removed=True),
        CommentDeleted(REPLY, POST, PLACE, BOB, BOB),
    )
    assert rows("feed", log) == {POST: FeedPost(POST, up=1, comments=1)}
    later = recorded(submitted(), PostStickied(POST, PLACE, ANN), PostDeleted(POST, PLACE, ANN, ANN), first=6)
    assert rows("feed", log + later) == {POST: FeedPost(POST, PLACE, ANN, NOW, 1, 0, 1, True, True, 6)}


def test_comments_count_replies_that_come_first() -> None:
    log = recorded(commented(REPLY, COMMENT), commented(), CommentEdited(COMMENT, POST, PLACE, BOB, "New text"))
    assert rows("comments", log) == {
        COMMENT: Comment(COMMENT, POST, PLACE, BOB, None, False, b"path", 1, "New text", NOW, NOW, False, 1, None, 2),
        REPLY: Comment(REPLY, POST, PLACE, BOB, COMMENT, False, b"path", 2, "Text", NOW, None, False, 0, None, 1),
    }


def test_an_orphan_is_put_right() -> None:
    log = recorded(comment_imported(REPLY, COMMENT, orphan=True), CommentAttached(REPLY, POST, b"second", 2))
    found = rows("comments", log)[REPLY]
    assert (found.orphan, found.path, found.depth) == (False, b"second", 2)


def test_notifications_tell_whom_there_is_to_tell() -> None:
    log = recorded(commented(), commented(REPLY, told=None))
    assert rows("notifications", log) == {(ANN, 1): Notification(ANN, 1, BOB, COMMENT, POST, NOW)}


STANDINGS = {
    "servers": PLACE,
    "server_roles": (PLACE, ANN),
    "server_members": (PLACE, ANN),
    "channels": PLACE,
    "channel_overrides": (PLACE, ANN),
}
"""Views that say who may see what, each with the key of a row that is about PLACE."""


def test_live_channels() -> None:
    assert ALL["scores"].signal is not None
    names = {
        name: projection.signal(row)
        for name, projection, row in (
            ("scores", ALL["scores"], Score(POST)),
            ("posts", ALL["posts"], Post(POST, PLACE)),
            ("comments", ALL["comments"], Comment(COMMENT, POST)),
            ("unknown comment", ALL["comments"], Comment(COMMENT)),
            ("unknown post", ALL["posts"], Post(POST)),
            ("notifications", ALL["notifications"], Notification(ANN, 1)),
            ("channel of a server", ALL["channels"], Channel(POST, PLACE)),
            ("blocks", ALL["blocks"], Block(ANN, BOB)),
            *((name, ALL[name], ALL[name].new(key)) for name, key in STANDINGS.items()),
        )
        if projection.signal is not None
    }
    assert names == {
        "scores": f"score:{POST}",
        "posts": f"posts:{PLACE}",
        "comments": f"comments:{POST}",
        "unknown comment": None,
        "unknown post": None,
        "notifications": f"notifications:{ANN}",
        "channel of a server": (f"standing:{PLACE}", f"structure:{PLACE}"),
        "blocks": (f"blocks:{ANN}", f"company:{ANN}", f"company:{BOB}"),
        **dict.fromkeys(STANDINGS, (f"standing:{PLACE}", f"structure:{PLACE}")),
        "server_members": (f"standing:{PLACE}", f"membership:{ANN}"),
        "channel_overrides": f"standing:{PLACE}",
    }


def test_a_row_that_is_gone_is_signalled_by_its_key() -> None:
    gone, there = {(PLACE, ANN): None}, {(POST, ANN): ALL["server_members"].new((POST, ANN))}
    done = {"server_members": Stepped(changed={**gone, **there}, parked=[])}
    assert channels_of(ALL, done, 7) == dict.fromkeys((f"standing:{PLACE}", f"standing:{POST}", f"membership:{ANN}"), 7)


def test_subjects_hold_every_id_of_every_event() -> None:
    """An id that an event names is that of a subject; a new kind of event, or field, has to be indexed."""
    named = {
        kind: {name for name, hint in get_type_hints(kind).items() if name != "subject" and hint in (Id, Id | None)}
        for kind in WIRE.values()
    }
    assert {kind: set(names) for kind, names in TOUCHED.items()} == named


def test_subjects_are_positions_once_and_ascending() -> None:
    far = (3 << BUCKET_BITS) + 5
    log = recorded(vote(BOB, 0, 1), vote(BOB, 1, 0)) + recorded(vote(BOB, 0, 1), first=far)
    for order in permutations(log):
        found = rows("subjects", order)
        assert found[(POST, 0)].positions == [1, 2]
        assert found[(POST, 3)] == Subject(POST, 3, b"\x00\x05")
        assert found[(POST, 3)].positions == [far]
        assert set(found) == {(who, bucket) for who in (ANN, BOB, POST, PLACE) for bucket in (0, 3)}


def test_tables_have_the_columns_of_the_rows(database: str) -> None:
    migrate.migrate(database)
    with connect(database) as connection:
        create_missing(connection, list(ALL.values()))
        for name, projection in ALL.items():
            columns = connection.execute(
                "SELECT column_name, is_nullable = 'YES' FROM information_schema.columns"
                " WHERE table_schema = 'views' AND table_name = %s ORDER BY ordinal_position",
                (name,),
            ).fetchall()
            assert [column for column, _ in columns] == list(projection.row.__struct_fields__), name
            for column in Table(projection).columns:
                assert not column.nullable or (column.name, True) in columns, f"{name}.{column.name}"
            keys = connection.execute(
                "SELECT array_agg(a.attname::text ORDER BY k.place) FROM pg_index i"
                " CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(number, place)"
                " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number"
                " WHERE i.indisprimary AND i.indrelid = %s::regclass",
                (f"views.{name}",),
            ).fetchone()
            assert keys == (list(projection.row.key_fields),), name
