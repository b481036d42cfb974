"""Dashboards and alerts ask for metrics that there are, with labels that they have; and each metric is asked for."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from typer.main import get_command

from infra.settings import ROOT
from infra.telemetry import metrics
from streams.cli import application

DEPLOY = ROOT / "infra" / "deploy"
NAME = re.compile(r"\b(moot_[a-z_]+|process_[a-z_]+)\b(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
BY = re.compile(r"\b(?:by|without|on)\s*\(([^)]*)\)")
FROM_PROMETHEUS = {"instance", "job", "le"}
UNSHOWN = {"moot_info"}
"""For whoever looks: which version runs where."""


def expressions() -> Iterator[str]:
    """All of PromQL that is in the repository."""
    for path in (DEPLOY / "grafana" / "dashboards").glob("*.json"):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            yield from (target["expr"] for target in panel.get("targets", ()))
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def declared() -> dict[str, set[str]]:
    """Every series by name, and its labels."""
    found: dict[str, set[str]] = {}
    for value in vars(metrics).values():
        if hasattr(value, "_labelnames"):
            labels = set(value._labelnames)
            for family in value.describe():
                names = {
                    "counter": [f"{family.name}_total"],
                    "gauge": [family.name],
                    "histogram": [f"{family.name}_bucket", f"{family.name}_sum", f"{family.name}_count"],
                }[family.type]
                found |= dict.fromkeys(names, labels)
    per_view = {"moot_projection_lag_events", "moot_projection_lag_seconds", "moot_dead_letters"}
    found |= {name: {"projection"} if name in per_view else set() for name in metrics.LAG}
    found |= {name: {"pool"} for name in metrics.POOLS}
    return found


def test_every_name_that_is_asked_for_exists() -> None:
    known = declared()
    asked = {name for text in expressions() for name, _ in NAME.findall(text) if name.startswith("moot_")}
    assert asked
    assert not asked - known.keys()


def test_every_command_that_an_alert_names_exists() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    said = " ".join(rule["annotations"]["what_to_do"] for group in rules["groups"] for rule in group["rules"])
    named = re.findall(r"\bmoot ([a-z]+)(?: ([a-z]+))?", said)
    assert ("projections", "retry") in named
    moot: Any = get_command(application())
    for command, sub in named:
        assert command in moot.commands
        assert not sub or sub in getattr(moot.commands[command], "commands", {sub: None})


def test_every_label_that_is_asked_for_exists() -> None:
    known = declared()
    for text in expressions():
        labels = set(FROM_PROMETHEUS)
        for name, _ in NAME.findall(text):
            labels |= known.get(name, set())
        named = {label for _, given in NAME.findall(text) for label in LABEL.findall(given or "")}
        named |= {label.strip() for group in BY.findall(text) for label in group.split(",") if label.strip()}
        assert named <= labels, text


def test_every_metric_is_shown_somewhere() -> None:
    asked = {name for text in expressions() for name, _ in NAME.findall(text)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in declared()}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert families - shown == UNSHOWN


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    names = [rule["alert"] for rule in rules]
    assert len(set(names)) == len(names)
    for rule in rules:
        assert {"summary", "what_to_do"} == rule["annotations"].keys(), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["for"]


def test_names_end_in_their_unit_and_labels_are_few() -> None:
    for name, labels in declared().items():
        assert len(labels) <= 2
        if "seconds" in name:
            assert re.search(r"_seconds(_bucket|_sum|_count|_total)?$", name), name


def test_the_last_of_each_role_is_missed() -> None:
    """Its container is gone from the service's name, by which it was found."""
    found = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (moot,) = [job for job in found["scrape_configs"] if job["job_name"] == "moot"]
    assert {"source_labels": ["__meta_dns_name"], "target_label": "service"} in moot["relabel_configs"]
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    (gone,) = [rule["expr"] for rule in rules if rule["alert"] == "RoleGone"]
    for role in moot["dns_sd_configs"][0]["names"]:
        assert f'absent(up{{job="moot", service="{role}"}} == 1)' in gone
