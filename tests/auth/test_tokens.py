"""Access tokens: what is taken, and everything that is not."""

import base64
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from infra.tokens import AccessTokens, Claims, ExpiredToken, InvalidToken, fingerprint, new_refresh_token, successor
from tests.auth.world import SECRET, Clock, new_id

ACCOUNT, SESSION = new_id(), new_id()


def issuer(clock: Clock, *secrets: bytes, audience: str = "moot-api", name: str = "moot") -> AccessTokens:
    return AccessTokens(
        secrets or [SECRET], lifetime_seconds=900, skew_seconds=10, clock=clock, audience=audience, issuer=name
    )


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, claims, signature = token.split(".")
    return *(json.loads(base64.urlsafe_b64decode(text + "==")) for text in (header, claims)), signature  # type: ignore[return-value]


def test_round_trip_and_claims() -> None:
    clock = Clock()
    tokens = issuer(clock)
    token = tokens.issue(ACCOUNT, SESSION)
    clock.advance(899)
    read = tokens.read(token)
    assert read == Claims(ACCOUNT, SESSION, read.expires_at)
    header, claims, _ = parts(token)
    assert (header["alg"], header["typ"]) == ("HS256", "JWT")
    assert claims.keys() == {"iss", "aud", "sub", "sid", "jti", "iat", "exp"}
    assert claims["exp"] - claims["iat"] == 900
    assert parts(tokens.issue(ACCOUNT, SESSION))[1]["jti"] != claims["jti"]


def test_expires_and_forgives_the_skew() -> None:
    clock = Clock()
    tokens = issuer(clock)
    token = tokens.issue(ACCOUNT, SESSION)
    clock.advance(909)
    assert tokens.read(token).account_id == ACCOUNT
    clock.advance(1)
    with pytest.raises(ExpiredToken):
        tokens.read(token)


def test_not_from_the_future() -> None:
    clock = Clock()
    token = issuer(clock).issue(ACCOUNT, SESSION)
    clock.advance(-11)
    with pytest.raises(InvalidToken):
        issuer(clock).read(token)


def test_keys_rotate() -> None:
    clock, old, new = Clock(), b"o" * 32, b"n" * 32
    token = issuer(clock, old).issue(ACCOUNT, SESSION)
    assert issuer(clock, new, old).read(token).account_id == ACCOUNT
    assert parts(issuer(clock, new, old).issue(ACCOUNT, SESSION))[0]["kid"] != parts(token)[0]["kid"]
    with pytest.raises(InvalidToken):
        issuer(clock, new).read(token)
    with pytest.raises(ValueError, match="32 bytes"):
        issuer(clock, b"short")


def bad_tokens() -> dict[str, str]:
    clock = Clock()
    good = issuer(clock).issue(ACCOUNT, SESSION)
    header, claims, signature = parts(good)
    kid = header["kid"]
    key = OctKey.import_key(SECRET)
    foreign = OctKey.import_key(b"z" * 32)
    raw_header, raw_claims, _ = good.split(".")

    def signed(changed_header: dict[str, Any], changed: dict[str, Any], with_key: Any = key, alg: str = "HS256") -> str:
        return jwt.encode(changed_header, changed, with_key, algorithms=[alg])

    def without(name: str) -> dict[str, Any]:
        return {other: value for other, value in claims.items() if other != name}

    rsa = RSAKey.generate_key(2048)
    hs256 = {"alg": "HS256", "kid": kid}
    return {
        "empty": "",
        "not a token": "let me in",
        "two parts": f"{raw_header}.{raw_claims}",
        "four parts": good + ".x",
        "truncated": good[:-5],
        "truncated by one": good[:-1],
        "not ascii": good + "é",
        "half a surrogate": good + "\ud83d",
        "too long": good + "A" * 2000,
        "no signature": f"{raw_header}.{raw_claims}.",
        "alg none": f"{part({'alg': 'none', 'typ': 'JWT', 'kid': kid})}.{raw_claims}.",
        "alg None": f"{part({'alg': 'None', 'typ': 'JWT', 'kid': kid})}.{raw_claims}.{signature}",
        "alg missing": f"{part({'typ': 'JWT', 'kid': kid})}.{raw_claims}.{signature}",
        "alg not text": f"{part({'alg': 7, 'typ': 'JWT', 'kid': kid})}.{raw_claims}.{signature}",
        "header not an object": f"{part([1])}.{raw_claims}.{signature}",
        "hs512 with our key": signed({"alg": "HS512", "kid": kid}, claims, alg="HS512"),
        "rs256": signed({"alg": "RS256", "kid": kid}, claims, rsa, "RS256"),
        "another key, our kid": signed(hs256, claims, foreign),
        "our key, another kid": signed({"alg": "HS256", "kid": "0" * 16}, claims),
        "our key, no kid": signed({"alg": "HS256"}, claims),
        "our key, kid a number": f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 5})}.{raw_claims}.{signature}",
        "critical header": f"{part({**header, 'crit': ['b64'], 'b64': False})}.{raw_claims}.{signature}",
        "other kind of token": signed({**hs256, "typ": "at+jwt"}, claims),
        "somebody else's claims": f"{raw_header}.{part({**claims, 'sub': new_id()})}.{signature}",
        "other issuer": issuer(clock, name="other").issue(ACCOUNT, SESSION),
        "other audience": issuer(clock, audience="other").issue(ACCOUNT, SESSION),
        "claims not an object": f"{raw_header}.{part([claims])}.{signature}",
        "sub not an id": signed(hs256, {**claims, "sub": "ada"}),
        "sub not canonical": signed(hs256, {**claims, "sub": ACCOUNT.upper() + ""})
        if ACCOUNT.upper() != ACCOUNT
        else "",
        "exp a text": signed(hs256, {**claims, "exp": "tomorrow"}),
        "exp beyond all time": signed(hs256, {**claims, "exp": 10**18}),
        **{f"no {name}": signed(hs256, without(name)) for name in claims},
    }


BAD = bad_tokens()


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        issuer(Clock()).read(BAD[name])
    assert not isinstance(caught.value, ExpiredToken)
    assert BAD[name] == "" or BAD[name] not in str(caught.value)


def test_expired_and_forged_is_forged() -> None:
    clock = Clock()
    token = issuer(clock, b"z" * 32).issue(ACCOUNT, SESSION)
    clock.advance(5_000)
    with pytest.raises(InvalidToken) as caught:
        issuer(clock).read(token)
    assert type(caught.value) is InvalidToken


def test_refresh_tokens_have_256_bits_and_one_successor_for_each_retry_key() -> None:
    token = new_refresh_token()
    assert len(base64.urlsafe_b64decode(token + "=")) == 32
    assert new_refresh_token() != token
    follow = successor(SECRET, token, "a")
    assert follow == successor(SECRET, token, "a")
    assert len({follow, successor(SECRET, token, "b"), successor(b"k" * 32, token, "a"), token}) == 4
    assert len(fingerprint(token)) == 32
