"""Where runs on Modal leave what they give: a bucket, a volume, and large files on their way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.behaviour import sessions
from tests.behaviour.modal_sessions import DIGITS, begin, executions, run
from tests.modal_server.starting import ModalServer
from tests.servers import Server

pytestmark = pytest.mark.timeout(150)


def test_a_bucket_takes_the_runs_that_modal_ran(
    deployed: ModalServer, project: Path, moto: Server
) -> None:
    sessions.write(
        project, exp_digits=DIGITS.replace("from helpers.models import score", "score = float")
    )

    ended = run(deployed, project, "--storage=s3://experiments/modal", **moto.environ())

    assert ended.code == 0, ended.text
    names = moto.keys("modal/digits/records/")
    assert len(names) == 4


LEAVING = """
    import time
    from pathlib import Path
    from pytest_gpuexp import experiment, seeds

    pytestmark = experiment("leaving")
    HERE = Path({folder!r})

    @seeds(2)
    def exp_leaves(runner, seed):
        with (HERE / "executed.txt").open("a") as file:
            file.write(f"{{seed}}\\n")
        if not seed:
            runner.results.save_artifact("large.bin", bytes(2 << 20))
        while seed and not (HERE / "go").exists():
            time.sleep(0.02)
        assert seed >= 0
"""


def test_a_file_that_is_slow_to_come_keeps_neither_other_runs_nor_an_interrupted_session(
    deployed: ModalServer, project: Path
) -> None:
    sessions.write(project, exp_leaving=LEAVING.format(folder=str(project)))
    records = project / "results/leaving/records"
    deployed.fault("VolumeGetFile2", delay=60)

    with begin(deployed, project) as session:
        sessions.until(lambda: any(deployed.root.glob("volumes/*/spool/*/leaving/**/large.bin")))
        (project / "go").touch()
        sessions.until(lambda: any(records.glob("*.yaml")))
        os.kill(session.pid, signal.SIGINT)
        left = sessions.ending(session, project)
    ended = run(deployed, project, "--resume")

    assert left.code == 2
    assert "did not end in time and have no record" in left.text
    assert ended.code == 0, ended.text
    assert ended.record("exp_leaves[seed:0]")["verdict"] == "pass"
    assert (
        ended.run_folder("exp_leaves[seed:0]") / "artifacts/large.bin"
    ).stat().st_size == 2 << 20
    assert executions(project) == 2


def test_a_volume_takes_the_runs_that_modal_ran(deployed: ModalServer, project: Path) -> None:
    sessions.write(
        project, exp_digits=DIGITS.replace("from helpers.models import score", "score = float")
    )

    first = run(deployed, project, "--storage=modal://foresight-results/sweeps")
    again = run(deployed, project, "--storage=modal://foresight-results/sweeps", "--resume")

    assert first.code == again.code == 0, again.text
    assert "4 of 4 runs kept" in again.text
    (volume,) = deployed.root.glob("volumes/*/sweeps/digits")
    assert len(list((volume / "records").glob("*.yaml"))) == 4
    assert (volume / "results.yaml").exists()
