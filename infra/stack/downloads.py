"""What the stack is made of and no Python wheel brings: Kafka's and Cassandra's jars by Maven, the fault proxy by Go.

Kept in one folder for all stacks of a checkout. Each is put in place by a rename, so that a download that was cut off
leaves nothing behind, and under a lock, so that two at a time do it once.
"""

import fcntl
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra.stack.record import StackFailure

KAFKA_VERSION = "4.1.0"
CASSANDRA_VERSION = "5.0.5"
JAVA_MIN = 17
"""The oldest Java that Kafka 4's server runs on (its release notes), and the newest that Cassandra 5.0 does."""

TOXIPROXY_VERSION = "v2.12.0"
GO_MIN = (1, 21)
"""The oldest Go that gets itself the newer one that a program asks for; this one asks for 1.23 (its go.mod)."""

_TOXIPROXY = "github.com/Shopify/toxiproxy/v2/cmd/server"
_SECONDS_MAX = 1_200.0
"""How long one download may take: Cassandra's jars are 66 MB, and a mirror may be slow."""
_LINES_SHOWN = 15
"""Of what a tool said before it failed."""

Say = Callable[[str], None]
"""Takes a line for the person who waits."""


def java() -> str:
    """The path of a Java that is new enough. Raises ``StackFailure``."""
    home = os.environ.get("JAVA_HOME")
    path = shutil.which("java", path=f"{home}/bin") if home else None
    path = path or _tool("java", "Kafka and Cassandra run on it.", "openjdk-17-jre-headless")
    said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)  # noqa: S603 - just found
    version = re.search(r'version "(\d+)', said.stderr)
    if version is None or int(version[1]) < JAVA_MIN:
        raise StackFailure(
            f"{path} is Java {version[1] if version else 'of an unknown version'}.",
            f"Kafka {KAFKA_VERSION} needs {JAVA_MIN} or newer.",
            "Install a newer one (sudo apt install openjdk-17-jre-headless), or name it: JAVA_HOME=/path/to/jdk",
        )
    return path


def kafka_jars(downloads: Path, say: Say) -> Path:
    """The folder with Kafka's jars, downloaded if need be. Raises ``StackFailure``."""
    return _jars("Kafka", KAFKA_VERSION, "54 MB", downloads, say)


def cassandra_jars(downloads: Path, say: Say) -> Path:
    """The folder with Cassandra's jars, downloaded if need be. Raises ``StackFailure``."""
    return _jars("Cassandra", CASSANDRA_VERSION, "66 MB", downloads, say)


def _jars(server: str, version: str, size: str, downloads: Path, say: Say) -> Path:
    """The folder with all that a server is made of, as its ``….pom.xml`` says."""
    name, title = server.lower(), f"{server} {version}"
    folder = downloads / f"{name}-{version}"
    if folder.exists():
        return folder
    maven = _tool("mvn", f"{title}'s jars come through Maven.", "maven")
    with _alone(downloads):
        if not folder.exists():
            say(f"{title}: downloading its jars with Maven ({size} the first time)")
            draft = downloads / f"{folder.name}.new"
            shutil.rmtree(draft, ignore_errors=True)
            copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={draft / 'jars'}"]
            # Maven writes beside the pom that it reads, if anywhere.
            draft.mkdir(parents=True)
            pom = Path(shutil.copy(Path(__file__).with_name(f"{name}.pom.xml"), draft / "pom.xml"))
            command = [maven, "-B", "-f", str(pom), f"-D{name}.version={version}", *copy]
            _run(f"{title}'s jars", command, downloads / f"{name}.log", _counting(title, say), {})
            (draft / "jars").replace(folder)
            shutil.rmtree(draft)
    return folder


def toxiproxy_server(downloads: Path, say: Say) -> Path:
    """The path of the fault proxy's program, built if need be. Raises ``StackFailure``."""
    program = downloads / f"toxiproxy-{TOXIPROXY_VERSION}"
    if program.exists():
        return program
    go = _go()
    with _alone(downloads):
        if not program.exists():
            say(f"Toxiproxy {TOXIPROXY_VERSION}: building it with Go (half a minute the first time)")
            draft = downloads / f"{program.name}.new"
            command = [go, "install", f"{_TOXIPROXY}@{TOXIPROXY_VERSION}"]
            _run("Toxiproxy", command, downloads / "toxiproxy.log", lambda line: None, {"GOBIN": str(draft)})
            (draft / "server").replace(program)
            draft.rmdir()
    return program


def _go() -> str:
    """The path of a Go that is new enough. Raises ``StackFailure``."""
    path = _tool("go", "The fault proxy is built with it.", "golang-go")
    said = subprocess.run([path, "version"], capture_output=True, text=True, check=False)  # noqa: S603 - just found
    version = re.search(r"go(\d+)\.(\d+)", said.stdout)
    if version is None or (int(version[1]), int(version[2])) < GO_MIN:
        raise StackFailure(
            f"{path} is Go {version[0].removeprefix('go') if version else 'of an unknown version'}.",
            f"Toxiproxy {TOXIPROXY_VERSION} needs {GO_MIN[0]}.{GO_MIN[1]} or newer to build.",
            "Install a newer one (Debian 12: sudo apt install -t bookworm-backports golang-go; or from go.dev/dl) "
            "and put it first on the PATH.",
        )
    return path


def _counting(title: str, say: Say) -> Say:
    """Takes what Maven says, and tells of every tenth jar that came over the network."""
    jars = 0

    def line(text: str) -> None:
        nonlocal jars
        if "Downloaded from" in text and ".jar " in text:
            jars += 1
            if jars % 10 == 0:
                say(f"{title}: {jars} jars downloaded")

    return line


def _tool(name: str, why: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise StackFailure(
            f"{name} was not found on the PATH.", why, f"Install it (Debian, Ubuntu: sudo apt install {package})"
        )
    return path


def _run(what: str, command: Sequence[str], log: Path, line: Say, environment: dict[str, str]) -> None:
    """Run a tool in this user's own environment and pass on its lines. Raises ``StackFailure`` with its last ones."""
    with (
        log.open("w", encoding="utf-8") as record,
        subprocess.Popen(  # noqa: S603 - a tool from the PATH with our own arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **environment},
        ) as process,
    ):
        assert process.stdout is not None
        enough = threading.Timer(_SECONDS_MAX, process.kill)
        enough.start()
        try:
            for text in process.stdout:
                record.write(text)
                line(text.rstrip())
        finally:
            enough.cancel()
    if process.returncode != 0:
        end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES_SHOWN:]
        raise StackFailure(
            f"{what} could not be had.",
            "\n".join(end) or f"{command[0]} ended with {process.returncode}.",
            f"Usually the network or a proxy: check them and run the same command again. All of it is in {log}",
        )


@contextmanager
def _alone(downloads: Path) -> Iterator[None]:
    downloads.mkdir(parents=True, exist_ok=True)
    with (downloads / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
