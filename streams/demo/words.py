"""What the people of the demo are called and what they say. All of it is made up."""

import random
from typing import Final

from msgspec import Struct


class Place(Struct, frozen=True):
    """A community of the demo, and the things that its people talk about."""

    name: str
    title: str
    description: str
    things: tuple[str, ...]
    anonymous_allowed: bool = False


PLACES: Final = (
    Place(
        "greenhouse",
        "The Greenhouse",
        "Growing things under glass, and what eats them.",
        ("tomatoes", "a lemon tree", "aphids", "my rain barrel", "seedlings", "cucumbers", "compost", "an old fig"),
    ),
    Place(
        "nightsky",
        "Night Sky",
        "Looking up. No telescopes needed.",
        (
            "the Perseids",
            "Jupiter",
            "a red moon",
            "city lights",
            "a second-hand telescope",
            "Orion",
            "noctilucent clouds",
        ),
    ),
    Place(
        "breadlab",
        "Bread Lab",
        "Flour, water, salt, time.",
        (
            "rye",
            "a sourdough starter",
            "the crust",
            "spelt",
            "a Dutch oven",
            "overnight dough",
            "pretzels",
            "hydration",
        ),
    ),
    Place(
        "smalltools",
        "Small Tools",
        "Programs that do one thing.",
        ("a backup script", "my own feed reader", "grep", "a static site", "an event log", "SQLite", "a RSS bot"),
    ),
    Place(
        "trainspotting",
        "Trains",
        "Timetables, sleepers, narrow gauge.",
        (
            "the night train",
            "a cancelled connection",
            "narrow gauge",
            "the dining car",
            "an old signal box",
            "platform 3",
        ),
    ),
    Place(
        "confessions",
        "Confessions",
        "Say it without your name.",
        (
            "my neighbour's cat",
            "the office plant",
            "a library book from 1998",
            "my sister's secret recipe",
            "the choir",
        ),
        anonymous_allowed=True,
    ),
    Place(
        "slowtravel",
        "Slow Travel",
        "On foot, by bike, by boat.",
        ("the coast path", "a folding bike", "one bag", "the ferry", "a week without a phone", "hut to hut"),
    ),
    Place(
        "boardgames",
        "Board Games",
        "Cardboard, dice and grudges.",
        ("two-player games", "a legacy box", "house rules", "the rulebook", "solo mode", "a lost meeple", "our league"),
    ),
)

_FIRST: Final = """
    amber ash bela bo cam cleo dara dov edda eli fay finn gia gus hana hugo ida ilo jun kai kit lea lio mara milo
    nell noa oda otis pia quin rae remy sol suri tao tess uma vera wren xan yara zeno
"""
_SECOND: Final = """
    brook cloud dale fern field frost glen hazel hill lake lark moss oak pine reed ridge rook stone vale
"""

_TITLES: Final = (
    "What nobody told me about {thing}",
    "After three years: {thing}",
    "{Thing}, a beginner's question",
    "I was wrong about {thing}",
    "Is it just me, or is it {thing}?",
    "A photo diary of {thing}",
    "Weekly thread: {thing}",
    "The cheapest way to start with {thing}",
    "{Thing}: what would you do differently?",
    "Help me choose: {thing} or {other}?",
    "My grandmother's advice on {thing}",
    "A small victory with {thing}",
)

_OPENINGS: Final = (
    "I have been at it since spring.",
    "Short version: it worked.",
    "Long-time reader, first post.",
    "This may be obvious to most of you.",
    "It took four attempts.",
    "I kept notes, so here they are.",
)
_MIDDLES: Final = (
    "The trick with {thing} is patience, and then a bit more of it.",
    "I started with {other} and ended with {thing}.",
    "Everybody says the opposite of {thing}, and they may be right.",
    "- first I tried {thing}\n- then **{other}**",
    "> never trust {thing}\n\nwas the best advice I got here.",
    "It costs less than you think, as long as you skip {other}.",
)
_ENDINGS: Final = (
    "What would you try next?",
    "Tell me I am not the only one.",
    "Ask me anything.",
    "Pictures follow.",
    "Thanks for reading.",
)
_REPLIES: Final = (
    "This. Exactly this.",
    "I tried {thing} once and regretted nothing.",
    "Do you have a source for that?",
    "Came here to say the same about {other}.",
    "Respectfully, no. *{Thing}* is the whole point.",
    "Saving this for the weekend.",
    "How long did it take you?",
    "About two weeks, with breaks.",
    "You are braver than I am.",
    "Underrated comment.",
    "My experience with {thing} is the opposite, oddly.",
    "Could you post a picture?",
    "Thank you, that helped.",
    "I will report back.",
    "Report back, please!",
    "It depends on {other}, doesn't it?",
    "Ten years ago, maybe. Today, **yes**.",
)


class Speaker:
    """Makes names and texts from a source of chance; the same source makes the same ones."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def names(self, number: int) -> list[str]:
        """Different names that accounts may have; at most some eight hundred."""
        every = [f"{first}_{second}" for first in _FIRST.split() for second in _SECOND.split()]
        return [name for name in self._chance.sample(every, len(every)) if len(name) <= 20][:number]

    def title(self, place: Place) -> str:
        """A title for a post in that place."""
        return self._filled(self._chance.choice(_TITLES), place)

    def body(self, place: Place) -> str:
        """A text in Markdown, one to four paragraphs."""
        middles = self._chance.sample(_MIDDLES, self._chance.randint(0, 2))
        parts = [self._chance.choice(_OPENINGS), *middles, self._chance.choice(_ENDINGS)]
        return "\n\n".join(self._filled(part, place) for part in parts)

    def reply(self, place: Place) -> str:
        """A comment, one or two sentences."""
        said = self._chance.sample(_REPLIES, 1 if self._chance.random() < 0.7 else 2)
        return " ".join(self._filled(part, place) for part in said)

    def _filled(self, pattern: str, place: Place) -> str:
        thing, other = self._chance.sample(place.things, 2)
        return pattern.format(thing=thing, other=other, Thing=thing[0].upper() + thing[1:])
