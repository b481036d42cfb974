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
    wanted = {"kafka", "postgres", "redis", "api", "relay", "worker", "migrate", "topics"}
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
    check = service["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries"} <= check.keys()
    assert service["logging"]["options"]["max-size"], "logs would fill the disk"


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
            "migrate": "service_completed_successfully",
            "topics": "service_completed_successfully",
        }
    assert "make-secrets" in SERVICES["migrate"]["depends_on"]


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
    assert {"postgres", "kafka", "redis", "secrets"} <= used


def test_prometheus_asks_the_roles_where_they_answer() -> None:
    scraped = yaml.safe_load((ROOT / "infra/deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
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
