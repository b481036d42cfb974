"""What a process tells of itself: metrics and readiness on a port of its own, lag as PostgreSQL knows it, JSON logs."""

import json
import logging
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
import structlog

from infra.embedded import Engines
from infra.logging import configure_logging
from infra.migrate import migrate
from infra.settings import ROOT, load_settings
from infra.telemetry import metrics, tracing
from infra.telemetry.lag import LagCollector, read_lag
from infra.telemetry.serving import TelemetryFailure, telemetry
from infra.version import VERSION
from projections.catalogue import ALL
from tests.api.stack import Client, Stack, serving
from tests.databases import new_database
from tests.relay.world import History


def test_the_version_is_that_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"] == VERSION


def test_metrics_health_and_readiness_have_a_port_of_their_own() -> None:
    wrong: dict[str, str] = {}
    settings = load_settings({"MOOT_METRICS_PORT": "0"})
    with (
        telemetry(settings, "tests", ready=lambda: wrong) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        text = client.get("/metrics").text
        assert f'moot_info{{role="tests",version="{VERSION}"}} 1.0' in text
        assert "process_resident_memory_bytes" in text
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ok", "wrong": {}}
        wrong["kafka"] = "It is away."
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["wrong"]) == (503, wrong)
        assert client.get("/anything").status_code == 404
        assert client.post("/metrics").status_code == 501
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)


def test_without_a_port_nothing_is_served_and_a_taken_one_is_said() -> None:
    with telemetry(load_settings({}), "tests") as port:
        assert port is None
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(TelemetryFailure) as failure, telemetry(load_settings({}, metrics_port=number), "tests"):
            pass
    assert str(number) in failure.value.what


def test_lag_is_told_in_events_and_in_seconds(database: str) -> None:
    migrate(database)
    history = History(database)
    head = history.grow(40)
    history.close()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO views.checkpoints (projection, partition, position, version)"
            " SELECT n, 0, CASE n WHEN 'scores' THEN %s::bigint - 3 ELSE %s END, 1 FROM unnest(%s::text[]) n",
            (head, head, list(ALL)),
        )
        connection.execute("INSERT INTO log.relayed VALUES (-1, %s)", (head - 5,))
        connection.execute(
            "INSERT INTO views.dead_letters (projection, key, position, error) VALUES ('karma', 'k', 1, 'e')"
        )
        lag = read_lag(connection)
    assert lag.position == head
    assert lag.relay is not None
    assert (lag.relay.events, lag.views["scores"].events, lag.views["posts"].events) == (5, 3, 0)
    assert lag.relay.seconds > 0
    assert lag.views["scores"].seconds > 0
    assert lag.views["posts"].seconds == 0
    assert lag.parked == {"karma": 1}
    collector = LagCollector(database)
    told = {
        (sample.name, sample.labels.get("projection")): sample.value
        for family in collector.collect()
        for sample in family.samples
    }
    collector.close()
    assert told["moot_lag_known", None] == 1
    assert told["moot_projection_lag_events", "scores"] == 3
    assert told["moot_dead_letters", "karma"] == 1
    assert told["moot_dead_letters", "posts"] == 0
    assert {name for name, _ in told} == metrics.LAG.keys()


def test_a_database_that_does_not_answer_is_a_metric_too() -> None:
    collector = LagCollector("host=127.0.0.1 port=1 dbname=nothing")
    samples = [sample for family in collector.collect() for sample in family.samples]
    assert [(sample.name, sample.value) for sample in samples] == [("moot_lag_known", 0.0)]


@pytest.mark.usefixtures("logging_again")
def test_containers_log_json_lines_with_the_trace_id_of_their_request(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert configure_logging(load_settings({}, data_dir=tmp_path, log_to="stderr")) is None
    trace = uuid4().hex
    with tracing.request("http.request", trace):
        structlog.get_logger("tests").warning("inside", detail=1)
        logging.getLogger("of.a.library").warning("also inside")
    logging.getLogger("of.a.library").warning("outside")
    logging.getLogger("kafka.net").info("connected, once more")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line.get("trace_id")) for line in lines] == [
        ("inside", trace),
        ("also inside", trace),
        ("outside", None),
    ]
    assert not (tmp_path / "logs").exists()


@pytest.mark.usefixtures("logging_again")
def test_what_the_client_of_kafka_tries_again_is_in_the_file_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = configure_logging(load_settings({}, data_dir=tmp_path), name="worker")
    logging.getLogger("aiokafka.consumer.group_coordinator").error("no coordinator yet")
    logging.getLogger("of.a.library").error("of interest")
    assert path is not None
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == [
        "no coordinator yet",
        "of interest",
    ]
    said = capsys.readouterr().err
    assert "of interest" in said
    assert "coordinator" not in said


@pytest.mark.usefixtures("logging_again")
@pytest.mark.parametrize("log_to", ["stderr", "file"])
def test_what_the_client_of_kafka_says_again_and_again_is_logged_once_in_a_while(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, log_to: str
) -> None:
    path = configure_logging(load_settings({}, data_dir=tmp_path, log_to=log_to), name="worker")
    for node in range(100):
        logging.getLogger("aiokafka").error("no answer of node %s", node)
        logging.getLogger("of.a.library").error("of interest")
    logging.getLogger("aiokafka").error("something else")
    said = path.read_text() if path is not None else capsys.readouterr().err
    events = [json.loads(line)["event"] for line in said.splitlines()]
    assert events == ["no answer of node 0", *["of interest"] * 100, "something else"]


def test_the_api_counts_what_it_answers(stack: Stack) -> None:
    def value(name: str, **labels: str) -> float:
        return metrics.REGISTRY.get_sample_value(name, labels) or 0.0

    before = value("moot_operations_total", kind="query", outcome="ok")
    refused = value("moot_operations_total", kind="query", outcome="refused")
    with Client(stack) as visitor:
        visitor.ask("{ __typename }")
        visitor.post("query($id: ID!) { node(id: $id) { id } }", {})
    assert value("moot_operations_total", kind="query", outcome="ok") == before + 1
    assert value("moot_operations_total", kind="query", outcome="refused") == refused + 1
    with Client(stack) as ada:
        ada.appear()
        done = value("moot_commands_total", command="CreateCommunity", outcome="done")
        no = value("moot_commands_total", command="CreateCommunity", outcome="refused")
        name = f"c_{uuid4().hex[:12]}"
        assert not ada.do("createCommunity", name=name)["errors"]
        assert ada.do("createCommunity", name=name)["errors"]
    assert value("moot_commands_total", command="CreateCommunity", outcome="done") == done + 1
    assert value("moot_commands_total", command="CreateCommunity", outcome="refused") == no + 1
    assert value("moot_view_events_total") > 0
    assert value("moot_store_events_total") > 0


@pytest.fixture(scope="module")
def stack(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The served stack, over a database of its own."""
    from infra.embedded import start_engines  # noqa: PLC0415 - of this alone
    from infra.secrets import load_or_create_secrets  # noqa: PLC0415

    database = new_database(engines.database_url, "telling")
    folder = tmp_path_factory.mktemp("telling")
    migrate(database)
    load_or_create_secrets(folder, has_data=False)
    settings = load_settings({}, data_dir=folder, database_url=database)
    with start_engines(settings, durable=False) as own, serving(own.settings) as running:
        yield running


def test_a_session_that_cannot_be_asked_for_is_unavailable_and_no_fault(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: str) -> None:
        raise psycopg.OperationalError("the server is away")

    with Client(stack) as ada:
        ada.appear()
        monkeypatch.setattr(stack.moot.sessions, "authenticate", away)
        answer = ada.http.post("/graphql", json={"query": "{ __typename }"})
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert "the server is away" not in answer.text
