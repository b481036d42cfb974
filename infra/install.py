"""Make ``.venv`` and put a hash-locked set of packages into it. Run by ``task``: ``ROOT LOCK MARKER STAMP``.

Uses nothing but the standard library of whatever Python 3.11 or newer is at hand, and nothing of Moot: nothing is
installed yet. ``STAMP`` goes into ``.venv/MARKER`` once all is in place; until then a file says that an install is
under way, and one that was cut off is started over from an empty ``.venv``.
"""

import fcntl
import os
import subprocess
import sys
import time
import venv
from collections import deque
from pathlib import Path

LOG_LINES_SHOWN = 25
FREE_BYTES_MIN = 700 * 1024**2
"""What the whole set takes on disk, unpacked, with room for what pip unpacks meanwhile."""


def main(root: Path, lock: str, marker: str, stamp: str) -> int:
    """Install unless another process just did. Gives the exit code."""
    with (root / ".venv.lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another install is under way in this folder; waiting for it.")
            fcntl.flock(held, fcntl.LOCK_EX)
        folder = root / ".venv"
        if _read(folder / marker) == stamp:
            return 0
        free = os.statvfs(root)
        if free.f_bavail * free.f_frsize < FREE_BYTES_MIN:
            fail(
                f"Only {free.f_bavail * free.f_frsize // 1024**2} MB are free where {root} is.",
                f"The packages need {FREE_BYTES_MIN // 1024**2} MB.",
                "Free some space and run the same command again.",
            )
            return 1
        return install(root, folder, lock, folder / marker, stamp)


def install(root: Path, folder: Path, lock: str, marker: Path, stamp: str) -> int:
    """Make the environment if it cannot be built upon, and install the packages of ``lock`` into it."""
    began = time.monotonic()
    under_way = folder / ".installing"
    python = folder / "bin" / "python"
    made_by = _read(folder / ".made-by")
    maker = f"{root}\n{sys.executable}\n{sys.version}"
    if under_way.exists() or made_by != maker:
        say(f"Making .venv with Python {sys.version.split()[0]} ({sys.executable}).")
        try:
            venv.create(folder, clear=True, with_pip=True, symlinks=True)
        except (OSError, subprocess.CalledProcessError) as error:
            fail(
                "The virtual environment could not be made.",
                str(error),
                "Put that right (sudo apt install python3-venv on Debian) and run the same command again.",
            )
            return 1
        (folder / ".made-by").write_text(maker, encoding="utf-8")
    under_way.touch()
    if not pip_install(python, root / lock, folder / "install.log"):
        return 1
    launchers(root, folder)
    marker.write_text(stamp, encoding="utf-8")
    under_way.unlink()
    say(f"Installed in {time.monotonic() - began:.0f} s. The next start takes seconds.")
    return 0


def pip_install(python: Path, lock: Path, log: Path) -> bool:
    """Run pip, showing which package of how many it is at; on failure, the end of what it said."""
    total = sum("==" in line for line in lock.read_text(encoding="utf-8").splitlines())
    say(f"Installing up to {total} packages, each checked against its hash in {lock.name}.")
    command = [str(python), "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", str(lock)]
    if os.geteuid() == 0:
        command += ["--root-user-action", "ignore"]
    seen = 0
    last: deque[str] = deque(maxlen=LOG_LINES_SHOWN)
    with (
        log.open("w", encoding="utf-8") as record,
        subprocess.Popen(  # noqa: S603 - pip of our own environment
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            record.write(line)
            last.append(line.rstrip())
            word, _, rest = line.strip().partition(" ")
            if word == "Collecting":
                seen += 1
                progress(f"[{seen:>3}/{total}] {rest.split('==')[0]}")
            elif line.startswith("Installing collected packages"):
                progress("Unpacking and compiling …")
    progress("")
    if process.returncode == 0:
        return True
    fail(
        "The packages could not be installed.",
        "\n".join(last),
        f"Usually the network or a proxy: check them and run the same command again. All of it is in {log}",
    )
    return False


def launchers(root: Path, folder: Path) -> None:
    """Put this repository on the environment's path, and a ``moot`` command beside its Python."""
    packages = next((folder / "lib").glob("python3.*/site-packages"))
    (packages / "moot.pth").write_text(f"{root}\n", encoding="utf-8")
    script = folder / "bin" / "moot"
    script.write_text(
        f'#!/bin/sh\nexec {_quoted(folder / "bin" / "python")} -P -m streams.cli "$@"\n', encoding="utf-8"
    )
    script.chmod(0o755)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def progress(text: str) -> None:
    """Show where it is: over the last such line on a terminal, every tenth or so line elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
    elif text and (not text.startswith("[") or text[3] == "0"):
        sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def say(text: str) -> None:
    """A line for the person who waits. Standard output belongs to the command that follows."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def fail(what: str, why: str, fix: str) -> None:
    """What went wrong, why, and what to do."""
    say(f"\nerror: {what}\n\n{why}\n\nfix: {fix}")


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), *sys.argv[2:5]))
    except KeyboardInterrupt:
        say("\nStopped. The next run starts the install over.")
        sys.exit(130)
