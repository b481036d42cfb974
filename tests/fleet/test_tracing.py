"""One mutation is one trace: through the API, the store, the relay, Kafka's headers, a worker and to the subscriber."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from domain.ids import derived
from infra.embedded import Engines
from infra.log_memory import MemoryLog
from infra.log_records import EVENT_TOPICS, TRACEPARENT, names
from infra.migrate import migrate
from infra.postgres import connect
from infra.settings import ROOT
from infra.telemetry import tracing
from infra.telemetry.tracing import Place
from projections.catalogue import ALL
from schemas.topics import place
from streams.partitions import Delivery, PartitionFolder, join_fleet
from tests.api.stack import Client, Stack
from tests.fleet.spans import Collected, collecting, parents
from tests.live.conftest import served
from tests.live.forum import a_community, submit_post, vote
from tests.live.socket import signed_in
from tests.live.watching import SCORE, told
from tests.relay.world import History, declare, reached, relaying, store_of
from tests.serving import environment


@pytest.fixture
def collected() -> Iterator[Collected]:
    with collecting() as found:
        yield found


@pytest.fixture
def stack(engines: Engines, collected: Collected) -> Iterator[Stack]:
    """The served stack, traced."""
    with served(engines) as running:
        yield running


def test_one_mutation_is_one_trace_from_the_request_to_the_push(stack: Stack, collected: Collected) -> None:
    trace, caller = uuid4().hex, "00f067aa0ba902b7"

    async def scene(ada: Client) -> None:
        post = await told(lambda: submit_post(ada, a_community(ada)))
        async with signed_in(stack, ada) as socket:
            await socket.subscribe("s", SCORE, variables={"id": post})
            await socket.next("s")
            ada.http.headers["traceparent"] = f"00-{trace}-{caller}-01"
            await told(vote, ada, post)
            assert (await socket.next("s"))["scoreChanged"]["score"] == {"up": 1, "down": 0}

    with Client(stack) as ada:
        asyncio.run(scene(ada.appear()))
    spans = collected.wait(
        trace, "http.request", "command", "store.append", "view.fold", "view.commit", "signal", "push"
    )
    assert parents(spans) == {
        "http.request": None,
        "command": "http.request",
        "store.append": "command",
        "view.fold": "store.append",
        "view.commit": "view.fold",
        "signal": "view.fold",
        "push": "view.fold",
    }
    first = spans["http.request"]
    assert first.parent is not None
    assert f"{first.parent.span_id:016x}" == caller
    assert spans["command"].attributes is not None
    assert spans["command"].attributes["moot.command"] == "CastVote"
    assert spans["command"].attributes["moot.outcome"] == "done"


def test_the_request_id_of_an_answer_leads_to_its_trace(stack: Stack, collected: Collected) -> None:
    trace = uuid4().hex
    with Client(stack) as visitor:
        plain = visitor.http.get("/healthz")
        named = visitor.http.get("/healthz", headers={"X-Request-Id": "somebodys-own-word"})
        traced = visitor.http.get("/healthz", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    for answer in (plain, traced):
        assert collected.wait(answer.headers["x-request-id"].replace("-", ""), "http.request")
    assert traced.headers["x-request-id"].replace("-", "") == trace
    assert named.headers["x-request-id"] == "somebodys-own-word"
    assert collected.wait(derived("request", "somebodys-own-word").replace("-", ""), "http.request")


NAME = "nobody_of_that_name"
SIGN_IN = "mutation($i: SignInInput!) { signIn(input: $i) { errors { code } } }"


def test_the_queries_of_a_request_are_below_its_span_without_their_values(engines: Engines) -> None:
    trace = uuid4().hex
    connect_before = vars(psycopg.AsyncConnection)["connect"]
    with collecting(queries=True) as collected:
        with served(engines) as running, Client(running) as visitor:
            visitor.http.headers["traceparent"] = f"00-{trace}-00f067aa0ba902b7-01"
            visitor.ask(SIGN_IN, i={"nameOrEmail": NAME, "password": NAME})
        spans = collected.of(trace)
        every = collected.all()
    (request,) = [span for span in spans if span.name == "http.request"]
    assert request.kind is SpanKind.SERVER
    assert request.attributes is not None
    assert request.attributes["http.request.method"] == "POST"
    assert request.attributes["url.path"] == "/graphql"
    assert request.attributes["http.response.status_code"] == 200
    below = [span for span in spans if span.parent is not None and span.parent.span_id == request.context.span_id]
    systems = {span.attributes["db.system.name"] for span in below if span.attributes and span.kind is SpanKind.CLIENT}
    assert systems == {"postgresql", "redis"}
    texts = {
        str(span.attributes["db.query.text"]) for span in below if span.attributes and span.kind is SpanKind.CLIENT
    }
    assert any("FROM people.credentials" in text for text in texts)
    assert not any(NAME in span.to_json() for span in every)
    # What nobody's request has asked for - the runner, probes of connections, subscriptions - is in no trace.
    assert all(span.parent is not None for span in every if span.kind is SpanKind.CLIENT)
    assert vars(psycopg.AsyncConnection)["connect"] is connect_before


def test_a_query_that_fails_tells_how_without_what_it_was_about(database: str) -> None:
    trace = uuid4().hex
    with collecting(queries=True) as collected, connect(database) as connection:
        with pytest.raises(psycopg.DataError, match=NAME), tracing.request("http.request", trace):
            connection.execute("SELECT %s::integer", (NAME,))
        query = next(span for span in collected.of(trace) if span.kind is SpanKind.CLIENT)
    assert query.attributes is not None
    assert query.attributes["error.type"] == "InvalidTextRepresentation"
    assert query.status.status_code is StatusCode.ERROR
    assert NAME not in query.to_json()


def test_a_trace_that_is_not_kept_has_no_queries_either(engines: Engines) -> None:
    with collecting(queries=True, ratio=0.0) as collected:
        with served(engines) as running, Client(running) as visitor:
            visitor.ask(SIGN_IN, i={"nameOrEmail": NAME, "password": NAME})
        assert collected.all() == []


def test_without_a_collector_the_libraries_are_not_even_read() -> None:
    script = """
import sys
import read_api.app, streams.cli, streams.cli.api, streams.cli.worker, streams.serving
print(*(name for name in sys.modules if name.startswith((
    "opentelemetry.instrumentation", "opentelemetry.sdk.trace", "opentelemetry.exporter", "wrapt"))))
"""
    done = subprocess.run([sys.executable, "-P", "-c", script], cwd=ROOT, env=environment(PYTHONPATH=str(ROOT)),
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_the_relay_sends_the_trace_along_and_a_worker_goes_on_with_it(database: str, collected: Collected) -> None:
    migrate(database)
    history, log = History(database), MemoryLog()
    declare(log)
    head = history.grow(60)
    with relaying(database, log) as relay:
        reached(relay, head)
    with store_of(database) as store:
        events = store.read_sync(0, head)
    by_position = {event.position: event for event in events}
    headers = {}
    for page in log.read(log.ends(names(EVENT_TOPICS))):
        for record in page:
            found = dict(record.headers)
            headers[int(found["position"])] = found[TRACEPARENT].decode()
    for position, traceparent in headers.items():
        meta = by_position[position].meta
        appended = tracing.place_of(meta.correlation_id, meta.command_id)
        assert appended is not None
        assert traceparent == appended.after("relay").traceparent
    folder = PartitionFolder(ALL.values())
    last = events[-1]
    partition = place(last).number
    with connect(database) as connection:
        join_fleet(connection, list(ALL.values()))
        folder.look(connection, [partition])
        list(folder.take(connection, [Delivery(partition, [last])]))
    spans = collected.wait(last.meta.correlation_id.replace("-", ""), "view.fold", "view.commit")
    folded = spans["view.fold"].parent
    assert folded is not None
    assert Place(folded.trace_id, folded.span_id).traceparent == headers[last.position]
    history.close()


def test_a_batch_adds_to_so_many_traces_and_no_more(database: str) -> None:
    migrate(database)
    history, log = History(database), MemoryLog()
    declare(log)
    with collecting(batch_max=3) as collected, relaying(database, log) as relay:
        history.grow(200)
        reached(relay, history.grow(200))
    history.close()
    sent = Counter((span.start_time, span.end_time) for span in collected.all() if span.name == "relay.send")
    assert sent
    assert max(sent.values()) <= 3


def test_a_ratio_keeps_the_same_traces_everywhere_and_about_as_many() -> None:
    ids = [(str(uuid4()), str(uuid4())) for _ in range(4000)]
    with collecting(ratio=0.25):
        kept = [tracing.place_of(*one) is not None for one in ids]
        assert kept == [tracing.place_of(one, str(uuid4())) is not None for one, _ in ids]
    assert 800 < sum(kept) < 1200
    with collecting(ratio=0.0):
        assert not any(tracing.place_of(*one) for one in ids)


def test_without_a_collector_nothing_is_recorded_or_remembered() -> None:
    assert not tracing.enabled()
    assert tracing.place_of(str(uuid4()), str(uuid4())) is None
    with tracing.request("http.request", uuid4().hex), tracing.span("command") as recording:
        recording.set("outcome", "done")
        assert tracing.current_trace() is not None
    assert tracing.current_trace() is None
    assert not tracing.Announcement()


@pytest.mark.parametrize(
    "header",
    ["", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
     "00-" + "a" * 32 + "-0000000000000000-01", "00-" + "A" * 32 + "-" + "b" * 16 + "-01", "nonsense"],
)  # fmt: skip
def test_what_is_no_traceparent_is_passed_over(header: str) -> None:
    assert tracing.parsed(header) is None


def test_a_place_and_its_header_are_the_same() -> None:
    here = Place(int(uuid4().hex, 16), 7)
    assert tracing.parsed(here.traceparent) == here
    assert here.after("relay") == here.after("relay") != here.after("worker")


def test_what_signals_told_is_bounded_and_nonsense_is_passed_over() -> None:
    with collecting() as collected:
        here = Place(int(uuid4().hex, 16), 7)
        tracing.heard(b"nonsense 5=x =  17=" + here.traceparent.encode())
        tracing.pushed([16, 17], 1, followers=2)
        for position in range(tracing.PLACES_MAX + 5):
            tracing.heard(f"{position}={here.traceparent}".encode())
        assert len(tracing._heard) == tracing.PLACES_MAX
        assert [span.name for span in collected.all()] == ["push"]
