"""Sessions whose runs go to the tests' Modal server."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.behaviour import sessions
from tests.modal_server.starting import ModalServer

DIGITS = """
    from pathlib import Path
    from pytest_gpuexp import at_least, experiment, grid, seeds, tier
    from helpers.models import score

    pytestmark = experiment("digits", success_criteria={"accuracy": at_least(0.5)})

    @seeds(2)
    @grid(width=[1, 2])
    @tier("debug", timeout="5m")
    def exp_fit(runner, seed, width):
        print("seed", seed)
        runner.log_metrics({"loss": 0.5}, step=3)
        runner.results.save_artifact("plots/größe.txt", f"of seed {seed}")
        runner.results.save_artifact("large.bin", bytes(2 << 20))
        runner.log_metrics({"accuracy": score(width)})
        assert width < 3
"""


FATES = """
    import os, signal, time
    from pathlib import Path
    from pytest_gpuexp import experiment, tier

    pytestmark = experiment("fates")

    def exp_fails(runner):
        runner.log_metrics({"x": 1.0})
        print("as it should be")
        assert runner.seed > 5

    def exp_crashes(runner):
        raise ValueError("no such layer")

    def exp_dies(runner):
        os.kill(os.getpid(), signal.SIGSEGV)

    @tier("debug", timeout=1)
    def exp_hangs(runner):
        runner.log_metrics({"x": 2.0})
        time.sleep(60)
"""


PYPROJECT = """
[project]
name = "tried"
version = "1"

[tool.gpuexp.modal]
secrets = []
# As on Modal, where the plugin is source that nobody has installed.
env = { PYTEST_DISABLE_PLUGIN_AUTOLOAD = "1" }
"""


def deploy(server: ModalServer, folder: Path, **environ: str) -> None:
    words = ["-m", "modal", "deploy", "-m", "pytest_gpuexp.backends.modal_app"]
    done = subprocess.run(
        [sessions.words()[0], *words],
        cwd=folder,
        env=sessions.environment(**server.environ, **environ),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def run(server: ModalServer, folder: Path, *arguments: str, **environ: str) -> sessions.Ended:
    return sessions.run(
        folder,
        "--backend=modal",
        "--parallelism=3",
        *arguments,
        changes={**server.environ, **environ},
    )


WAITING = """
    import time
    from pathlib import Path
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("waiting")
    HERE = Path({folder!r})

    @seeds(2)
    def exp_waits(runner, seed):
        with (HERE / "executed.txt").open("a") as file:
            file.write(f"{{seed}}\\n")
        print("begun", flush=True)
        runner.log_metrics({{"x": 1.0}})
        while not (HERE / "go").exists():
            time.sleep(0.02)
        assert seed >= 0
"""


def waiting(project: Path) -> None:
    sessions.write(project, exp_waiting=WAITING.format(folder=str(project)))


def executions(project: Path) -> int:
    """Return how often a handler of ``waiting`` has begun."""
    file = project / "executed.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


def begin(server: ModalServer, project: Path, *arguments: str) -> Any:
    return sessions.started(
        project, "--backend=modal", "--parallelism=3", *arguments, changes=server.environ
    )


@contextmanager
def under_way(server: ModalServer, project: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give a session whose two runs have begun on Modal, and wait there for the file ``go``."""
    waiting(project)
    with begin(server, project) as session:
        sessions.until(lambda: executions(project) == 2)
        yield session


def busy(server: ModalServer) -> list[dict[str, Any]]:
    return [one for one in server.containers() if one["call_ids"]]


def run_when_back(server: ModalServer, folder: Path, *arguments: str) -> sessions.Ended:
    def answers() -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", server.port), 1).close()
            return True
        return False

    sessions.until(answers)
    return run(server, folder, *arguments)
