"""Posts: who may submit, edit, delete, lock and sticky them."""

import pytest

from domain.command import Command
from domain.community import CommunityImported, Visibility
from domain.event import Event, Id
from domain.limits import Limits
from domain.membership import MemberLeft
from domain.post import (
    DeletePost,
    EditPost,
    LockPost,
    PostDeleted,
    PostEdited,
    PostImported,
    PostLocked,
    PostStickied,
    PostSubmitted,
    PostUnlocked,
    PostUnstickied,
    StickyPost,
    SubmitPost,
    UnlockPost,
    UnstickyPost,
)
from domain.refusal import Code
from domain.stickies import StickyDelisted, StickyListed
from tests.domain.world import (
    ALICE,
    BOB,
    CAROL,
    NOBODY,
    OTHER_POST,
    PLACE,
    POST,
    commented,
    given,
    invited,
    joined,
    made,
    place,
    post_deleted,
    posted,
)

TEXT = SubmitPost(PLACE, kind="text", title="  A   title ", body="# Hi\r\n\tthere \n")
LINK = SubmitPost(PLACE, kind="link", title="Look", url=" https://example.org/a?b=c#d ")
NEW = made("post", SubmitPost, ALICE)


def submitted(**changed: object) -> PostSubmitted:
    """What ``TEXT`` becomes."""
    fields = {"anonymous": False, "kind": "text", "title": "A title", "body": "# Hi\n\tthere", "url": None} | changed
    return PostSubmitted(post_id=NEW, community_id=PLACE, author_id=ALICE, **fields)


def imported(*, author_id: Id | None = None, removed: bool = False, locked: bool = False) -> PostImported:
    """A post of an archive."""
    return PostImported(
        post_id=POST,
        community_id=PLACE,
        author_id=author_id,
        kind="text",
        title="Old",
        body="Old text",
        url=None,
        edited_at=None,
        up=3,
        down=1,
        locked=locked,
        sticky=False,
        removed=removed,
        source_id="t3_abc",
    )


def test_submit_a_text() -> None:
    then = given(*place()).when(TEXT)
    then.then(submitted())
    assert then.outcome is not None
    assert then.outcome.subject_id == NEW


def test_submit_a_link() -> None:
    given(*place()).when(LINK).then(submitted(kind="link", title="Look", body="", url="https://example.org/a?b=c#d"))


def test_a_text_may_say_all_in_its_title() -> None:
    given(*place()).when(SubmitPost(PLACE, kind="text", title="A title")).then(submitted(body=""))


@pytest.mark.parametrize(
    ("command", "code", "field"),
    [
        (SubmitPost(PLACE, kind="text", title=""), Code.TOO_SHORT, "title"),
        (SubmitPost(PLACE, kind="text", title="x" * 301), Code.TOO_LONG, "title"),
        (SubmitPost(PLACE, kind="text", title="a\u202eb"), Code.INVALID_CHARACTERS, "title"),
        (SubmitPost(PLACE, kind="text", title="a", body="x" * 40_001), Code.TOO_LONG, "body"),
        (SubmitPost(PLACE, kind="text", title="a", body="\x07"), Code.INVALID_CHARACTERS, "body"),
        (SubmitPost(PLACE, kind="text", title="a", url="https://example.org"), Code.INVALID_VALUE, "url"),
        (SubmitPost(PLACE, kind="link", title="a"), Code.INVALID_URL, "url"),
        (SubmitPost(PLACE, kind="link", title="a", url="ftp://example.org"), Code.INVALID_URL, "url"),
        (SubmitPost(PLACE, kind="link", title="a", body="b", url="https://a.b"), Code.INVALID_VALUE, "body"),
        (SubmitPost(PLACE, kind="poll", title="a"), Code.INVALID_VALUE, "kind"),
    ],
)
def test_what_a_post_cannot_be(command: SubmitPost, code: Code, field: str) -> None:
    given(*place()).when(command).then_refused(code, field)


@pytest.mark.parametrize(
    ("visibility", "standing", "code"),
    [
        ("public", (), None),
        ("restricted", (), Code.POSTING_RESTRICTED),
        ("restricted", (joined(ALICE),), Code.POSTING_RESTRICTED),
        ("restricted", (invited(ALICE),), None),
        ("restricted", (joined(ALICE), MemberLeft(community_id=PLACE, account_id=ALICE)), Code.POSTING_RESTRICTED),
        ("private", (), Code.COMMUNITY_NOT_FOUND),
        ("private", (invited(ALICE),), Code.COMMUNITY_NOT_FOUND),
        ("private", (invited(ALICE), joined(ALICE)), None),
        ("private", (joined(ALICE), MemberLeft(community_id=PLACE, account_id=ALICE)), Code.COMMUNITY_NOT_FOUND),
    ],
)
def test_who_may_post(visibility: Visibility, standing: tuple[Event, ...], code: Code | None) -> None:
    then = given(*place(visibility), *standing).when(TEXT)
    if code is None:
        then.then(submitted())
    else:
        then.then_refused(code, "community_id")


@pytest.mark.parametrize("visibility", ["public", "restricted", "private"])
def test_moderators_always_may_post(visibility: Visibility) -> None:
    assert given(*place(visibility)).when(TEXT, by=CAROL).refusal is None


def test_posting_nowhere() -> None:
    given().when(TEXT).then_refused(Code.COMMUNITY_NOT_FOUND, "community_id")


def test_anybody_posts_in_an_imported_community() -> None:
    given(CommunityImported(community_id=PLACE, name="old", source="reddit")).when(TEXT).then(submitted())


def test_anonymous_only_where_allowed() -> None:
    anonymous = SubmitPost(PLACE, kind="text", title="A title", anonymous=True)
    given(*place()).when(anonymous).then_refused(Code.ANONYMOUS_NOT_ALLOWED, "anonymous")
    given(*place(anonymous_allowed=True)).when(anonymous).then(submitted(anonymous=True, body=""))


def edited(body: str) -> PostEdited:
    """Alice's new text."""
    return PostEdited(post_id=POST, community_id=PLACE, author_id=ALICE, body=body)


def test_edit() -> None:
    given(*place(), posted()).when(EditPost(POST, "New")).then(edited("New"))
    given(*place(), posted(), edited("New")).when(EditPost(POST, "New \n")).then_nothing()
    given(*place(), posted()).when(EditPost(POST, "")).then(edited(""))
    given(*place(), imported(author_id=ALICE)).when(EditPost(POST, "New")).then(edited("New"))


@pytest.mark.parametrize("by", [BOB, CAROL])
def test_only_the_author_edits(by: Id) -> None:
    given(*place(), posted()).when(EditPost(POST, "New"), by=by).then_refused(Code.NOT_THE_AUTHOR)
    given(*place(), imported()).when(EditPost(POST, "New"), by=by).then_refused(Code.NOT_THE_AUTHOR)


def test_edits_that_are_refused() -> None:
    given(*place(), posted()).when(EditPost(POST, "x" * 40_001)).then_refused(Code.TOO_LONG, "body")
    given(*place(), posted(), post_deleted()).when(EditPost(POST, "New")).then_refused(Code.POST_DELETED, "post_id")
    given(*place(), posted(kind="link")).when(EditPost(POST, "New")).then_refused(Code.INVALID_VALUE, "body")
    given(*place("private"), posted()).when(EditPost(POST, "New")).then_refused(Code.POST_NOT_FOUND)


def test_delete() -> None:
    by_author = PostDeleted(post_id=POST, community_id=PLACE, author_id=ALICE, deleter_id=ALICE)
    given(*place(), posted()).when(DeletePost(POST)).then(by_author)
    given(*place(), posted(), by_author).when(DeletePost(POST)).then_nothing()
    given(*place(), posted()).when(DeletePost(POST), by=CAROL).then(post_deleted())
    given(*place(), posted(), by_author).when(DeletePost(POST), by=CAROL).then_nothing()


def test_only_author_and_moderators_delete() -> None:
    given(*place(), posted(), joined(BOB)).when(DeletePost(POST), by=BOB).then_refused(Code.NOT_THE_AUTHOR)
    given(*place("private"), posted()).when(DeletePost(POST), by=BOB).then_refused(Code.POST_NOT_FOUND)


def test_what_one_wrote_can_be_deleted_where_one_sees_no_more() -> None:
    by_author = PostDeleted(post_id=POST, community_id=PLACE, author_id=ALICE, deleter_id=ALICE)
    given(*place("private"), posted()).when(DeletePost(POST)).then(by_author)


def test_what_the_archive_lost_counts_as_deleted() -> None:
    gone = imported(author_id=ALICE, removed=True)
    given(*place(), gone).when(DeletePost(POST)).then_nothing()
    given(*place(), gone).when(EditPost(POST, "New")).then_refused(Code.POST_DELETED)


MODERATION: list[tuple[Command, type[Event], tuple[Event, ...]]] = [
    (LockPost(POST), PostLocked, ()),
    (UnlockPost(POST), PostUnlocked, (PostLocked(post_id=POST, community_id=PLACE, moderator_id=CAROL),)),
    (StickyPost(POST), PostStickied, ()),
    (UnstickyPost(POST), PostUnstickied, (PostStickied(post_id=POST, community_id=PLACE, moderator_id=CAROL),)),
]


@pytest.mark.parametrize(("command", "kind", "before"), MODERATION)
def test_moderators_moderate(command: Command, kind: type[Event], before: tuple[Event, ...]) -> None:
    happened = kind(post_id=POST, community_id=PLACE, moderator_id=CAROL)
    listed = (StickyListed(community_id=PLACE, post_id=POST),) if kind is PostStickied else ()
    given(*place(), posted(), *before).when(command, by=CAROL).then(*listed, happened)
    given(*place(), posted(), *before, *listed, happened).when(command, by=CAROL).then_nothing()


@pytest.mark.parametrize("undo", [UnstickyPost(POST), DeletePost(POST)])
def test_sticky_posts_are_few(undo: Command) -> None:
    limits = Limits(stickies_max=1)
    crowd = given(*place(), posted(), posted(post_id=OTHER_POST))
    assert crowd.when(StickyPost(POST), by=CAROL, limits=limits).refusal is None
    crowd.when(StickyPost(OTHER_POST), by=CAROL, limits=limits).then_refused(Code.TOO_MANY_STICKIES, "post_id")
    ended = crowd.when(undo, by=CAROL).recorded
    assert next(recorded.event for recorded in ended) == StickyDelisted(community_id=PLACE, post_id=POST)
    assert crowd.when(StickyPost(OTHER_POST), by=CAROL, limits=limits).refusal is None


def test_sticky_posts_of_other_communities_do_not_count() -> None:
    elsewhere = StickyListed(community_id=NOBODY, post_id=OTHER_POST)
    here = given(*place(), posted(), elsewhere).when(StickyPost(POST), by=CAROL, limits=Limits(stickies_max=1))
    assert here.refusal is None


def test_a_post_that_was_sticky_before_there_was_a_list_can_be_let_go() -> None:
    sticky = PostStickied(post_id=POST, community_id=PLACE, moderator_id=CAROL)
    given(*place(), posted(), sticky).when(DeletePost(POST), by=CAROL).then(post_deleted())


@pytest.mark.parametrize(("command", "_kind", "before"), MODERATION)
def test_moderation_is_refused(command: Command, _kind: type[Event], before: tuple[Event, ...]) -> None:
    given(*place(), posted(), *before).when(command).then_refused(Code.NOT_MODERATOR)
    given(*place(), posted(), *before, post_deleted()).when(command, by=CAROL).then_refused(Code.POST_DELETED)
    given(*place("private"), posted(), *before).when(command).then_refused(Code.POST_NOT_FOUND)
    given(*place()).when(command, by=CAROL).then_refused(Code.POST_NOT_FOUND, "post_id")


def test_what_was_locked_in_the_archive_is_locked() -> None:
    given(*place(), imported(locked=True)).when(LockPost(POST), by=CAROL).then_nothing()


@pytest.mark.parametrize(
    "command", [EditPost(PLACE, "x"), EditPost(NOBODY, "x"), DeletePost(Id("no id")), LockPost(ALICE)]
)
def test_ids_of_other_things_are_no_posts(command: Command) -> None:
    given(*place()).when(command).then_refused(Code.POST_NOT_FOUND, "post_id")


def test_a_comment_is_no_post() -> None:
    comment = commented()
    given(*place(), posted(), comment).when(DeletePost(comment.comment_id)).then_refused(Code.POST_NOT_FOUND)


def test_a_post_that_was_changed_too_often_can_only_be_deleted() -> None:
    limits = Limits(changes_max=3)
    often = given(*place(), posted(), edited("1"), edited("2"))
    often.when(EditPost(POST, "3"), limits=limits).then_refused(Code.TOO_MANY_CHANGES)
    often.when(DeletePost(POST), limits=limits).then(
        PostDeleted(post_id=POST, community_id=PLACE, author_id=ALICE, deleter_id=ALICE)
    )


@pytest.mark.parametrize(("command", "undo"), [(LockPost, UnlockPost), (StickyPost, UnstickyPost)])
def test_changes_by_the_author_do_not_count_against_moderators(
    command: type[LockPost | StickyPost], undo: type[UnlockPost | UnstickyPost]
) -> None:
    limits = Limits(changes_max=3)
    often = given(*place(), posted(), edited("1"), edited("2"), edited("3"))
    for number, kind in enumerate((command, undo, command)):
        assert often.when(kind(POST), by=CAROL, key=str(number), limits=limits).refusal is None
    assert often.when(undo(POST), by=CAROL, key="the last", limits=limits).refusal is None  # it ends something
    often.when(command(POST), by=CAROL, key="too many", limits=limits).then_refused(Code.TOO_MANY_CHANGES)
