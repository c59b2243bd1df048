"""In a real terminal, pytest's output and ours stand side by side and nothing else remains."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pyte
import pytest

CONFTEST = """
import pytest
from pytest_gpuexp import terminal
from pytest_gpuexp.conclusions import Assessment, ExperimentReport
from pytest_gpuexp.records import Experiment, ExperimentResult, Outcome

RESULT = ExperimentResult(
    experiment_id="c1", run_id="0", attempt=1, handler="exp_mlp", name="exp_mlp[seed:0]",
    path="exp_c1.py", status="completed", verdict="pass", config={}, parameters={}, seed=0,
    metrics={"accuracy": 0.97}, duration_seconds=2.0,
)
ASSESSMENT = Assessment(
    met=None, verdict="pass", achieved={}, variant=None, variants_met=0, variants_judged=0,
    confidence="high", recommendation="proceed",
)
REPORT = ExperimentReport(
    experiment=Experiment(experiment_id="c1"), variants=(), assessment=ASSESSMENT
)


def pytest_sessionstart(session):
    config = session.config
    config.now = 0.0
    config.display = terminal.build(config, clock=lambda: config.now)


def tell(display, done, running):
    counts = {"passed": done}
    display.progress(done=done, total=9, running=running, counts=counts, said=lambda name: "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    config, display = item.config, item.config.display
    running = {f"exp_mlp[seed:{seed}]": 1.0 for seed in range(3)}
    for done in range(1, 4):
        config.now += 31
        tell(display, done, running)
        display.run_finished(Outcome(result=RESULT), done=done, total=9)
        tell(display, done, running)
    if display.shows_runs:
        display.notice("told once")
    display.withdraw()
    return (yield)


def pytest_terminal_summary(config):
    config.display.session_finished([REPORT], places={"c1": "results/c1/results.yaml"})
"""
TESTS = """
def test_one():
    print("printed by a test")

def test_two():
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_plain.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def environment(**extra: str) -> dict[str, str]:
    """Return an environment that says nothing of colours, sizes or CI but what ``extra`` does."""
    own = ("PYTEST", "PY_COLORS", "COV_", "CI", "BUILD_NUMBER", "NO_COLOR", "FORCE_COLOR")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(own) and name not in ("COLUMNS", "LINES")
    }
    path = os.pathsep.join(entry for entry in sys.path if entry)
    fixed = {"TERM": "xterm-256color", "PYTHONUTF8": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return {**kept, **fixed, "PYTHONPATH": path, **extra}


def in_terminal(project: Path, *options: str, **extra: str) -> str:
    """Return all that pytest writes to a terminal of 100 x 24."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    with subprocess.Popen(
        command, cwd=project, env=environment(**extra), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        data = b""
        with contextlib.suppress(OSError):  # Linux ends a terminal in this way
            while chunk := os.read(ours, 65536):
                data += chunk
        os.close(ours)
    assert process.returncode == 0, data.decode()
    return data.decode()


def on_screen(text: str) -> list[str]:
    """Return the lines that somebody who scrolls through the window finds when all is over."""
    screen = pyte.HistoryScreen(100, 24, history=1000)
    pyte.Stream(screen).feed(text)
    gone = ["".join(line[column].data for column in range(100)) for line in screen.history.top]
    return [line.rstrip() for line in (*gone, *screen.display)]


def test_the_live_region_comes_and_goes_and_leaves_every_line_whole(project: Path) -> None:
    text = in_terminal(project)

    lines = on_screen(text)
    assert text.count("3 running") >= 6
    assert not any("running" in line for line in lines)
    assert [line for line in lines if line.startswith("PASSED")] == [
        f"{'PASSED  exp_c1.py::exp_mlp[seed:0]  accuracy 0.97':<88}2.0s  [{done}/9]"
        for done in (1, 2, 3, 1, 2, 3)
    ]
    assert sum(line.startswith("test_plain.py .") for line in lines) == 2
    assert lines.count("gpuexp: told once") == 2
    assert any("= experiments =" in line for line in lines)
    assert "  report          results/c1/results.yaml" in lines


def test_with_v_pytests_own_lines_stay_whole_beside_ours(project: Path) -> None:
    lines = on_screen(in_terminal(project, "-v"))

    for name in ("one", "two"):
        assert sum(line.startswith(f"test_plain.py::test_{name} PASSED") for line in lines) == 1
    assert sum(line.startswith("PASSED  exp_c1.py") for line in lines) == 6


def test_color_no_leaves_no_colour_in_the_live_region_either(project: Path) -> None:
    text = in_terminal(project, "--color=no")

    assert "3 running" in text
    assert "m" not in {found[-1] for found in re.findall(r"\x1b\[[0-9;?]*[a-zA-Z]", text)}


@pytest.mark.parametrize(
    ("options", "extra"), [(["-s"], {}), ([], {"CI": "true"}), ([], {"TERM": "dumb"})]
)
def test_where_a_live_region_would_garble_there_are_heartbeats(
    project: Path, options: list[str], extra: dict[str, str]
) -> None:
    text = in_terminal(project, *options, **extra)

    assert "\x1b[J" not in text
    assert "gpuexp: 1/9 done, 3 running, 0:00:31 elapsed" in text


def test_with_q_pytests_dots_stay_together(project: Path) -> None:
    lines = on_screen(in_terminal(project, "-q"))

    assert lines[0].startswith("..  ")
    assert "c1: proceed (pass), results/c1/results.yaml" in lines


def test_a_pipe_gets_lines_without_any_escape_code(project: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )

    assert "\x1b" not in told.stdout
    assert told.stdout.count("running, 0:0") == 6
    assert told.stdout.count("PASSED  exp_c1.py::exp_mlp[seed:0]") == 6
    assert told.stderr == ""


def test_without_pytests_terminal_nothing_is_written(project: Path) -> None:
    assert in_terminal(project, "-p", "no:terminal") == ""
