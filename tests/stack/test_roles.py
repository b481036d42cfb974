"""A fleet as its operator meets it: set up by three commands, any number of each role, one trace through them."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infra.stack import Stack
from tests.api.stack import Client
from tests.live.forum import a_community, submit_post, vote
from tests.live.socket import signed_in
from tests.live.watching import SCORE, told
from tests.stack.roles import Roles, until


class Collector:
    """Takes spans by OTLP over HTTP, as the real one does."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        """With the role that sent each."""
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    about = {each.key: each.value.string_value for each in resource.resource.attributes}
                    for scope in resource.scope_spans:
                        spans.extend((about["moot.role"], span) for span in scope.spans)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def of(self, trace: str) -> dict[tuple[str, str], Any]:
        """The spans of one trace, by role and name."""
        return {(role, span.name): span for role, span in self.spans if span.trace_id.hex() == trace}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def test_a_fleet_is_set_up_watched_and_followed_through_all_of_its_processes(
    stack: Stack, server_database: str, tmp_path: Path, collector: Collector
) -> None:
    given = {"otlp_endpoint": collector.url, "position_wait_seconds_max": 30}
    with Roles(stack, server_database, tmp_path, cassandra=True, **given) as fleet:
        _is_refused_until_it_is_set_up(fleet)
        here, there = fleet.api(), fleet.api()
        relay, second, worker = fleet.relay(), fleet.relay(), fleet.worker()
        until(lambda: relay.ready() and second.ready() and worker.ready())
        leads = until(lambda: [one for one in (relay, second) if one.metric("moot_relay_leads") == 1.0])
        assert len(leads) == 1
        trace = uuid4().hex

        async def scene(ada: Client, elsewhere: Client) -> None:
            post = await told(lambda: submit_post(ada, a_community(ada)))
            elsewhere.http.headers["Authorization"] = ada.http.headers["Authorization"]
            # Written on one process, read on another.
            elsewhere.position = ada.position
            found = await told(lambda: elsewhere.post("query($id: ID!) { node(id: $id) { id } }", {"id": post}))
            assert found["data"]["node"] == {"id": post}
            assert found["extensions"]["consistency"]["stale"] is False
            async with signed_in(SimpleNamespace(url=there.url), ada) as socket:  # type: ignore[arg-type]
                await socket.subscribe("s", SCORE, variables={"id": post})
                await socket.next("s")
                ada.http.headers["traceparent"] = f"00-{trace}-00f067aa0ba902b7-01"
                await told(vote, ada, post)
                # Changed on one process, pushed by another.
                assert (await socket.next("s"))["scoreChanged"]["score"] == {"up": 1, "down": 0}

        with (
            Client(SimpleNamespace(url=here.url)) as ada,  # type: ignore[arg-type]
            Client(SimpleNamespace(url=there.url)) as elsewhere,  # type: ignore[arg-type]
        ):
            asyncio.run(scene(ada.sign_up(), elsewhere))
        wanted = {
            ("api", "http.request"), ("api", "command"), ("api", "store.append"), ("relay", "relay.send"),
            ("worker", "view.fold"), ("worker", "view.commit"), ("worker", "signal"), ("api", "push"),
        }  # fmt: skip
        spans = until(lambda: (found := collector.of(trace)) and found.keys() >= wanted and found)
        queries = {span.name for role, span in collector.spans if span.kind == Span.SPAN_KIND_CLIENT and role == "api"}
        assert {"SELECT", "EVALSHA"} <= queries
        assert not any(span.kind == Span.SPAN_KIND_CLIENT for role, span in collector.spans if role != "api")
        assert spans["relay", "relay.send"].parent_span_id == spans["api", "store.append"].span_id
        folds = {span.span_id for role, span in collector.spans if span.name == "view.fold"}
        sent = spans["relay", "relay.send"].span_id
        assert all(
            span.parent_span_id == sent
            for _, span in collector.spans
            if span.name == "view.fold" and span.trace_id.hex() == trace
        )
        assert spans["api", "push"].parent_span_id in folds
        logged = [json.loads(line) for line in here.log.read_text().splitlines()]
        assert all(isinstance(line, dict) and "event" in line for line in logged)
        _says_how_it_does(fleet)
        for role in (here, leads[0], worker):
            assert role.metric("moot_info", role=role.name.split("-")[0], version="0.1.0") == 1.0
        assert (here.metric("moot_commands_total", command="CastVote", outcome="done") or 0) >= 1
        assert (leads[0].metric("moot_relay_events_total") or 0) >= 4
        assert (worker.metric("moot_view_events_total") or 0) >= 4
        until(lambda: leads[0].metric("moot_projection_lag_events", projection="scores") == 0.0)
        assert {role.stop() for role in fleet.roles} == {0}


def _is_refused_until_it_is_set_up(fleet: Roles) -> None:
    """Each step says what is missing, and that its plan would change something, before it does."""
    missing = fleet.run("api")
    assert (missing.returncode, "secrets create" in missing.stderr) == (1, True)
    assert fleet.run("secrets", "create").returncode == 0
    assert fleet.run("secrets", "create").returncode == 3
    assert fleet.run("secrets", "create", "--if-missing").returncode == 0
    behind = fleet.run("api")
    assert (behind.returncode, "fix: moot migrate" in behind.stderr) == (1, True)
    planned = fleet.run("migrate", "--check", "--output", "json")
    assert planned.returncode == 2
    assert json.loads(planned.stdout)["migrations"][0].startswith("001_")
    assert fleet.run("migrate").returncode == 0
    assert fleet.run("migrate", "--check").returncode == 0
    assert fleet.run("secrets", "check").returncode == 0
    assert "none leads" in fleet.findings()["relay"]["found"]
    assert fleet.findings()["kafka"]["fix"] == "moot topics apply"
    assert fleet.run("topics", "apply").returncode == 0
    # Other secrets than those that the data was written with are never made, nor used.
    other = str(fleet.folder / "other.json")
    refused = fleet.run("secrets", "create", "--file", other)
    assert (refused.returncode, "written with other secrets" in refused.stderr) == (3, True)


def _says_how_it_does(fleet: Roles) -> None:
    found = until(lambda: (all_of := fleet.findings()) and all(one["ok"] for one in all_of.values()) and all_of)
    assert list(found) == [
        "secrets", "postgresql", "replica", "redis", "kafka", "cassandra", "schema", "message ids", "relay",
        "views", "dead letters", "clock",
    ]  # fmt: skip
    for role in fleet.roles:
        assert httpx.get(f"{role.metrics_url}/healthz").json() == {"status": "ok"}
        assert fleet.run("health", "--ready", MOOT_METRICS_PORT=role.metrics_url.rsplit(":", 1)[1]).returncode == 0
    assert fleet.run("health", MOOT_METRICS_PORT="1").returncode == 1
