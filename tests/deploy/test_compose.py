"""``docker-compose.yml``, read as compose reads it, where no engine runs: what a look at it can promise."""

import json
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.settings import PREFIX, ROOT, Settings
from infra.version import VERSION
from streams.cli import COMMANDS

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"make-secrets", "migrate", "topics", "tools"}
"""These end when they are done, so there is nothing whose health could be asked."""
ASKED_BY_PROMETHEUS = {"collector", "tempo"}
"""The images of these hold nothing but the program: no shell, and no client to ask it with."""
ASKS = r"^moot health|^pg_isready .*--host=|redis-cli ping|/dev/tcp/127\.0\.0\.1/9092|/dev/tcp/scylla/9042|^wget .*http://127\.0\.0\.1:\d+/"
"""Health checks that fail when the process they are of does not answer."""
OURS = {"api", "relay", "worker", *ONE_SHOT}
VARIABLE = re.compile(r"\$\{(\w+)(?:(:?[-?])([^}]*))?\}")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|CLUSTER_ID", re.IGNORECASE)


def environment(service: dict[str, Any]) -> dict[str, str]:
    found = service.get("environment") or {}
    return dict(entry.split("=", 1) for entry in found) if isinstance(found, list) else found


def texts(value: Any) -> list[str]:
    """Every string of a document."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


def test_everything_that_the_issue_names_is_there() -> None:
    wanted = {"kafka", "postgres", "redis", "scylla", "api", "relay", "worker", "migrate", "topics"}
    assert wanted | {"collector", "prometheus", "grafana"} <= SERVICES.keys()
    assert not {name for name in wanted if SERVICES[name].get("profiles")}, "these start without a profile"


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z0-9./-]+:(v?\d+\.\d+(\.\d+)?(-[a-z0-9]+)?)(@sha256:[0-9a-f]{64})?", image), image
    if name in OURS:
        assert image == f"moot:{VERSION}"
        assert SERVICES[name]["build"] == "."


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_that_stays_is_watched_and_restarted(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"]["max-size"], "logs would fill the disk"
    if name in ASKED_BY_PROMETHEUS:
        assert service["healthcheck"] == {"disable": True}
        return
    check = service["healthcheck"]
    assert {"interval", "timeout", "retries"} <= check.keys()
    kind, *command = check["test"]
    assert kind in ("CMD", "CMD-SHELL")
    assert re.search(ASKS, " ".join(command)), "this says nothing of the process that runs"


def test_what_no_health_check_can_ask_is_asked_by_prometheus_and_missed_by_an_alert() -> None:
    scraped = prometheus()["scrape_configs"]
    targets = {host.split(":")[0] for job in scraped for at in job.get("static_configs", ()) for host in at["targets"]}
    assert targets == ASKED_BY_PROMETHEUS
    rules = yaml.safe_load((ROOT / "infra/deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    asked = " ".join(rule["expr"] for group in rules for rule in group["rules"])
    assert 'up{job="moot"} == 0' in asked
    assert 'up{job!="moot"} == 0' in asked


def test_there_are_no_default_passwords_and_what_is_missing_is_said() -> None:
    asked = set()
    for text in texts(COMPOSE):
        for variable, operator, words in VARIABLE.findall(text.replace("$$", "")):
            if SECRET.search(variable):
                assert operator == ":?", f"{variable} must be given, and not empty"
                assert "make-env.sh" in words
                asked.add(variable)
    assert asked == {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD", "KAFKA_CLUSTER_ID"}
    for name, service in SERVICES.items():
        for variable, value in environment(service).items():
            if SECRET.search(variable) and not variable.startswith(PREFIX):
                assert VARIABLE.fullmatch(str(value)), f"{name}: {variable} is written out"
    for text in texts(COMPOSE):
        for credentials in re.findall(r"://([^/@\s]+)@", text):
            assert "${" in credentials, text


def test_the_script_makes_all_of_them_once_each_another_and_for_the_owner_alone(tmp_path: Path) -> None:
    def make(target: Path) -> "subprocess.CompletedProcess[str]":
        command = ["sh", str(ROOT / "infra" / "deploy" / "make-env.sh"), str(target)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    made = []
    for number in range(2):
        target = tmp_path / f"env{number}"
        assert make(target).returncode == 0
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        lines = [line for line in target.read_text().splitlines() if not line.startswith("#")]
        made.append(dict(line.split("=", 1) for line in lines))
    assert made[0].keys() == {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD", "KAFKA_CLUSTER_ID"}
    values = [value for one in made for value in one.values()]
    assert len(set(values)) == len(values)
    assert all(re.fullmatch(r"[0-9A-Za-z]+", value) for value in values), "a URL, a shell and compose take them as is"
    assert all(len(one[name]) == 64 for one in made for name in one if name.endswith("PASSWORD"))
    assert all(len(one["KAFKA_CLUSTER_ID"]) == 22 for one in made)
    before = (tmp_path / "env0").read_text()
    again = make(tmp_path / "env0")
    assert (again.returncode, "fix:" in again.stderr) == (3, True)
    assert (tmp_path / "env0").read_text() == before


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_variables_are_settings_and_our_commands_exist(name: str) -> None:
    service = SERVICES[name]
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    assert environment(service).keys() <= known
    assert service["command"][0] in COMMANDS or service["command"][0] == "worker"
    for text in texts(service):
        for variable, _, _ in VARIABLE.findall(text):
            assert not variable.startswith(PREFIX) or variable in known


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_processes_may_do_nothing_but_their_work(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    if name != "make-secrets":
        assert all(volume.endswith(":ro") for volume in service["volumes"])


def test_nothing_but_the_api_and_grafana_is_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"api", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_roles_wait_for_what_they_need_and_for_the_set_up() -> None:
    for name in ("api", "relay", "worker"):
        needs = {service: how["condition"] for service, how in SERVICES[name]["depends_on"].items()}
        assert needs == {
            "postgres": "service_healthy",
            "redis": "service_healthy",
            "kafka": "service_healthy",
            "scylla": "service_healthy",
            "migrate": "service_completed_successfully",
            "topics": "service_completed_successfully",
        }
    assert {"make-secrets", "postgres", "scylla"} <= SERVICES["migrate"]["depends_on"].keys()


def test_every_volume_is_named_and_used_and_every_file_that_is_mounted_is_there() -> None:
    used = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
            else:
                used.add(source)
    assert used == COMPOSE["volumes"].keys()
    assert {"postgres", "kafka", "redis", "scylla", "secrets"} <= used


def prometheus() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(
        (ROOT / "infra/deploy/prometheus/prometheus.yml").read_text(encoding="utf-8")
    )
    return found


def lines_with(words: str) -> list[str]:
    """The commands with these words that the README and the head of the file show."""
    shown = [(ROOT / name).read_text(encoding="utf-8").splitlines() for name in ("README.md", "docker-compose.yml")]
    found = [line.strip("# ") for lines in shown for line in lines if words in line and "docker compose" in line]
    assert found
    return found


def test_no_health_check_starts_a_jvm() -> None:
    for name, service in SERVICES.items():
        assert not re.search(r"kafka-[a-z-]+\.sh|java", " ".join(texts(service.get("healthcheck", {})))), name


def test_whoever_is_shown_how_to_watch_sees_traces() -> None:
    collector, tempo = (
        yaml.safe_load((ROOT / "infra/deploy/collector" / name).read_text(encoding="utf-8"))
        for name in ("config.yml", "tempo.yml")
    )
    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].split(":")[1]
    for line in lines_with("--profile watch"):
        assert line.startswith(f"MOOT_OTLP_ENDPOINT=http://collector:{port} "), line
    for name in ("api", "relay", "worker"):
        assert environment(SERVICES[name])["MOOT_OTLP_ENDPOINT"] == "${MOOT_OTLP_ENDPOINT:-}"
    (exporter,) = collector["exporters"].values()
    host, port = exporter["endpoint"].split(":")
    assert host in SERVICES
    assert tempo["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].endswith(f":{port}")
    assert exporter["tls"] == {"insecure": True}


def test_the_collector_is_told_what_its_documentation_knows() -> None:
    # https://opentelemetry.io/docs/collector/configuration/ and .../internal-telemetry/
    config = yaml.safe_load((ROOT / "infra/deploy/collector/config.yml").read_text(encoding="utf-8"))
    assert config.keys() == {"receivers", "processors", "exporters", "service"}
    assert config["service"].keys() == {"telemetry", "pipelines"}
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in config["service"]["pipelines"].values() for name in pipeline[kind]}
        assert used == config[kind].keys(), "what no pipeline names is not started; what is not declared is refused"
    known = {
        "otlp": {"protocols"},
        "memory_limiter": {"check_interval", "limit_mib", "spike_limit_mib"},
        "batch": {"timeout", "send_batch_size", "send_batch_max_size"},
        "otlp/tempo": {"endpoint", "tls"},
    }
    for kind in ("receivers", "processors", "exporters"):
        for name, given in config[kind].items():
            assert given.keys() <= known[name], name
    assert config["processors"]["memory_limiter"].keys() >= {"check_interval", "limit_mib"}, (
        "without both it is refused"
    )
    (pipeline,) = config["service"]["pipelines"].values()
    assert pipeline["processors"][0] == "memory_limiter", "what comes before it is not limited"
    (reader,) = config["service"]["telemetry"]["metrics"]["readers"]
    port = reader["pull"]["exporter"]["prometheus"]["port"]
    (job,) = [job for job in prometheus()["scrape_configs"] if job["job_name"] == "collector"]
    assert job["static_configs"] == [{"targets": [f"collector:{port}"]}]


def test_tempo_is_asked_where_it_answers() -> None:
    tempo = yaml.safe_load((ROOT / "infra/deploy/collector/tempo.yml").read_text(encoding="utf-8"))
    (job,) = [job for job in prometheus()["scrape_configs"] if job["job_name"] == "tempo"]
    assert job["static_configs"] == [{"targets": [f"tempo:{tempo['server']['http_listen_port']}"]}]


def test_several_of_a_role_can_start_where_it_is_shown() -> None:
    port = SERVICES["api"]["ports"][0]
    assert port == "127.0.0.1:${API_PORT:-8000}:8000", "one process is always found at the same port"
    for line in lines_with("--scale"):
        scaled = dict(re.findall(r"--scale (\w+)=(\d+)", line))
        for name, number in scaled.items():
            if int(number) > 1 and "ports" in SERVICES[name]:
                first, last = re.findall(rf"\b{name.upper()}_PORT=(\d+)-(\d+)", line)[0]
                assert int(last) - int(first) + 1 >= int(number), line
            assert "container_name" not in SERVICES[name]


def test_prometheus_asks_the_roles_where_they_answer() -> None:
    scraped = prometheus()
    (ours,) = [job for job in scraped["scrape_configs"] if job["job_name"] == "moot"]
    (found,) = ours["dns_sd_configs"]
    assert set(found["names"]) == {"api", "relay", "worker"}
    assert all(environment(SERVICES[name])["MOOT_METRICS_PORT"] == str(found["port"]) for name in found["names"])


def test_grafana_finds_its_dashboards_and_what_they_ask() -> None:
    folder = ROOT / "infra/deploy/grafana"
    sources = yaml.safe_load((folder / "provisioning/datasources/moot.yml").read_text(encoding="utf-8"))["datasources"]
    uids = {source["uid"] for source in sources}
    hosts = {source["url"].split("//")[1].split(":")[0] for source in sources}
    assert hosts <= SERVICES.keys()
    (provider,) = yaml.safe_load((folder / "provisioning/dashboards/moot.yml").read_text(encoding="utf-8"))["providers"]
    mounted = [volume for volume in SERVICES["grafana"]["volumes"] if provider["options"]["path"] in volume]
    assert mounted == ["./infra/deploy/grafana/dashboards:/etc/moot/dashboards:ro"]
    for path in (folder / "dashboards").glob("*.json"):
        dashboard = json.loads(path.read_text(encoding="utf-8"))
        asked = [target for panel in dashboard["panels"] for target in panel.get("targets", ())]
        assert asked
        assert {target["datasource"]["uid"] for target in asked} <= uids
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
