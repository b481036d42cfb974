"""Settings: each from its variable, all problems at once, and the same defaults wherever a limit has two homes."""

import pytest

from domain.limits import Limits
from infra.settings import SettingsError, load_settings
from streams.limits import RebuildLimits, rebuild_limits, runner_limits
from streams.runner import RunnerLimits


def test_the_defaults_are_the_same_wherever_they_stand() -> None:
    settings = load_settings({})
    assert settings.rules == Limits()
    assert runner_limits(settings) == RunnerLimits()
    assert rebuild_limits(settings) == RebuildLimits()


def test_a_variable_sets_its_setting_and_an_option_comes_first() -> None:
    environ = {"MOOT_PORT": "9000", "MOOT_COMMENT_DEPTH_MAX": "7", "MOOT_RUNNER_IDLE_SECONDS": "0.5", "HOME": "x"}
    settings = load_settings(environ, host="::1", port=None)
    assert (settings.port, settings.host, settings.rules.comment_depth_max) == (9000, "::1", 7)
    assert runner_limits(settings).idle_seconds == 0.5
    assert load_settings(environ, port=1).port == 1


def test_every_problem_is_named_with_its_variable_and_value() -> None:
    with pytest.raises(SettingsError) as failure:
        load_settings({"MOOT_PORT": "99999", "MOOT_LOG_LEVEL": "loud", "MOOT_COMMENT_DEPTH_MAX": "0"})
    for said in ("MOOT_PORT = '99999'", "MOOT_LOG_LEVEL = 'loud'", "MOOT_COMMENT_DEPTH_MAX = '0'"):
        assert said in failure.value.why


def test_a_secret_is_never_shown() -> None:
    settings = load_settings({"MOOT_DATABASE_URL": "postgresql://moot:hunter2@db/moot"})
    assert "hunter2" not in repr(settings)
    with pytest.raises(SettingsError) as failure:
        load_settings({}, database_url=b"\xff hunter2")
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize(
    ("variable", "wrong"),
    [
        ("MOOT_DATABASE_URL", "hunter2"),
        ("MOOT_DATABASE_URL", "postgresql://moot@db:hunter2/moot"),
        ("MOOT_DATABASE_URL", "mysql://hunter2@db/moot"),
        ("MOOT_DATABASE_URL", ""),
        ("MOOT_REDIS_URL", "hunter2"),
        ("MOOT_REDIS_URL", "http://hunter2@cache"),
        ("MOOT_REDIS_URL", "redis://cache:hunter2/0"),
        ("MOOT_REDIS_URL", ""),
        ("MOOT_CASSANDRA_URL", "hunter2"),
        ("MOOT_CASSANDRA_URL", "cassandra://moot:hunter2@db:9042"),
        ("MOOT_CASSANDRA_URL", "cassandra://moot:hunter2@db:9042/Moot; DROP"),
        ("MOOT_CASSANDRA_URL", "cassandra://moot:hunter2@db:90420/moot"),
        ("MOOT_CASSANDRA_URL", "cassandra://moot@db:hunter2/moot"),
        ("MOOT_CASSANDRA_URL", "cassandra://moot:hunter2@db/moot?tls=maybe"),
        ("MOOT_CASSANDRA_URL", "cassandra://moot:hunter2@/moot"),
        ("MOOT_CASSANDRA_URL", "redis://moot:hunter2@db/moot"),
        ("MOOT_CASSANDRA_URL", ""),
    ],
)
def test_an_address_of_an_engine_that_is_none_is_said_and_not_shown(variable: str, wrong: str) -> None:
    with pytest.raises(SettingsError) as failure:
        load_settings({variable: wrong})
    assert f"{variable} = (hidden)" in failure.value.why
    assert "hunter2" not in str(failure.value)


def test_addresses_of_engines() -> None:
    for database_url in ("postgresql://moot:x@db:5432/moot?sslmode=require", "host=db dbname=moot"):
        for redis_url in ("redis://cache:6379/0", "rediss://:x@cache", "unix:///run/redis.sock?db=1"):
            settings = load_settings({"MOOT_DATABASE_URL": database_url, "MOOT_REDIS_URL": redis_url})
            assert settings.engine_urls() == (database_url, redis_url)


@pytest.mark.parametrize(
    ("variable", "wrong"),
    [
        ("MOOT_KAFKA_URL", "foo:bar"),
        ("MOOT_KAFKA_URL", "kafka:0"),
        ("MOOT_KAFKA_URL", "kafka:90920"),
        ("MOOT_KAFKA_URL", "kafka:9092,"),
        ("MOOT_KAFKA_URL", "kafka://kafka:9092"),
        ("MOOT_KAFKA_URL", "kafka:9092 other:9092"),
        ("MOOT_OTLP_ENDPOINT", "foo"),
        ("MOOT_OTLP_ENDPOINT", "collector:4318"),
        ("MOOT_OTLP_ENDPOINT", "grpc://collector:4317"),
        ("MOOT_OTLP_ENDPOINT", "http://:4318"),
        ("MOOT_OTLP_ENDPOINT", "http://collector:bar"),
        ("MOOT_OTLP_ENDPOINT", "http://collector:90000"),
    ],
)
def test_an_address_in_a_fleet_that_is_none_is_said_with_what_it_looks_like(variable: str, wrong: str) -> None:
    with pytest.raises(SettingsError, match="it looks like") as failure:
        load_settings({variable: wrong})
    assert f"{variable} = {wrong!r}" in failure.value.why


def test_addresses_in_a_fleet() -> None:
    for kafka_url in ("kafka:9092", "kafka", "a:1,b.example:9092", "[::1]:9092", ""):
        assert load_settings({"MOOT_KAFKA_URL": kafka_url}).kafka_url == kafka_url
    assert load_settings({"MOOT_KAFKA_URL": " a:1, b:2 "}).kafka_url == "a:1,b:2"
    for endpoint in ("http://collector:4318", "https://traces.example/otlp", "http://[::1]:4318", ""):
        assert load_settings({"MOOT_OTLP_ENDPOINT": endpoint}).otlp_endpoint == endpoint
