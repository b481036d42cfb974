"""Requests that are not what they should be, and what every answer carries."""

import socket
import zlib
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from read_api.json_reasons import INVALID, LONE_SURROGATE, NOT_UTF8, TOO_DEEP, TOO_MANY_FIELDS
from tests.api.stack import Client, Stack

JSON = {"content-type": "application/json"}
MODERN = {**JSON, "accept": "application/graphql-response+json"}


def code(answer: httpx.Response) -> str:
    found: str = answer.json()["errors"][0]["extensions"]["code"]
    return found


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", JSON, 400),
        (b"[]", JSON, 400),
        (b'"text"', JSON, 400),
        (b"null", JSON, 400),
        (b"{", JSON, 400),
        (b'{"query": "\xff\xfe"}', JSON, 400),
        (b'{"query": "{ __typename }"}\x00', JSON, 400),
        (b'{"query": null}', JSON, 400),
        (b'{"query": "{ __typename }", "variables": []}', JSON, 400),
        (b'[{"query": "{ __typename }"}]', JSON, 400),
        (b'{"query": "{ __typename }"}', {"content-type": "text/plain"}, 415),
        (b'{"query": "{ __typename }"}', {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b'{"query": "{ __typename }"}', {"content-type": "multipart/form-data; boundary=x"}, 415),
        (b'{"query": "{ __typename }"}', {"content-type": "application/json; charset=utf-16"}, 415),
        (b'{"query": "{ __typename }"}', {**JSON, "accept": "text/plain"}, 406),
        (b'{"query": "{ __typename }"}', {**JSON, "authorization": "Basic dTpw"}, 401),
        (b'{"query": "{ __typename }"}', {**JSON, "authorization": "Bearer"}, 401),
        (b'{"query": "{ __typename }"}', {**JSON, "authorization": "Bearer nonsense"}, 401),
        (b'{"query": "{ __typename }"}', {**JSON, "authorization": "Bearer " + "x" * 5000}, 401),
        (b'{"query": "{ __typename }"}', {**JSON, "moot-position": "nonsense"}, 400),
        (b'{"query": "{ __typename }", "extensions": {"position": 7}}', JSON, 400),
        (b'{"query": "subscription { __typename }"}', JSON, 200),
        (b'{"query": "{ a: __typename"}', MODERN, 400),
        (b'{"query": "query A { __typename } query B { __typename }"}', MODERN, 400),
        (b'{"query": "query A { __typename }", "operationName": "B"}', MODERN, 400),
        (b'{"query": "{ \\u0000 }"}', MODERN, 400),
        (b'{"query": "' + b"{a" * 2_000 + b'"}', MODERN, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"query": "{ __typename }", "variables": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001, JSON, 400),
    ],
)
def test_a_request_that_is_wrong_is_told_why(
    visitor: Client, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = visitor.http.post("/graphql", content=body, headers=headers)
    assert answer.status_code == status
    error = answer.json()["errors"][0]
    assert error["message"]
    assert error["extensions"]["requestId"] == answer.headers["x-request-id"]
    assert "data" not in answer.json()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"query": "\\ud800"}', LONE_SURROGATE),
        (b'{"query": "\\ud800x"}', LONE_SURROGATE),
        (b'{"query": "\\udc00"}', LONE_SURROGATE),
        (b'{"query": "\xff\xfe"}', NOT_UTF8),
        (b'{"query": "{ __typename }", "variables": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001, TOO_DEEP),
        (b"{", INVALID),
    ],
)
def test_texts_that_are_no_json_are_told_so_in_words_of_our_own(visitor: Client, body: bytes, said: str) -> None:
    answer = visitor.http.post("/graphql", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"] == f"The body is not a GraphQL request. {said}"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("query=%ff", NOT_UTF8),
        ('query={__typename}&variables={"a":"%5Cud800"}', LONE_SURROGATE),
        ("query={__typename}&variables=" + '{"a":' * 2_000, TOO_DEEP),
        ("query={__typename}&variables={", INVALID),
        ("query={__typename}" + "&x=1" * 30, TOO_MANY_FIELDS),
    ],
)
def test_so_are_those_in_a_url(visitor: Client, query: str, said: str) -> None:
    answer = visitor.http.get(f"/graphql?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"] == f"The URL is not a GraphQL request. {said}"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/mail", "/graphql/static/moot.js"])
def test_methods_that_other_addresses_do_not_take(visitor: Client, path: str) -> None:
    answer = visitor.http.post(path, json={})
    assert (answer.status_code, code(answer)) == (405, "BAD_REQUEST")
    assert "GET" in answer.headers["allow"]


def test_a_subscription_over_http_is_told_what_is_taken(visitor: Client) -> None:
    text = 'subscription { scoreChanged(targetId: "x") { cursor } }'
    answer = visitor.http.post("/graphql", json={"query": text})
    assert answer.status_code == 405, answer.text
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(visitor: Client, method: str) -> None:
    answer = visitor.http.request(method, "/graphql", json={"query": "{ __typename }"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


def test_mutations_do_not_run_by_get(visitor: Client) -> None:
    answer = visitor.http.get("/graphql", params={"query": "mutation { __typename }"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_a_large_body_is_refused_before_it_is_read(stack: Stack) -> None:
    place = urlsplit(stack.url)
    limit = stack.moot.settings.graphql_body_bytes_max
    for framing, body in (
        (f"Content-Length: {limit + 1}", b""),
        ("Content-Length: 99999999999999999999999", b""),
        ("Transfer-Encoding: chunked", b"%x\r\n" % (limit + 1) + b"x" * (limit + 1) + b"\r\n"),
    ):
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as connection:
            head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
            connection.sendall(head.encode() + body)
            # The body never ends, so an answer at all shows that nobody waited for the rest of it.
            assert connection.recv(12) in (b"HTTP/1.1 413", b"HTTP/1.1 400"), framing


def test_a_large_body_has_the_code_of_the_other_limits(visitor: Client, stack: Stack) -> None:
    answer = visitor.http.post(
        "/graphql", content=b" " * (stack.moot.settings.graphql_body_bytes_max + 1), headers=JSON
    )
    assert (answer.status_code, code(answer)) == (413, "QUERY_TOO_COMPLEX")


def test_a_compressed_body_is_not_inflated(visitor: Client) -> None:
    body = zlib.compress(b'{"query": "{ __typename }"}')
    for encoding in ("deflate", "gzip", "br", "identity, deflate"):
        answer = visitor.http.post("/graphql", content=body, headers={**JSON, "content-encoding": encoding})
        assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    plain = visitor.http.post(
        "/graphql", content=b'{"query": "{ __typename }"}', headers={**JSON, "content-encoding": "identity"}
    )
    assert plain.json() == {"data": {"__typename": "Query"}}


def test_every_answer_has_a_request_id_and_strict_headers(visitor: Client) -> None:
    for path in ("/graphql?query={__typename}", "/healthz", "/nothing-here", "/graphql/static/moot.js"):
        answer = visitor.http.get(path, headers={"x-request-id": "chosen-by-client"})
        assert answer.headers["x-request-id"] == "chosen-by-client", path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert "default-src 'none'" in answer.headers["content-security-policy"], path


def test_a_request_id_that_is_no_plain_word_is_replaced(visitor: Client) -> None:
    for given in ("short", "x" * 65, "with space in", "<script>alert"):
        answer = visitor.http.get("/healthz", headers={"x-request-id": given})
        assert answer.headers["x-request-id"] != given


def test_health(visitor: Client) -> None:
    assert visitor.http.get("/healthz").json() == {"status": "ok"}
    ready = visitor.http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ok", "checks": {"postgres": True, "redis": True}}


def test_what_is_nowhere_is_said_in_the_same_shape(visitor: Client) -> None:
    answer = visitor.http.get("/nothing-here")
    assert (answer.status_code, code(answer)) == (404, "NOT_FOUND")


def test_media_types(visitor: Client) -> None:
    def asked(accept: str | None) -> str:
        headers: dict[str, Any] = {**JSON, "accept": accept} if accept is not None else JSON
        answer = visitor.http.post("/graphql", content=b'{"query": "{ __typename }"}', headers=headers)
        assert answer.status_code == 200
        return answer.headers["content-type"].removesuffix("; charset=utf-8")

    assert asked("application/graphql-response+json") == "application/graphql-response+json"
    assert asked("application/graphql-response+json, application/json;q=0.9") == "application/graphql-response+json"
    assert asked("application/json, application/graphql-response+json;q=0.5") == "application/json"
    assert asked("text/html, */*;q=0.1") == "application/json"
    assert asked("application/json;q=nonsense, application/*") == "application/json"


def test_graphiql_comes_from_this_server_alone(visitor: Client) -> None:
    answer = visitor.http.get("/graphql", headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    page = answer.text
    assert "http" not in page.replace("http-equiv", "")
    sources = [part.split('"')[0] for part in page.replace('href="', 'src="').split('src="')[1:]]
    files = [source for source in sources if source.startswith("/")]
    assert len(files) == 7
    for file in files:
        found = visitor.http.get(file)
        assert found.status_code == 200, file
        assert len(found.content) > 50, file


def test_other_sites_are_not_let_in(visitor: Client) -> None:
    answer = visitor.http.post(
        "/graphql", json={"query": "{ __typename }"}, headers={"origin": "https://elsewhere.example"}
    )
    assert "access-control-allow-origin" not in answer.headers
