"""Signing up, in and out over HTTP: what a client sends and gets, and what it never gets."""

import html
import re
from collections.abc import Iterator, Mapping
from http.cookies import SimpleCookie
from typing import Any
from uuid import uuid4

import httpx
import pytest
from msgspec import Struct

from read_api.sign_in import COOKIE
from tests.api.stack import Stack, serving

PASSWORD = "a tree on a hill"
SESSION = (
    "errors { code message field } accessToken expiresInSeconds retryAfterSeconds position account { name isViewer }"
)
SIGN_UP = f"mutation ($input: SignUpInput!) {{ signUp(input: $input) {{ {SESSION} }} }}"
SIGN_IN = f"mutation ($input: SignInInput!) {{ signIn(input: $input) {{ {SESSION} }} }}"
REFRESH = f"mutation ($input: RefreshSessionInput!) {{ refreshSession(input: $input) {{ {SESSION} }} }}"
SIGN_OUT = "mutation ($input: SignOutInput!) { signOut(input: $input) { errors { code } sessionsEnded } }"
CONFIRM = (
    "mutation ($input: ConfirmEmailInput!) { confirmEmail(input: $input) { errors { code field } account { name } } }"
)
ASK_MAIL = (
    "mutation ($input: RequestEmailConfirmationInput!) "
    "{ requestEmailConfirmation(input: $input) { errors { code } sent } }"
)
WHO = "{ viewer { account { name } } }"


class Answer(Struct, frozen=True):
    """What a request got."""

    response: httpx.Response

    @property
    def json(self) -> dict[str, Any]:
        return self.response.json()  # type: ignore[no-any-return]

    @property
    def payload(self) -> dict[str, Any]:
        assert "errors" not in self.json, self.json
        return next(iter(self.json["data"].values()))  # type: ignore[no-any-return]

    @property
    def codes(self) -> list[str]:
        return [error["code"] for error in self.payload["errors"]]

    @property
    def cookie(self) -> str | None:
        """The refresh token that came; empty if the cookie was taken away, ``None`` if nothing was said."""
        morsels = SimpleCookie(", ".join(self.response.headers.get_list("set-cookie")))
        return morsels[COOKIE].value if COOKIE in morsels else None


class Site:
    """A client of the running server, and a person whose name nobody else has."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.http = httpx.Client(base_url=stack.url, timeout=30)
        self.name = new_name()
        self.email = f"{self.name}@example.org"

    def ask(self, query: str, token: str | None = None, cookie: str | None = None, /, **given: Any) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        if cookie is not None:
            headers["Cookie"] = f"{COOKIE}={cookie}"
        body = {"query": query, "variables": {"input": given}}
        return Answer(self.http.post("/graphql", json=body, headers=headers))

    def sign_up(self, **given: Any) -> Answer:
        return self.ask(SIGN_UP, **{"name": self.name, "email": self.email, "password": PASSWORD, **given})

    def who(self, token: str | None) -> Answer:
        return self.ask(WHO, token)

    def head(self) -> int:
        return self.stack.run(self.stack.moot.store.head())  # type: ignore[no-any-return]


def new_name() -> str:
    return f"ada_{uuid4().hex[:12]}"


@pytest.fixture
def site(stack: Stack) -> Iterator[Site]:
    client = Site(stack)
    with client.http:
        yield client


def refused_at_the_door(answer: Answer, reason: str) -> None:
    (error,) = answer.json["errors"]
    assert (error["extensions"]["code"], error["extensions"]["reason"]) == ("UNAUTHENTICATED", reason)


def test_a_first_session(site: Site) -> None:
    """Sign up, be somebody, refresh, sign out: the way of one person."""
    up = site.sign_up()
    assert up.payload["errors"] == []
    assert up.payload["account"] == {"name": site.name, "isViewer": True}
    assert up.payload["expiresInSeconds"] == 900
    assert up.payload["position"]
    assert up.cookie
    assert site.who(up.payload["accessToken"]).payload == {"account": {"name": site.name}}
    for identifier in (site.name, site.email.upper()):
        again = site.ask(SIGN_IN, nameOrEmail=identifier, password=PASSWORD)
        assert again.payload["account"] == {"name": site.name, "isViewer": True}
        assert again.cookie not in {None, "", up.cookie}
    fresh = site.ask(REFRESH, None, up.cookie)
    assert fresh.payload["account"]["name"] == site.name
    assert fresh.cookie not in {None, "", up.cookie}
    out = site.ask(SIGN_OUT, fresh.payload["accessToken"])
    assert (out.payload, out.cookie) == ({"errors": [], "sessionsEnded": 1}, "")
    for token in (up.payload["accessToken"], fresh.payload["accessToken"]):
        refused_at_the_door(site.who(token), "SESSION_ENDED")
    assert site.ask(REFRESH, None, fresh.cookie).codes == ["SESSION_ENDED"]


def test_the_cookie_and_the_body(site: Site) -> None:
    up = site.sign_up()
    (cookie,) = up.response.headers.get_list("set-cookie")
    value, *attributes = cookie.split("; ")
    assert value.startswith("__Host-moot-refresh=")
    age, *flags = attributes
    assert 604_790 <= int(age.removeprefix("Max-Age=")) <= 604_800
    assert flags == ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"]
    assert up.cookie
    assert up.cookie not in up.response.text
    assert up.response.headers["cache-control"] == "no-store"
    out = site.ask(SIGN_OUT, None, up.cookie)
    assert out.payload["sessionsEnded"] == 1
    assert "Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict" in out.response.headers["set-cookie"]
    refused_at_the_door(site.who(up.payload["accessToken"]), "SESSION_ENDED")


def test_reuse_of_a_refresh_token_signs_the_thief_out_too(site: Site) -> None:
    up = site.sign_up()
    thief = site.ask(REFRESH, None, up.cookie)
    assert thief.codes == []
    owner = site.ask(REFRESH, None, up.cookie)
    assert (owner.codes, owner.cookie) == (["SESSION_ENDED"], "")
    refused_at_the_door(site.who(thief.payload["accessToken"]), "SESSION_ENDED")
    assert site.ask(REFRESH, None, thief.cookie).codes == ["SESSION_ENDED"]
    # A retry with the key of the first attempt is no reuse.
    signed_in = site.ask(SIGN_IN, nameOrEmail=site.name, password=PASSWORD)
    first = site.ask(REFRESH, None, signed_in.cookie, idempotencyKey="mine")
    retry = site.ask(REFRESH, None, signed_in.cookie, idempotencyKey="mine")
    assert first.cookie == retry.cookie
    assert site.who(retry.payload["accessToken"]).payload == {"account": {"name": site.name}}


def test_sign_out_everywhere(site: Site) -> None:
    up = site.sign_up()
    other = site.ask(SIGN_IN, nameOrEmail=site.name, password=PASSWORD)
    assert site.ask(SIGN_OUT, None, other.cookie, everywhere=True).codes == ["UNAUTHENTICATED"]
    out = site.ask(SIGN_OUT, up.payload["accessToken"], everywhere=True)
    assert out.payload["sessionsEnded"] == 2
    for answer in (up, other):
        refused_at_the_door(site.who(answer.payload["accessToken"]), "SESSION_ENDED")
    assert site.ask(SIGN_OUT).payload == {"errors": [], "sessionsEnded": 0}


def test_sessions_are_listed_and_ended_from_afar(site: Site) -> None:
    listing = "{ viewer { sessions { id client current begunAt usedAt expiresAt } } }"
    end = "mutation ($input: EndSessionInput!) { endSession(input: $input) { errors { code field } ended } }"
    site.http.headers["User-Agent"] = "A telephone"
    lost = site.sign_up().payload["accessToken"]
    site.http.headers["User-Agent"] = "A desk"
    here = site.ask(SIGN_IN, nameOrEmail=site.name, password=PASSWORD).payload["accessToken"]
    sessions = site.ask(listing, here).payload["sessions"]
    assert [(session["client"], session["current"]) for session in sessions] == [
        ("A desk", True),
        ("A telephone", False),
    ]
    stranger = Site(site.stack)
    with stranger.http:
        token = stranger.sign_up().payload["accessToken"]
        assert stranger.ask(end, token, sessionId=sessions[1]["id"]).payload == {"errors": [], "ended": False}
    assert site.ask(end, sessionId=sessions[1]["id"]).codes == ["UNAUTHENTICATED"]
    for bad in ("", "x", sessions[1]["id"].upper() + "\n", "\x00"):
        assert site.ask(end, here, sessionId=bad).payload["errors"] == [
            {"code": "INVALID_ID", "field": ["input", "sessionId"]}
        ]
    assert site.who(lost).payload == {"account": {"name": site.name}}
    assert site.ask(end, here, sessionId=sessions[1]["id"]).payload == {"errors": [], "ended": True}
    refused_at_the_door(site.who(lost), "SESSION_ENDED")
    assert [session["client"] for session in site.ask(listing, here).payload["sessions"]] == ["A desk"]


def test_unknown_accounts_and_wrong_passwords_look_alike(site: Site) -> None:
    site.sign_up()
    answers = [
        site.ask(SIGN_IN, nameOrEmail=identifier, password=password)
        for identifier, password in (
            (site.name, "not her password"),
            ("nobody", PASSWORD),
            ("nobody@example.org", PASSWORD),
            ("ada@example.org", ""),
            ("", ""),
            ("\x00", "\x00"),
        )
    ]
    assert {answer.response.text for answer in answers} == {answers[0].response.text}
    assert answers[0].codes == ["CREDENTIALS_INVALID"]
    assert {answer.cookie for answer in answers} == {None}


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"name": "x"}, "TOO_SHORT", "name"),
        ({"name": "admin"}, "NAME_RESERVED", "name"),
        ({"name": "\u0430da"}, "NAME_INVALID", "name"),
        ({"name": "a\x00da"}, "NAME_INVALID", "name"),
        ({"displayName": "x" * 51}, "TOO_LONG", "displayName"),
        ({"displayName": "a\x07b"}, "INVALID_CHARACTERS", "displayName"),
        ({"email": "ada"}, "EMAIL_INVALID", "email"),
        ({"email": "ada@example.org\nBcc: x@example.org"}, "EMAIL_INVALID", "email"),
        ({"password": "short"}, "TOO_SHORT", "password"),
        ({"password": "x y z " * 50}, "TOO_LONG", "password"),
        ({"password": "a tree\x00on a hill"}, "INVALID_CHARACTERS", "password"),
        ({"password": "Password123!"}, "PASSWORD_TOO_WEAK", "password"),
        ({"idempotencyKey": ""}, "IDEMPOTENCY_KEY_INVALID", "idempotencyKey"),
        ({"idempotencyKey": "k" * 201}, "IDEMPOTENCY_KEY_INVALID", "idempotencyKey"),
    ],
)
def test_sign_ups_that_are_refused(site: Site, given: Mapping[str, str], code: str, field: str) -> None:
    head = site.head()
    answer = site.sign_up(**given)
    (error,) = answer.payload["errors"]
    assert (error["code"], error["field"]) == (code, ["input", field])
    assert answer.payload["accessToken"] is None
    assert answer.cookie is None
    assert site.head() == head
    assert site.sign_up().codes == [], "nothing is left of it"


def test_taken_and_repeated(site: Site) -> None:
    first = site.sign_up(idempotencyKey="once")
    again = site.sign_up(idempotencyKey="once")
    assert again.payload["account"] == first.payload["account"]
    assert again.payload["position"] == first.payload["position"]
    assert site.sign_up(name=site.name.upper(), email=f"{new_name()}@example.org").codes == ["NAME_TAKEN"]
    assert site.sign_up(name=new_name(), email=site.email.upper()).codes == ["EMAIL_TAKEN"]
    assert site.sign_up(idempotencyKey="once", password="b tree on a hill").codes == ["CREDENTIALS_INVALID"]


def test_too_many_attempts_say_how_long_to_wait(site: Site) -> None:
    """By aliases of one request as much as by many requests."""
    site.sign_up()
    allowed = site.stack.moot.settings.sign_ins_per_account_max
    guesses = " ".join(
        f'g{n}: signIn(input: {{nameOrEmail: "{site.name}", password: "{n}"}}) {{ {SESSION} }}'
        for n in range(allowed + 2)
    )
    answers = site.http.post("/graphql", json={"query": f"mutation {{ {guesses} }}"}).json()["data"]
    codes = [answers[f"g{n}"]["errors"][0]["code"] for n in range(allowed + 2)]
    assert codes == ["CREDENTIALS_INVALID"] * allowed + ["TOO_MANY_REQUESTS"] * 2
    assert 1 <= answers[f"g{allowed}"]["retryAfterSeconds"] <= 30
    refused = site.ask(SIGN_IN, nameOrEmail=site.name, password=PASSWORD)
    assert refused.codes == ["TOO_MANY_REQUESTS"], "also with the right password"


def test_sign_ups_from_one_address_are_limited(stack: Stack) -> None:
    """Another server over the same data, with a limit of its own."""
    limited = stack.moot.settings.model_copy(update={"sign_ups_per_address_max": 1})
    with serving(limited) as other:
        stack.run(stack.moot.redis.flushdb())
        site = Site(other)
        with site.http:
            assert site.sign_up().codes == []
            refused = site.sign_up(name=new_name(), email=f"{new_name()}@example.org")
            assert refused.codes == ["TOO_MANY_REQUESTS"]
            assert refused.payload["retryAfterSeconds"] >= 1
        stack.run(stack.moot.redis.flushdb())


def test_an_address_is_confirmed_from_the_mail_page(site: Site) -> None:
    token = site.sign_up().payload["accessToken"]
    assert site.ask(ASK_MAIL, token).payload == {"errors": [], "sent": True}
    assert site.ask(ASK_MAIL).codes == ["UNAUTHENTICATED"]
    listed = site.http.get("/mail")
    mine = [row for row in listed.text.split("<tr>") if site.email in row]
    assert len(mine) == 2
    shown = site.http.get(re.findall(r'href="(/mail/\d+)"', mine[0])[0])
    code = re.findall(r"^    ([\w-]{22})$", shown.text, re.MULTILINE)[0]
    wrong = site.ask(CONFIRM, code="x" + code[1:-1])
    assert wrong.payload["errors"] == [{"code": "CONFIRMATION_INVALID", "field": ["input", "code"]}]
    (to_copy,) = re.findall(r"^ *(mutation .*)$", html.unescape(shown.text), re.MULTILINE)
    assert site.ask(to_copy).payload == {"errors": []}, "what the mail says to send works as it stands"
    assert site.ask(CONFIRM, code=code).payload == {"errors": [], "account": {"name": site.name}}
    assert site.ask(ASK_MAIL, token).payload == {"errors": [], "sent": False}


def test_tokens_that_are_none(site: Site) -> None:
    """Nobody is taken for a visitor because his token is bad; and a refused token changes nothing."""
    token = site.sign_up().payload["accessToken"]
    head = site.head()
    for bad in ("x", token[:-3], token + "x", token.replace(".", ""), "é"):
        answer = site.http.post(
            "/graphql",
            json={"query": "mutation { signOut(input: {everywhere: true}) { sessionsEnded } }"},
            headers={"Authorization": f"Bearer {bad}".encode()},
        )
        refused_at_the_door(Answer(answer), "INVALID_TOKEN")
    assert site.head() == head
    assert site.who(token).payload == {"account": {"name": site.name}}
    for cookie in ("", "x", "%00", '"', "a" * 5000):
        assert site.ask(REFRESH, None, cookie).codes == ["SESSION_ENDED"]


def test_no_form_of_another_site_can_refresh(site: Site) -> None:
    up = site.sign_up()
    query = "mutation { refreshSession(input: {}) { accessToken } }"
    cookie = {"Cookie": f"{COOKIE}={up.cookie}"}
    as_form = site.http.post("/graphql", data={"query": query}, headers=cookie)
    as_text = site.http.post(
        "/graphql", content=f'{{"query": "{query}"}}', headers={**cookie, "Content-Type": "text/plain"}
    )
    by_link = site.http.get("/graphql", params={"query": query}, headers=cookie)
    assert [answer.status_code for answer in (as_form, as_text, by_link)] == [415, 415, 405]
    assert site.ask(REFRESH, None, up.cookie).codes == []
