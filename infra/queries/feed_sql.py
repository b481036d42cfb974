"""The one statement that reads a page of a feed, put together from the sort, the scope and the direction.

**As of a position.** ``at.p`` is the position that the first page was ranked at. Posts submitted later do not exist;
votes cast later are taken off: ``changed`` holds what they did, ``moved`` ranks the posts that they touched from
corrected votes, and every other branch leaves those out and uses an index over the rows as they are.

**Hot and recent Top in large communities.** Nothing holds a rank that time would spoil. Posts are indexed by
quarter-hour block and score, and a ``walk`` finds the blocks that have posts. For Top the order within a block
is that of the index, so the best n posts are among the best n of the n blocks with the best heads. For Hot, the
ranks of those give a lower bound of the page; the age of a block's end turns that bound into the least score
that can still reach it, and only such posts are ranked. Both are exact. Communities with few posts in the window,
and pages read backwards, are ranked whole.

**Plans.** Of conditions like ``position <= p`` the planner guesses that they leave a third or a half; a few of them,
and it would rather sort the thousand posts of a block than read one through the index. ``_passes`` hides them.
"""

from enum import Enum
from functools import cache

from domain.limits import LEADING_POSTS_MAX
from infra.queries import formulas
from infra.queries.rows import KNOWN, as_of, columns, not_blocked, sees_known
from projections.posts import Post
from projections.ranking import HOT_AGE_MAX, RISING_WINDOW, Sort

SMALL_POSTS_MAX = 2000
"""A community with at most that many posts in the window is ranked whole: cheaper than walking its blocks."""


class Scope(Enum):
    """Whose posts."""

    COMMUNITY = "community"
    ALL = "all"
    HOME = "home"


_T = "%(now)s::timestamptz"
_P = "(SELECT p FROM at)"
_FROM = "%(from)s::timestamptz"
_UNTIL = "%(until)s::timestamptz"
_LIVE = "NOT f.deleted AND f.submitted_at IS NOT NULL"
_SCORE = formulas.score("f.up", "f.down")
_BLOCK = formulas.block("f.submitted_at")
_WINDOW = f"f.submitted_at > {_FROM} AND f.submitted_at <= {_UNTIL}"
_BLOCKS = f"{_BLOCK} >= {formulas.block(_FROM)} AND {_BLOCK} <= {_UNTIL}"
_OLD = f"{_T} - interval '{int(HOT_AGE_MAX.total_seconds())} seconds'"
_TIME = "%(time)s::timestamptz"
_RECENT = f"{_T} - interval '{int(RISING_WINDOW.total_seconds())} seconds'"
_HIGHEST = "9223372036854775807"


def _passes(*conditions: str) -> str:
    """That all of it is true, in a form of which the planner expects that nearly every row passes."""
    return f"nullif({' AND '.join(conditions)}, false) IS NOT NULL"


def _sees(community: str) -> str:
    """The condition that the viewer may see that community."""
    return sees_known(community, known=KNOWN)


class _Statement:
    """The parts that depend on scope and direction."""

    def __init__(self, scope: Scope, sort: Sort, walked: bool, backward: bool) -> None:
        self.scope = scope
        self.sort = sort
        self.walked = walked
        self.backward = backward
        self.less, self.order = (">", "ASC") if backward else ("<", "DESC")
        self.leads = scope is Scope.COMMUNITY and sort is Sort.HOT
        self.unchanged = "f.post_id NOT IN (SELECT post_id FROM changed)"

    def shown(self, author: str = "f.author_id") -> str:
        """The condition that the viewer is shown the post, if it belongs to the feed and is live."""
        seen = _sees("f.community_id") if self.scope is Scope.ALL else "true"
        lead = "f.post_id NOT IN (SELECT post_id FROM lead)" if self.leads else "true"
        return f"f.position <= {_P} AND {not_blocked(author)} AND {seen} AND {lead}"

    def part(self, source: str) -> str:
        """The condition that ``f`` belongs to the source."""
        return "true" if self.scope is Scope.ALL else f"f.community_id = {source}.community_id"

    def after(self, rank: str = "rank", time: str = "submitted_at", key: str = "post_id") -> str:
        """The condition that a post comes after the cursor."""
        kind = "bigint" if self.sort is Sort.TOP else "float8"
        return f"({rank}, {time}, {key}) {self.less} (%(rank)s::{kind}, %(time)s::timestamptz, %(id)s::uuid)"

    def ordered(self, rank: str = "rank", time: str = "submitted_at", key: str = "post_id") -> str:
        """The order of the page, with its limit: one more than wanted."""
        return f"ORDER BY {rank} {self.order}, {time} {self.order}, {key} {self.order} LIMIT %(limit)s"

    def rank(self, up: str = "f.up", down: str = "f.down") -> str:
        """What posts are ranked by."""
        match self.sort:
            case Sort.HOT:
                return formulas.hot(up, down, "f.submitted_at", _T)
            case Sort.TOP:
                return formulas.score(up, down)
            case _:
                return formulas.controversial(up, down)

    def sources(self) -> str:
        """The communities that posts come from; one row of nothing where they come from all."""
        match self.scope:
            case Scope.COMMUNITY:
                own = "(SELECT %(community)s::uuid AS community_id) s"
                return f"SELECT s.community_id FROM {own} WHERE {_sees('s.community_id')}"
            case Scope.ALL:
                return "SELECT NULL::uuid AS community_id"
            case Scope.HOME:
                return """SELECT m.community_id FROM views.memberships m
                    WHERE m.account_id = %(viewer)s::uuid AND (m.joined OR m.moderator)"""

    def changed(self) -> str:
        """What votes after the position did to posts."""
        there = "s.community_id = %(community)s::uuid" if self.scope is Scope.COMMUNITY else "true"
        return f"""SELECT s.post_id, sum(s.up) AS up, sum(s.down) AS down FROM views.score_changes s
            WHERE s.target_id = s.post_id AND {there} AND s.position > {_P} AND s.position <= (SELECT head FROM at)
            GROUP BY s.post_id"""

    def belongs(self) -> str:
        """The condition that a post, wherever it was found, belongs to the feed."""
        match self.scope:
            case Scope.HOME:
                return f"""(f.community_id IN (SELECT community_id FROM sources) OR f.author_id IN (
                    SELECT w.followed_id FROM views.follows w WHERE w.follower_id = %(viewer)s::uuid)
                    AND {_sees("f.community_id")})"""
            case _:
                return f"EXISTS (SELECT FROM sources s WHERE {self.part('s')})"

    def moved(self) -> str:
        """The posts that votes after the position touched, ranked as of the position."""
        return f"""SELECT * FROM (
            SELECT {self.rank("(f.up - c.up)", "(f.down - c.down)")} AS rank, f.submitted_at, f.post_id
            FROM changed c CROSS JOIN LATERAL (SELECT * FROM views.feed f WHERE f.post_id = c.post_id LIMIT 1) f
            WHERE {_LIVE} AND {_WINDOW} AND {self.shown()} AND {self.belongs()}) r
            WHERE {self.after()} {"AND rank > 0" if self.sort is Sort.CONTROVERSIAL else ""}"""

    def followed(self, more: str) -> str:
        """Posts of people whom the viewer follows, outside of the communities that are sources already."""
        return f"""SELECT * FROM (
            SELECT {self.rank()} AS rank, f.submitted_at, f.post_id
            FROM views.follows w JOIN views.posts p ON p.author_id = w.followed_id AND NOT p.deleted
            CROSS JOIN LATERAL (SELECT * FROM views.feed f WHERE f.post_id = p.post_id LIMIT 1) f
            WHERE w.follower_id = %(viewer)s::uuid AND NOT p.anonymous
            AND p.submitted_at > {_FROM} AND p.submitted_at <= {_UNTIL} AND {_LIVE} AND {more}
            AND {self.shown()} AND {self.unchanged} AND p.community_id NOT IN (SELECT community_id FROM sources)
            AND {_sees("p.community_id")}) r WHERE {self.after()}"""

    def indexed(self, rank: str, more: str) -> str:
        """From each source, the first posts of an index that has the rank in it."""
        parts = [
            f"""SELECT f.* FROM sources s CROSS JOIN LATERAL (
            SELECT {rank} AS rank, f.submitted_at, f.post_id FROM views.feed f
            WHERE {self.part("s")} AND {_LIVE} AND {more} AND {_WINDOW}
            AND {self.after(rank, "f.submitted_at", "f.post_id")} AND {_passes(self.shown(), self.unchanged)}
            {self.ordered(rank, "f.submitted_at", "f.post_id")}) f"""
        ]
        if self.scope is Scope.HOME:
            parts.append(self.followed(more))
        return " UNION ALL ".join(parts)

    def by_time(self, more: str = "true", time: str = "%(time)s::timestamptz") -> str:
        """From each source, the newest posts after the cursor; from ``posts``, which votes never touch."""
        shown = self.shown("CASE WHEN NOT f.anonymous THEN f.author_id END")

        def newest(where: str) -> str:
            return f"""SELECT 0::float8 AS rank, f.submitted_at, f.post_id FROM views.posts f
                WHERE {where} AND NOT f.deleted AND {more} AND {_passes(shown)}
                AND (f.submitted_at, f.post_id) {self.less} ({time}, %(id)s::uuid)
                ORDER BY f.submitted_at {self.order}, f.post_id {self.order} LIMIT %(limit)s"""

        parts = [f"SELECT f.* FROM sources s CROSS JOIN LATERAL ({newest(self.part('s'))}) f"]
        if self.scope is Scope.HOME:
            theirs = f"""f.author_id = w.followed_id AND NOT f.anonymous AND {_sees("f.community_id")}
                AND f.community_id NOT IN (SELECT community_id FROM sources)"""
            parts.append(
                f"""SELECT f.* FROM views.follows w CROSS JOIN LATERAL ({newest(theirs)}) f
                WHERE w.follower_id = %(viewer)s::uuid"""
            )
        return " UNION ALL ".join(parts)

    def whole(self) -> str:
        """All posts of the window of the sources that are small enough, ranked."""
        bound = "" if self.backward else f"LIMIT {SMALL_POSTS_MAX}"
        parts = [
            f"""SELECT * FROM (
            SELECT {self.rank()} AS rank, f.submitted_at, f.post_id
            FROM sized s CROSS JOIN LATERAL (
                SELECT * FROM views.feed f WHERE {self.part("s")} AND {_LIVE} AND {_BLOCKS} {bound}) f
            WHERE NOT s.large AND {_WINDOW} AND {self.shown()} AND {self.unchanged}) r WHERE {self.after()}"""
        ]
        if self.scope is Scope.HOME:
            parts.append(self.followed("true"))
        return " UNION ALL ".join(parts)

    def sized(self) -> str:
        """The sources, and whether each has too many posts in the window to rank them all."""
        if self.backward:
            return "SELECT s.community_id, false AS large FROM sources s"
        return f"""SELECT s.community_id, (SELECT count(*) FROM (SELECT FROM views.feed f
            WHERE {self.part("s")} AND {_LIVE} AND {_BLOCKS} LIMIT {SMALL_POSTS_MAX} + 1) f) > {SMALL_POSTS_MAX}
            AS large FROM sources s WHERE {"%(rank)s::float8 > 0" if self.sort is Sort.HOT else "true"}"""

    def walk(self) -> str:
        """The blocks of the window in which the large sources have posts, the newest first."""

        def newest(source: str, more: str) -> str:
            return f"""(SELECT {_BLOCK} FROM views.feed f WHERE {self.part(source)} AND {_LIVE} AND {_BLOCKS} AND {more}
                ORDER BY {_BLOCK} DESC LIMIT 1)"""

        return f"""SELECT s.community_id, {newest("s", "true")} AS block FROM sized s WHERE s.large
            UNION ALL SELECT w.community_id, {newest("w", f"{_BLOCK} < w.block")} FROM walk w
            WHERE w.block IS NOT NULL"""

    def best_of_block(self, source: str, more: str, limit: str) -> str:
        """The posts of a block after the cursor, in the order of the index: the best score first."""
        after = self.after(self.rank(), "f.submitted_at", "f.post_id")
        return f"""SELECT {_SCORE} AS score, {self.rank()} AS rank, f.submitted_at, f.post_id FROM views.feed f
            WHERE {self.part(source)} AND {_LIVE} AND {_BLOCK} = {source}.block AND {more}
            AND {_passes(_WINDOW, self.shown(), self.unchanged, after)}
            ORDER BY {_SCORE} DESC, f.submitted_at DESC, f.post_id DESC {limit}"""

    def walked_top(self) -> dict[str, str]:
        """The best posts of the large sources by score."""
        more = f"{_SCORE} <= %(rank)s::bigint"
        return {
            "walk": self.walk(),
            "heads": f"""SELECT w.community_id, w.block, h.* FROM walk w
                CROSS JOIN LATERAL ({self.best_of_block("w", more, "LIMIT 1")}) h WHERE w.block IS NOT NULL
                {self.ordered("h.score", "h.submitted_at", "h.post_id")}""",
            "best": f"""SELECT f.rank, f.submitted_at, f.post_id FROM heads h
                CROSS JOIN LATERAL ({self.best_of_block("h", more, "LIMIT %(limit)s")}) f""",
        }

    def walked_hot(self) -> dict[str, str]:
        """The hottest posts of the large sources."""
        wear_most = formulas.wear(formulas.hours("w.block", _T))
        wear_least = formulas.wear(formulas.hours(f"(h.block + interval '{formulas.BLOCK}')", _T))
        # A post of a higher score is above the cursor, were it the oldest of its block: it was shown. Below 0.301, the
        # least magnitude, that is so of any score. Powers are kept within bigint, and rounded to the safe side.
        shown = f"%(rank)s::float8 * {wear_most}"
        highest = f"""CASE WHEN {shown} < 0.301 THEN -{_HIGHEST}
            ELSE ceil(power(10::float8, least(18, {shown})) * 1.000001)::bigint END"""
        reach = f"(SELECT rank FROM reach) * {wear_least}"
        lowest = f"""CASE WHEN {reach} <= 0.302 THEN -{_HIGHEST}
            ELSE floor(power(10::float8, least(18, {reach})) * 0.999999)::bigint - 3 END"""
        return {
            "walk": self.walk(),
            "heads": f"""SELECT w.community_id, w.block, h.* FROM walk w
                CROSS JOIN LATERAL ({self.best_of_block("w", f"{_SCORE} <= {highest}", "LIMIT 1")}) h
                WHERE w.block IS NOT NULL""",
            "reach": f"""SELECT coalesce((SELECT f.rank FROM (SELECT * FROM heads {self.ordered()}) h
                CROSS JOIN LATERAL ({self.best_of_block("h", f"{_SCORE} <= h.score", "LIMIT %(limit)s")}) f
                ORDER BY f.rank DESC OFFSET %(limit)s - 1 LIMIT 1), 0) AS rank""",
            "best": f"""SELECT f.rank, f.submitted_at, f.post_id FROM heads h
                CROSS JOIN LATERAL (
                    {self.best_of_block("h", f"{_SCORE} <= h.score AND {_SCORE} >= {lowest}", "")}) f
                WHERE {formulas.magnitude("h.score")} * 1.000000001 >= {reach}""",
        }

    def rising(self) -> str:
        """Posts that the votes of the last hour before ``now``, up to the position, added to."""
        there = "s.community_id = %(community)s::uuid" if self.scope is Scope.COMMUNITY else "true"
        return f"""SELECT * FROM (
            SELECT {formulas.rising("v.gained", "f.submitted_at", _T)} AS rank, f.submitted_at, f.post_id
            FROM (SELECT s.post_id, sum(s.up - s.down) AS gained FROM views.score_changes s
                WHERE s.target_id = s.post_id AND {there} AND s.occurred_at > {_RECENT} AND s.position <= {_P}
                GROUP BY s.post_id HAVING sum(s.up - s.down) > 0) v
            CROSS JOIN LATERAL (SELECT * FROM views.feed f WHERE f.post_id = v.post_id LIMIT 1) f
            WHERE {_LIVE} AND {self.shown()} AND {self.belongs()}) r WHERE {self.after()}"""

    def old(self) -> str:
        """Posts too old to be hot, the newest first, where the hot ones do not fill the page."""
        if self.backward:
            needed, time = "%(rank)s::float8 <= 0", "%(time)s::timestamptz"
        else:
            needed = "(SELECT count(*) FROM young) < %(limit)s"
            time = f"CASE WHEN %(rank)s::float8 > 0 THEN 'infinity'::timestamptz ELSE {_TIME} END"
        return f"SELECT * FROM ({self.by_time(f'f.submitted_at <= {_OLD}', time)}) o WHERE {needed}"

    def lead(self) -> str:
        """The sticky posts that lead: of the first page, and after it the same again."""
        shown = f"{_LIVE} AND f.position <= {_P} AND {not_blocked('f.author_id')} AND {self.belongs()}"
        return f"""(SELECT f.post_id, f.submitted_at FROM views.feed f
            WHERE %(lead)s::uuid[] IS NULL AND f.community_id = %(community)s::uuid AND f.sticky AND {shown}
            ORDER BY f.submitted_at DESC, f.post_id DESC LIMIT {LEADING_POSTS_MAX})
            UNION ALL SELECT f.post_id, f.submitted_at FROM views.feed f
            WHERE f.post_id = ANY(%(lead)s::uuid[]) AND {shown}"""

    def text(self) -> str:
        """The statement."""
        tables = {"sources": self.sources()}
        if self.sort not in {Sort.NEW, Sort.RISING}:
            tables["changed"] = self.changed()
        if self.leads:
            tables["lead"] = self.lead()
        found: list[str]
        match self.sort:
            case Sort.NEW:
                found = [self.by_time()]
            case Sort.RISING:
                found = [self.rising()]
            case Sort.CONTROVERSIAL:
                found = [self.indexed(formulas.contested("f.up", "f.down"), "f.up > 0 AND f.down > 0"), self.moved()]
            case Sort.TOP if not self.walked:
                found = [self.indexed(_SCORE, "true"), self.moved()]
            case _:
                tables["sized"] = self.sized()
                tables |= {} if self.backward else self.walked_top() if self.sort is Sort.TOP else self.walked_hot()
                found = [self.whole(), self.moved()] + ([] if self.backward else ["SELECT * FROM best"])
        if self.sort is Sort.HOT:
            tables["young"] = f"SELECT * FROM ({_union(found)}) r {self.ordered()}"
            found = ["SELECT * FROM young", self.old()]
        if self.leads:
            ranked = "SELECT 'infinity'::float8 AS rank, l.submitted_at, l.post_id FROM lead l"
            found.append(f"SELECT * FROM ({ranked}) r WHERE {self.after()}")
        tables["page"] = f"SELECT * FROM ({_union(found)}) r {self.ordered()}"
        # A post is shown with its text, so there is none where that is not there yet.
        at = as_of("feed", "posts", *(() if self.sort is Sort.NEW else ("score_changes",)), counts="feed")
        named = ",\n".join(
            [at, *(f"{name} AS {'' if name == 'walk' else 'MATERIALIZED '}({text})" for name, text in tables.items())]
        )
        lead = "(SELECT array_agg(l.post_id) FROM lead l)" if self.leads else "NULL::uuid[]"
        return f"""WITH RECURSIVE {named}
            SELECT {_P}, {lead}, g.rank::float8, f.up, f.down, f.comments, {columns(Post, "p")} FROM page g
            CROSS JOIN LATERAL (SELECT * FROM views.feed f WHERE f.post_id = g.post_id LIMIT 1) f
            CROSS JOIN LATERAL (SELECT * FROM views.posts p WHERE p.post_id = g.post_id LIMIT 1) p
            ORDER BY g.rank {self.order}, g.submitted_at {self.order}, g.post_id {self.order}"""


def _union(parts: list[str]) -> str:
    return " UNION ALL ".join(f"(SELECT rank::float8, submitted_at, post_id FROM ({part}) u)" for part in parts)


@cache
def statement(scope: Scope, sort: Sort, *, walked: bool, backward: bool) -> str:
    """The statement of a page. ``walked``: Top of a window so short that its blocks are walked.

    Parameters: viewer, community, now, from, until, position, lead, rank, time, id, limit. Rows: the position,
    the ids of leading sticky posts, the rank, up, down, comments, and the columns of the post.
    """
    return _Statement(scope, sort, walked, backward).text()
