"""The commands that work on what is there, with and without a running ``moot up``."""

import json
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from infra.embedded import start_engines
from infra.settings import ROOT, load_settings
from infra.stack.ports import free_ports
from read_api.ids import parse_id
from streams.cli import doctor_fleet
from streams.cli.client import Client
from tests.serving import Up, environment, moot


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a post and two votes in it, and nothing running."""
    place = tmp_path_factory.mktemp("commands")
    with Up(place):
        said = ["--data-dir", str(place)]
        assert moot("post", "Explain me", "--as", "ada", *said).returncode == 0
        assert moot("vote", "up", "--as", "bob", *said).returncode == 0
        assert moot("vote", "down", "--as", "bob", *said).returncode == 0
        client = Client(place)
        client.become("ada")
        post_id = client.saved.post_id
        comments = {"": client.ask(_COMMENT, {"input": {"postId": post_id, "body": "A rival"}})}
        for body in ("Explain me too", "A third"):
            comments[body] = client.ask(_COMMENT, {"input": {"postId": post_id, "body": body}})
        comment_id = comments["Explain me too"]["submitComment"]["comment"]["id"]
        reply = {"postId": post_id, "parentId": comment_id, "body": "A reply"}
        assert not client.ask(_COMMENT, {"input": reply})["submitComment"]["errors"]
        assert moot("vote", "up", comment_id, "--as", "bob", *said).returncode == 0
        assert moot("vote", "up", comment_id, "--as", "eve", *said).returncode == 0
        sticky = client.ask(_POST, {"input": {"communityId": client.ask(_WELCOME)["community"]["id"], **STICKY}})
        sticky_id = sticky["submitPost"]["post"]["id"]
        assert not client.ask(_STICK, {"input": {"postId": sticky_id}})["stickyPost"]["errors"]
        (place / "sticky_id").write_text(sticky_id)
        (place / "comment_id").write_text(comment_id)
        (place / "third_id").write_text(comments["A third"]["submitComment"]["comment"]["id"])
    return place


STICKY = {"title": "Read this first", "body": "Be kind."}
_WELCOME = """query { community(name: "welcome") { id } }"""
_POST = """mutation ($input: SubmitPostInput!) { submitPost(input: $input) { post { id } } }"""
_STICK = """mutation ($input: PostInput!) { stickyPost(input: $input) { errors { code message } } }"""
_COMMENT = """
mutation ($input: SubmitCommentInput!) { submitComment(input: $input) { comment { id } errors { code message } } }
"""


def _json(folder: Path, *words: str) -> object:
    found = moot(*words, "--data-dir", str(folder), "--output", "json")
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def _post_id(folder: Path) -> str:
    identity: str = json.loads((folder / "client.json").read_text())["post_id"]
    return identity


def test_each_starts_the_engines_and_stops_them_again(folder: Path) -> None:
    listed = _json(folder, "projections", "list")
    assert isinstance(listed, dict)
    assert {row["state"] for row in listed["projections"]} == {"in sync"}
    assert not (folder / "postgres" / "postmaster.pid").exists()
    assert not (folder / "run" / "redis.pid").exists()


def test_explain_shows_each_event_and_agrees_with_the_view(folder: Path) -> None:
    found = _json(folder, "explain", "post", _post_id(folder))
    assert isinstance(found, dict)
    assert [(why["event"], why["score"]) for why in found["events"]] == [
        ("post.submitted@1", 0),
        ("vote.cast@1", 1),
        ("vote.cast@1", -1),
        *[("comment.submitted@1", -1)] * 4,
    ]
    now = found["now"]
    assert (now["up"], now["down"], now["karma"], now["place"], now["of"], now["agrees"]) == (0, 1, -1, 1, 1, True)


def test_explain_tells_the_posts_that_lead_from_those_that_have_a_place(folder: Path) -> None:
    found = _json(folder, "explain", "post", (folder / "sticky_id").read_text())
    assert isinstance(found, dict)
    # The list of sticky posts is a stream of its own, and no event of the post's score.
    assert [why["event"] for why in found["events"]] == ["post.submitted@1", "post.stickied@1"]
    assert (found["now"]["sticky"], found["now"]["place"], found["now"]["of"]) == (True, None, 1)
    table = moot("explain", "post", (folder / "sticky_id").read_text(), "--data-dir", str(folder))
    assert "sticky, it leads its community" in table.stdout


def test_explain_comment_shows_its_votes_and_its_place_by_best(folder: Path) -> None:
    found = _json(folder, "explain", "comment", (folder / "comment_id").read_text())
    assert isinstance(found, dict)
    assert [(why["event"], why["score"], why["comments"]) for why in found["events"]] == [
        ("comment.submitted@1", 0, 0),
        ("comment.submitted@1", 0, 1),
        ("vote.cast@1", 1, 0),
        ("vote.cast@1", 2, 0),
    ]
    now = found["now"]
    assert (now["up"], now["down"], now["karma"], now["replies"], now["agrees"]) == (2, 0, 2, 1, True)
    # Of three siblings the one with votes is the best; of the two without, the newer.
    assert (now["place"], now["of"]) == (1, 3)
    third = _json(folder, "explain", "comment", (folder / "third_id").read_text())
    assert isinstance(third, dict)
    assert (third["now"]["place"], third["now"]["of"], third["now"]["best"]) == (2, 3, 0)
    table = moot("explain", "comment", (folder / "comment_id").read_text(), "--data-dir", str(folder))
    assert "place 1 of 3 among its siblings; Best 0.5" in table.stdout


def test_explain_names_the_kind_of_what_is_something_else(folder: Path) -> None:
    for kind, other, identity in (
        ("post", "comment", (folder / "comment_id").read_text()),
        ("comment", "post", _post_id(folder)),
    ):
        found = moot("explain", kind, identity, "--data-dir", str(folder))
        assert found.returncode == 1
        assert f"{identity} is no {kind}: it is of the kind {other}." in found.stderr
        assert f"fix: moot explain {other} {identity}" in found.stderr


def test_explain_says_that_events_are_parked(folder: Path) -> None:
    with (
        start_engines(load_settings({}, data_dir=folder)) as engines,
        psycopg.connect(engines.database_url, autocommit=True) as connection,
    ):
        post_id = parse_id(_post_id(folder))[1]
        before = connection.execute("DELETE FROM views.feed WHERE post_id = %s RETURNING feed", (post_id,)).fetchone()
        assert before is not None
        connection.execute(
            "INSERT INTO views.dead_letters (projection, key, position, error)"
            " SELECT 'feed', 'x', notification_id, 'planted' FROM log.stored_events"
            " WHERE originator_id = %s AND originator_version = 1",
            (post_id,),
        )
    try:
        found = moot("explain", "post", _post_id(folder), "--data-dir", str(folder))
        assert found.returncode == 0, found.stderr
        assert "parked: see moot doctor" in found.stdout
    finally:
        assert moot("projections", "rebuild", "feed", "--data-dir", str(folder)).returncode == 0
    assert "parked" not in moot("explain", "post", _post_id(folder), "--data-dir", str(folder)).stdout


def test_what_was_parked_is_retried_while_moot_up_runs(folder: Path) -> None:
    with (
        start_engines(load_settings({}, data_dir=folder)) as engines,
        psycopg.connect(engines.database_url, autocommit=True) as connection,
    ):
        post_id = parse_id(_post_id(folder))[1]
        gone = connection.execute("DELETE FROM views.votes WHERE target_id = %s RETURNING voter_id::text", (post_id,))
        ((voter_id,),) = gone.fetchall()
        connection.execute(
            "INSERT INTO views.dead_letters (projection, key, position, error)"
            " SELECT 'votes', %s, notification_id, 'planted' FROM log.stored_events WHERE topic = 'vote.cast@1'"
            " AND convert_from(state, 'UTF8')::json -> 'data' ->> 'target_id' = %s",
            (json.dumps([voter_id, post_id], separators=(",", ":")), post_id),
        )
    with Up(folder):
        found = moot("projections", "parked", "--data-dir", str(folder), "--output", "json")
        assert found.returncode == 2, found.stderr
        (parked,) = json.loads(found.stdout)["parked"]
        assert (parked["projection"], parked["events"]) == ("votes", 2)
        done = _json(folder, "projections", "retry", "votes", parked["key"])
        assert isinstance(done, dict)
        assert (done["retried"][0]["applied"], done["told"]) == (2, True)
        assert _json(folder, "projections", "parked") == {"parked": [], "more": False}
        compared = _json(folder, "projections", "rebuild", "votes", "--compare")
        assert isinstance(compared, dict)
        assert compared["views"][0]["differences"] == 0


def test_a_stream_is_found_by_name_by_id_and_by_uuid(folder: Path) -> None:
    by_name = moot("events", "stream", "account:ADA", "--data-dir", str(folder), "--output", "json")
    event = json.loads(by_name.stdout.splitlines()[0])
    assert (event["event"], event["data"]["name"]) == ("account.registered@1", "ada")
    by_uuid = moot("events", "stream", event["stream_id"], "--data-dir", str(folder), "--output", "json")
    assert by_uuid.stdout == by_name.stdout
    post = moot("events", "stream", f"post:{_post_id(folder)}", "--data-dir", str(folder), "--output", "json")
    assert json.loads(post.stdout.splitlines()[0])["data"]["title"] == "Explain me"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("events", "stream", "account:nobody-here"), "names nothing here"),
        (("events", "stream", "planet:mars"), "is no kind of stream"),
        (("events", "show", "999999"), "There is no event 999999."),
        (("explain", "post", "no-id"), "names nothing here"),
        (("explain", "post", "account:ada"), "account:ada is no post: it is of the kind account."),
        (("explain", "comment", "community:welcome"), "is no comment: it is of the kind community."),
        (("explain", "post", "00000000-0000-8000-8000-000000000000"), "There is no post 00000000-"),
        (("events", "show", "99999999999999999999"), "There is no event 99999999999999999999."),
        (("projections", "rebuild", "karmaa"), "There is no projection called karmaa."),
        (("projections", "rebuild"), "Which projections?"),
        (("projections", "rebuild", "--all", "karma"), "Which projections?"),
        (("post", "Hello"), "Nothing serves"),
    ],
)
def test_what_is_not_there_is_said_with_a_fix(folder: Path, words: tuple[str, ...], says: str) -> None:
    found = moot(*words, "--data-dir", str(folder))
    assert found.returncode == 1
    assert found.stdout == ""
    assert says in found.stderr
    assert "\nfix: " in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_is_told_to_end_stops_the_engines_that_it_started(folder: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "streams.cli", "events", "tail", "--follow", "--data-dir", str(folder)],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "@1" in "".join(process.stdout.readline() for _ in range(4))
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (128 + number, "")
    assert not (folder / "postgres" / "postmaster.pid").exists()
    assert not (folder / "run" / "redis.pid").exists()


def test_an_event_is_shown_in_full_in_both_ways(folder: Path) -> None:
    event = _json(folder, "events", "show", "2")
    assert isinstance(event, dict)
    assert (event["position"], event["event"], event["data"]["name"]) == (2, "account.registered@1", "ada")
    table = moot("events", "show", "2", "--output", "table", "--data-dir", str(folder))
    assert table.returncode == 0, table.stderr
    for word in ("account.registered@1", "name=ada", f"command_id={event['meta']['command_id']}", "occurred_at="):
        assert word in table.stdout


@pytest.mark.parametrize("words", [("nonsense",), ("up", "--port", "x"), ("events", "show", "0"), ("vote", "sideways")])
def test_words_that_are_no_command_are_an_error(words: tuple[str, ...]) -> None:
    found = moot(*words)
    assert found.returncode == 1
    assert found.stdout == ""
    assert "Error" in found.stderr


def test_a_folder_without_data_is_said_to_be_one(tmp_path: Path) -> None:
    for words in (("doctor",), ("projections", "list"), ("events", "tail")):
        found = moot(*words, "--data-dir", str(tmp_path / "none"))
        assert found.returncode == 1
        assert "There is no data in" in found.stderr
    assert not (tmp_path / "none" / "postgres").exists()


def test_a_rebuild_gives_the_same_rows(folder: Path) -> None:
    found = moot("projections", "rebuild", "--all", "--compare", "--data-dir", str(folder), "--output", "json")
    assert found.returncode == 0, found.stderr
    summary = json.loads(found.stdout)
    assert {view["differences"] for view in summary["views"]} == {0}
    one = moot("projections", "rebuild", "scores", "--data-dir", str(folder))
    assert one.returncode == 0, one.stderr
    assert one.stdout.splitlines()[1].split()[0] == "scores"


def test_a_view_that_cannot_be_compared_is_not_said_to_be_the_same(folder: Path) -> None:
    with (
        start_engines(load_settings({}, data_dir=folder)) as engines,
        psycopg.connect(engines.database_url, autocommit=True) as connection,
    ):
        connection.execute("UPDATE views.checkpoints SET position = position - 1 WHERE projection = 'karma'")
    found = moot("projections", "rebuild", "karma", "--compare", "--data-dir", str(folder), "--output", "json")
    assert found.returncode == 2, found.stderr
    assert json.loads(found.stdout)["views"][0]["differences"] is None
    assert "Not compared" in found.stderr
    assert "karma" in found.stderr
    again = moot("projections", "rebuild", "karma", "--compare", "--data-dir", str(folder))
    assert (again.returncode, "Not compared" in again.stderr) == (0, False), again.stderr


def test_doctor_is_content_and_names_the_fix_when_a_view_is_behind(folder: Path) -> None:
    sound = moot("doctor", "--data-dir", str(folder), "--output", "json")
    assert sound.returncode == 0, sound.stdout
    assert {finding["check"] for finding in json.loads(sound.stdout)} >= {
        "postgresql",
        "redis",
        "views",
        "dead letters",
    }
    with (
        start_engines(load_settings({}, data_dir=folder)) as engines,
        psycopg.connect(engines.database_url) as connection,
    ):
        connection.execute("UPDATE views.checkpoints SET version = 99 WHERE projection = 'karma'")
    try:
        found = moot("doctor", "--data-dir", str(folder), "--output", "json")
        assert found.returncode == 1
        (finding,) = [finding for finding in json.loads(found.stdout) if not finding["ok"]]
        assert finding["fix"] == "moot projections rebuild karma"
        assert moot("projections", "list", "--data-dir", str(folder)).returncode == 2
    finally:
        assert moot("projections", "rebuild", "karma", "--data-dir", str(folder)).returncode == 0
    assert moot("doctor", "--data-dir", str(folder)).returncode == 0


def test_a_database_of_a_newer_moot_is_refused_untouched(folder: Path) -> None:
    with start_engines(load_settings({}, data_dir=folder)) as engines:
        with psycopg.connect(engines.database_url) as connection:
            connection.execute("INSERT INTO public.migrations (number, name, sha256) VALUES (999, 'future', 'x')")
        found = moot("doctor", "--data-dir", str(folder))
        with psycopg.connect(engines.database_url) as connection:
            connection.execute("DELETE FROM public.migrations WHERE number = 999")
    assert found.returncode == 1
    assert "last used by a newer version of Moot (migration 999_future)" in found.stderr


def test_an_api_that_does_not_answer_is_named_and_so_is_something_else_in_its_place(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    there = f"http://127.0.0.1:{port}"
    gone = moot("post", "Hello", "--data-dir", str(tmp_path), MOOT_API_URL=there)
    assert gone.returncode == 1
    assert f"Nothing answers at {there}/graphql." in gone.stderr
    assert "fix: Start it (moot api), or correct MOOT_API_URL." in gone.stderr
    with HTTPServer(("127.0.0.1", port), BaseHTTPRequestHandler) as other:
        thread = Thread(target=other.handle_request)
        thread.start()
        found = moot("post", "Hello", "--data-dir", str(tmp_path), MOOT_API_URL=there)
        thread.join()
    assert found.returncode == 1
    assert f"Something else than Moot answers at {there}/graphql." in found.stderr
    assert "HTTP 501" in found.stderr


def test_a_database_without_a_schema_is_said_to_need_one(database: str) -> None:
    variables = {
        "MOOT_DATABASE_URL": database,
        "MOOT_REDIS_URL": "redis://127.0.0.1:1",
        "MOOT_KAFKA_URL": "127.0.0.1:1",
    }
    settings = load_settings(variables)
    for name in ("relay", "views", "dead letters", "clock"):
        found = doctor_fleet._safely(name, doctor_fleet.CHECKS[name], settings)
        assert (found.ok, found.fix) == (False, "moot migrate"), found
