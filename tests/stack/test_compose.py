"""The health checks of Kafka and of the message log in ``docker-compose.yml``, asked of real servers."""

import re
import subprocess
from typing import Any
from urllib.parse import urlsplit

import yaml

from infra.settings import ROOT
from infra.stack import Stack
from infra.stack.ports import HOST


def healthy(port: int, service: str = "kafka") -> bool:
    """What the check says of the server at that port, as Docker runs it: a check that takes too long has failed."""
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    check = compose["services"][service]["healthcheck"]
    kind, *command = check["test"]
    assert kind == "CMD"
    words = [re.sub(r"/dev/tcp/[^/]+/\d+", f"/dev/tcp/{HOST}/{port}", word.replace("$$", "$")) for word in command]
    seconds = float(check["timeout"].removesuffix("s"))
    try:
        return subprocess.run(words, timeout=seconds, check=False, stderr=subprocess.DEVNULL).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def test_a_broker_is_healthy_while_it_answers_and_not_when_it_is_frozen_or_gone(stack: Stack) -> None:
    kafka = stack.kafka
    port = int(kafka.url.rpartition(":")[2])
    assert healthy(port)
    kafka.pause()
    try:
        assert not healthy(port)
    finally:
        kafka.resume()
    assert healthy(port)
    kafka.kill()
    assert not healthy(port)
    kafka.start()
    assert healthy(port)


def test_a_message_log_is_healthy_while_it_answers_and_not_when_it_is_frozen_or_gone(stack: Stack) -> None:
    cassandra = stack.cassandra
    assert healthy(cassandra.main_port, "scylla")
    assert not healthy(urlsplit(stack.redis.url).port or 0, "scylla")
    cassandra.pause()
    try:
        assert not healthy(cassandra.main_port, "scylla")
    finally:
        cassandra.resume()
    assert healthy(cassandra.main_port, "scylla")
    cassandra.kill()
    assert not healthy(cassandra.main_port, "scylla")


def test_something_else_at_the_port_of_the_broker_is_not_healthy(stack: Stack) -> None:
    assert not healthy(urlsplit(stack.redis.url).port or 0)
