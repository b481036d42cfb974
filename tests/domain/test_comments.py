"""Comments: where they stand, who may write them, who is told."""

import pytest

from domain.command import Command
from domain.comment import (
    SEGMENT_BYTES,
    CommentAttached,
    CommentDeleted,
    CommentEdited,
    CommentImported,
    CommentSubmitted,
    DeleteComment,
    EditComment,
    SubmitComment,
    segment,
)
from domain.community import CommunityImported, Visibility
from domain.event import Event, Id
from domain.limits import Limits
from domain.post import PostLocked
from domain.refusal import Code
from tests.domain.test_posts import imported as imported_post
from tests.domain.world import (
    ALICE,
    BOB,
    CAROL,
    COMMENT,
    EARLIER,
    NOBODY,
    NOW,
    OTHER_POST,
    PLACE,
    POST,
    REPLY,
    blocked,
    comment_deleted,
    commented,
    given,
    invited,
    joined,
    made,
    place,
    post_deleted,
    posted,
)

SAY = SubmitComment(POST, None, "Hi\r\n")
ANSWER = SubmitComment(POST, COMMENT, "Hi\r\n")
LOCKED = PostLocked(post_id=POST, community_id=PLACE, moderator_id=CAROL)


def said(by: Id = BOB, *, told: Id | None = ALICE, parent: CommentSubmitted | CommentImported | None = None) -> Event:
    """What ``SAY`` or ``ANSWER`` becomes."""
    new = made("comment", SubmitComment, by)
    return CommentSubmitted(
        comment_id=new,
        post_id=POST,
        community_id=PLACE,
        author_id=by,
        parent_id=parent.comment_id if parent else None,
        replied_to_id=told,
        path=(parent.path if parent else b"") + segment(new, NOW),
        depth=parent.depth + 1 if parent else 1,
        body="Hi",
    )


def imported(*, author_id: Id | None = None, orphan: bool = False, removed: bool = False) -> CommentImported:
    """A comment of an archive."""
    return CommentImported(
        comment_id=COMMENT,
        post_id=POST,
        community_id=PLACE,
        author_id=author_id,
        parent_id=REPLY if orphan else None,
        orphan=orphan,
        path=segment(COMMENT, EARLIER),
        depth=1,
        body="Old",
        edited_at=None,
        up=1,
        down=0,
        removed=removed,
        source_id="t1_abc",
    )


def test_comment_on_a_post() -> None:
    then = given(*place(), posted()).when(SAY, by=BOB)
    then.then(said())
    assert then.outcome is not None
    assert then.outcome.subject_id == made("comment", SubmitComment, BOB)


def test_reply_to_a_comment() -> None:
    parent = commented(ALICE)
    given(*place(), posted(CAROL), parent).when(ANSWER, by=BOB).then(said(parent=parent))


def test_a_reply_stands_below_its_parent() -> None:
    parent = commented(ALICE)
    then = given(*place(), posted(), parent).when(ANSWER, by=BOB)
    path = then.recorded[0].event.path
    assert path.startswith(parent.path)
    assert len(path) == 2 * SEGMENT_BYTES


def test_nobody_is_told_of_his_own_reply() -> None:
    given(*place(), posted()).when(SAY, by=ALICE).then(said(ALICE, told=None))
    given(*place(), posted(), commented(BOB)).when(ANSWER, by=BOB).then(said(told=None, parent=commented(BOB)))


def test_commenting_on_history() -> None:
    old = CommunityImported(community_id=PLACE, name="old", source="reddit")
    given(old, imported_post()).when(SAY, by=BOB).then(said(told=None))
    given(old, imported_post(author_id=ALICE)).when(SAY, by=BOB).then(said())
    given(old, imported_post(), imported()).when(ANSWER, by=BOB).then(said(told=None, parent=imported()))
    orphan = imported(author_id=ALICE, orphan=True)
    given(old, imported_post(), orphan).when(ANSWER, by=BOB).then(said(parent=orphan))


def test_a_reply_follows_a_comment_that_found_its_parent() -> None:
    path = segment(REPLY, EARLIER) + segment(COMMENT, EARLIER)
    attached = CommentAttached(comment_id=COMMENT, post_id=POST, path=path, depth=2)
    then = given(*place(), imported_post(), imported(orphan=True), attached).when(ANSWER, by=BOB)
    event = then.recorded[0].event
    assert event.path[:-SEGMENT_BYTES] == path
    assert event.depth == 3


@pytest.mark.parametrize(
    ("visibility", "standing", "sees"),
    [
        ("public", (), True),
        ("restricted", (), True),
        ("private", (), False),
        ("private", (invited(BOB),), False),
        ("private", (joined(BOB),), True),
    ],
)
def test_all_who_see_may_comment(visibility: Visibility, standing: tuple[Event, ...], sees: bool) -> None:
    then = given(*place(visibility), *standing, posted()).when(SAY, by=BOB)
    if sees:
        then.then(said())
    else:
        then.then_refused(Code.POST_NOT_FOUND, "post_id")


def test_a_locked_post_is_closed_to_all_but_moderators() -> None:
    closed = given(*place(), posted(), commented(), LOCKED)
    closed.when(SAY, by=BOB).then_refused(Code.POST_LOCKED, "post_id")
    closed.when(SAY, by=ALICE).then_refused(Code.POST_LOCKED)
    closed.when(ANSWER, by=BOB).then_refused(Code.POST_LOCKED)
    closed.when(SAY, by=CAROL).then(said(CAROL))
    given(*place(), imported_post(locked=True)).when(SAY, by=BOB).then_refused(Code.POST_LOCKED)


@pytest.mark.parametrize("before", [LOCKED, post_deleted()])
def test_below_a_post_that_takes_no_more_comments_those_there_can_be_changed(before: Event) -> None:
    edited = CommentEdited(comment_id=COMMENT, post_id=POST, community_id=PLACE, author_id=ALICE, body="New")
    gone = CommentDeleted(comment_id=COMMENT, post_id=POST, community_id=PLACE, author_id=ALICE, deleter_id=ALICE)
    given(*place(), posted(), commented(), before).when(EditComment(COMMENT, "New")).then(edited)
    given(*place(), posted(), commented(), before).when(DeleteComment(COMMENT)).then(gone)


def test_what_is_gone_gets_no_reply() -> None:
    given(*place(), posted(), post_deleted()).when(SAY, by=BOB).then_refused(Code.POST_DELETED, "post_id")
    given(*place(), posted(), commented(), post_deleted()).when(ANSWER, by=BOB).then_refused(Code.POST_DELETED)
    given(*place(), imported_post(removed=True)).when(SAY, by=BOB).then_refused(Code.POST_DELETED)
    given(*place(), posted(), commented(), comment_deleted()).when(ANSWER, by=BOB).then_refused(
        Code.COMMENT_DELETED, "parent_id"
    )
    given(*place(), posted(), imported(removed=True)).when(ANSWER, by=BOB).then_refused(Code.COMMENT_DELETED)


def test_what_is_not_there_gets_no_reply() -> None:
    given(*place()).when(SAY, by=BOB).then_refused(Code.POST_NOT_FOUND, "post_id")
    given(*place(), posted()).when(ANSWER, by=BOB).then_refused(Code.COMMENT_NOT_FOUND, "parent_id")
    elsewhere = given(*place(), posted(), commented(), posted(post_id=OTHER_POST))
    elsewhere.when(SubmitComment(OTHER_POST, COMMENT, "Hi"), by=BOB).then_refused(Code.COMMENT_NOT_FOUND, "parent_id")
    given(*place(), posted()).when(SubmitComment(POST, Id("\ud800"), "Hi"), by=BOB).then_refused(Code.COMMENT_NOT_FOUND)


def test_no_replies_where_there_is_a_block() -> None:
    for one in (blocked(ALICE, BOB), blocked(BOB, ALICE)):
        given(*place(), posted(), one).when(SAY, by=BOB).then_refused(Code.BLOCKED, "post_id")
        given(*place(), posted(CAROL), commented(), one).when(ANSWER, by=BOB).then_refused(Code.BLOCKED, "parent_id")
        # Between others there is none: a reply to Carol below Alice's post, a comment on Carol's.
        given(*place(), posted(), commented(CAROL), one).when(ANSWER, by=BOB).then(
            said(told=CAROL, parent=commented(CAROL))
        )


def test_a_block_does_not_tell_who_wrote_an_anonymous_post() -> None:
    for one in (blocked(ALICE, BOB), blocked(BOB, ALICE)):
        given(*place(anonymous_allowed=True), posted(anonymous=True), one).when(SAY, by=BOB).then(said(told=None))
    given(*place(anonymous_allowed=True), posted(anonymous=True)).when(SAY, by=BOB).then(said())


def test_depth_has_a_limit() -> None:
    chain = [commented(ALICE)]
    chain.append(commented(ALICE, comment_id=REPLY, parent=chain[0]))
    deep = given(*place(), posted(), *chain)
    below = SubmitComment(POST, REPLY, "Hi")
    deep.when(below, by=BOB, limits=Limits(comment_depth_max=2)).then_refused(Code.COMMENTS_TOO_DEEP, "parent_id")
    deep.when(below, by=BOB, limits=Limits(comment_depth_max=3)).then(said(parent=chain[1]))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", Code.TOO_SHORT),
        (" \n\t", Code.TOO_SHORT),
        ("\u200b\u2060", Code.TOO_SHORT),
        ("x" * 10_001, Code.TOO_LONG),
        ("\u2066", Code.INVALID_CHARACTERS),
    ],
)
def test_texts_that_are_no_comment(body: str, code: Code) -> None:
    given(*place(), posted()).when(SubmitComment(POST, None, body), by=BOB).then_refused(code, "body")
    given(*place(), posted(), commented()).when(EditComment(COMMENT, body)).then_refused(code, "body")


def test_edit() -> None:
    edited = CommentEdited(comment_id=COMMENT, post_id=POST, community_id=PLACE, author_id=ALICE, body="New")
    given(*place(), posted(), commented()).when(EditComment(COMMENT, "New")).then(edited)
    given(*place(), posted(), commented(), edited).when(EditComment(COMMENT, "New")).then_nothing()
    given(*place(), posted(), imported(author_id=ALICE)).when(EditComment(COMMENT, "New")).then(edited)
    given(*place(), posted(), commented()).when(EditComment(COMMENT, "New"), by=CAROL).then_refused(Code.NOT_THE_AUTHOR)
    given(*place(), posted(), commented(), comment_deleted()).when(EditComment(COMMENT, "New")).then_refused(
        Code.COMMENT_DELETED, "comment_id"
    )
    given(*place("private"), posted(), commented()).when(EditComment(COMMENT, "New")).then_refused(
        Code.COMMENT_NOT_FOUND
    )


def test_delete() -> None:
    by_author = CommentDeleted(comment_id=COMMENT, post_id=POST, community_id=PLACE, author_id=ALICE, deleter_id=ALICE)
    given(*place(), posted(), commented()).when(DeleteComment(COMMENT)).then(by_author)
    given(*place(), posted(), commented(), by_author).when(DeleteComment(COMMENT)).then_nothing()
    given(*place(), posted(), commented()).when(DeleteComment(COMMENT), by=CAROL).then(comment_deleted())
    given(*place(), posted(), commented()).when(DeleteComment(COMMENT), by=BOB).then_refused(Code.NOT_THE_AUTHOR)
    given(*place("private"), posted(), commented()).when(DeleteComment(COMMENT)).then(by_author)
    given(*place("private"), posted(), commented()).when(DeleteComment(COMMENT), by=BOB).then_refused(
        Code.COMMENT_NOT_FOUND
    )


@pytest.mark.parametrize("command", [EditComment(POST, "x"), DeleteComment(NOBODY), DeleteComment(Id(""))])
def test_ids_of_other_things_are_no_comments(command: Command) -> None:
    given(*place(), posted()).when(command).then_refused(Code.COMMENT_NOT_FOUND, "comment_id")
