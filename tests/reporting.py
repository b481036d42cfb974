"""What a test run says at its end: which suites were skipped and why, and the counts as the closing line.

A skip is for a tool that may be missing on a machine, and is announced; any other skip, and any when
``--nothing-skipped`` is given, fails the run: a suite that is green when it did not run proves nothing.
"""

import pytest
from _pytest.terminal import TerminalReporter

OPTIONAL = ("Node.js", "A small disk")
"""How the reason of a permitted skip begins: the tool that is missing."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.addoption("--stack-dir", metavar="FOLDER", help="attach to the native stack that runs in this folder")
    parser.addoption("--long", action="store_true", help="larger histories in tests of faults: hours")
    parser.addoption("--seeds", type=int, metavar="N", help="of a test of faults at random moments")
    parser.addoption("--nothing-skipped", action="store_true", help="fail when anything was skipped")


def reasons(reporter: TerminalReporter) -> dict[str, int]:
    """Why tests were skipped, and how many for each reason."""
    found: dict[str, int] = {}
    for report in reporter.stats.get("skipped", []):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = text.removeprefix("Skipped: ")
        found[reason] = found.get(reason, 0) + 1
    return found


def refused(reporter: TerminalReporter, *, everything: bool) -> list[str]:
    """The reasons for which nothing may be skipped."""
    return [reason for reason in reasons(reporter) if everything or not reason.startswith(OPTIONAL)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that skipped what it must not."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and refused(reporter, everything=session.config.getoption("--nothing-skipped")):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Write the last lines, after everything that pytest itself has to say."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput") or config.option.collectonly:
        return
    bad = refused(reporter, everything=config.getoption("--nothing-skipped"))
    for reason, count in reasons(reporter).items():
        reporter.write_line(f"skipped {count}: {reason}" + (" - NOT PERMITTED" if reason in bad else ""))
    counts = {kind: len(reporter.stats.get(kind, [])) for kind in ("passed", "failed", "error", "skipped")}
    failed = counts["failed"] + counts["error"]
    reporter.write_line(f"{counts['passed']} passed, {failed} failed, {counts['skipped']} skipped")
