"""What is known of a channel, in whatever order it is read and told."""

from streams.chat.plain import line
from streams.chat.room import Room
from tests.chat.nodes import node, page


def bodies(room: Room) -> list[str]:
    return [message.body for message in room.messages]


def test_pages_and_what_is_told_are_one_list_in_the_order_of_the_ids() -> None:
    room = Room()
    room.begin(page(node(30, "c"), node(40, "d"), more=True))
    room.told(node(60, "f"))
    room.told(node(50, "e"))  # made earlier and written later
    assert room.add_older(page(node(10, "a"), node(20, "b"))) == 2
    room.told(node(60, "f"))
    assert bodies(room) == ["a", "b", "c", "d", "e", "f"]
    assert not room.has_older
    assert len({message.number for message in room.messages}) == 6
    numbered = room.numbered(1)
    assert numbered is not None
    assert numbered.body == "c", "numbers that people have seen stay"


def test_what_was_told_is_newer_than_a_page_or_an_answer_that_comes_later() -> None:
    room = Room()
    room.begin(page(node(30), more=True))
    assert room.told(node(20, None, deleted=True)) is None  # its page is on its way
    room.add_older(page(node(20, "still there")))
    room.told(node(30, "edited", editedAt="2026-01-08T12:01:00+00:00"))
    room.answered(node(30, "as sent"))
    assert bodies(room) == ["(deleted)", "edited"]


def test_a_quote_is_as_what_it_quotes() -> None:
    room = Room()
    quoted = {"snowflake": "10", "body": "secret", "deleted": False, "author": {"name": "ada"}}
    room.begin(page(node(10, "secret"), node(20, "indeed", author="bob", replyTo=quoted)))
    assert room.messages[1].reply_to == "ada: secret"
    room.told(node(10, None, deleted=True))
    assert room.messages[1].reply_to == "ada: (deleted)"


def test_a_room_begun_again_keeps_the_numbers() -> None:
    room = Room()
    room.begin(page(node(10), node(20)))
    numbers = {message.snowflake: message.number for message in room.messages}
    room.begin(page(node(20), node(30), more=True))
    assert [message.snowflake for message in room.messages] == [20, 30]
    assert room.messages[0].number == numbers[20]


def test_the_last_message_is_found_without_regard_to_case_and_deleted_ones() -> None:
    room = Room()
    room.begin(page(node(10, "a", author="Ada"), node(20, "b", author="bob"), node(30, None, deleted=True)))
    by, but = room.last(by="ada"), room.last(but="ADA")
    assert by is not None
    assert but is not None
    assert (by.body, but.body) == ("a", "b")
    assert room.last(by="eve") is None


def test_a_line_says_what_became_of_a_message() -> None:
    room = Room()
    room.begin(page(node(10, "one\ntwo", mentionsViewer=True)))
    (sent,) = room.messages
    assert line(sent, None).endswith("#1 ada: one\n    two (mentions you)")
    reacted = room.told(node(10, "one\ntwo", reactions=[{"emoji": "👍", "count": 2, "viewerReacted": True}]))
    assert reacted is not None
    assert line(reacted, sent).endswith("#1 ada has reactions: 👍 2")
    edited = room.told(node(10, "new", editedAt="2026-01-08T12:01:00+00:00"))
    assert edited is not None
    assert line(edited, reacted).endswith("#1 ada, edited: new")
    deleted = room.told(node(10, None, deleted=True))
    assert deleted is not None
    assert line(deleted, edited).endswith("#1 ada, deleted")
