"""Sessions end while their runs are on Modal, and the next one takes these over."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.behaviour import sessions
from tests.behaviour.modal_sessions import (
    begin,
    busy,
    executions,
    run,
    run_when_back,
    under_way,
    waiting,
)
from tests.modal_server.starting import ModalServer

pytestmark = pytest.mark.timeout(150)


def assert_interrupted_unheard_and_collected(
    deployed: ModalServer, project: Path, session: subprocess.Popen[bytes]
) -> None:
    """End ``session`` while Modal is away, and have the next one collect its two runs."""
    deployed.go_away(10.0)
    os.kill(session.pid, signal.SIGINT)
    ended = sessions.ending(session, project)
    (project / "go").touch()
    resumed = run_when_back(deployed, project, "--resume")

    assert ended.code == 2
    assert "they may go on there, and pytest --resume collects what they give" in ended.text
    assert resumed.code == 0, resumed.text
    assert executions(project) == 2


def test_an_interrupted_session_that_nobody_answers_says_what_may_go_on(
    deployed: ModalServer, project: Path
) -> None:
    with under_way(deployed, project) as session:
        assert_interrupted_unheard_and_collected(deployed, project, session)


def test_a_call_that_was_never_heard_of_is_collected_where_nobody_could_end_it(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    before = len(deployed.calls())
    deployed.fault("FunctionMap", count=8, status="DATA_LOSS", lost=True)

    with begin(deployed, project) as session:
        sessions.until(lambda: executions(project) >= 2)
        sessions.until(lambda: len(deployed.calls()) >= before + 8)
        assert_interrupted_unheard_and_collected(deployed, project, session)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_session_ends_its_containers_and_says_how_many(
    deployed: ModalServer, project: Path, number: int
) -> None:
    with under_way(deployed, project) as session:
        started = time.monotonic()
        os.kill(session.pid, number)
        ended = sessions.ending(session, project)
        took = time.monotonic() - started

    assert ended.code == 2
    assert "2 running experiments were ended" in ended.text
    assert {one["status"] for one in ended.records("exp_waits[seed:0]")} == {"cancelled"}
    assert took < 30  # it takes 3 s on two cores with nine processes on them
    sessions.until(lambda: not busy(deployed))


def test_a_call_that_the_session_never_heard_of_is_ended_with_it(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    before = len(deployed.calls())
    deployed.scale(2)  # what is spawned again waits, and does not learn who has its claim
    deployed.fault("FunctionMap", count=2, status="DATA_LOSS", lost=True)

    with begin(deployed, project) as session:
        sessions.until(lambda: executions(project) >= 2)
        sessions.until(lambda: len(deployed.calls()) == before + 4)
        os.kill(session.pid, signal.SIGINT)
        ended = sessions.ending(session, project)
    deployed.scale(3)

    assert ended.code == 2
    assert "2 running experiments were ended" in ended.text
    sessions.until(lambda: not busy(deployed))


def test_a_killed_session_s_runs_are_taken_over_and_none_is_run_twice(
    deployed: ModalServer, project: Path
) -> None:
    with under_way(deployed, project) as session:
        session.kill()

    (project / "go").touch()
    ended = run(deployed, project, "--resume")

    assert ended.code == 0, ended.text
    assert "2 taken over, begun " in ended.text
    assert executions(project) == 2
    assert [one["attempt"] for one in ended.records("exp_waits[seed:0]")] == [1]


def test_what_runs_old_code_is_not_taken_for_a_result_of_the_new(
    deployed: ModalServer, project: Path
) -> None:
    with under_way(deployed, project) as session:
        session.kill()
    source = (project / "exp_waiting.py").read_text()
    (project / "exp_waiting.py").write_text(source.replace('"x": 1.0', '"x": 2.0'))

    (project / "go").touch()
    ended = run(deployed, project, "--resume")

    assert ended.code == 0, ended.text
    assert ended.record("exp_waits[seed:0]")["metrics"] == {"x": 2.0}


def test_a_session_whose_terminal_closes_leaves_its_runs_to_the_next(
    deployed: ModalServer, project: Path
) -> None:
    with under_way(deployed, project) as session:
        session.send_signal(signal.SIGHUP)
        session.wait(20)
        running = len(busy(deployed))
        (project / "go").touch()

    ended = run(deployed, project, "--resume")

    assert running == 2
    assert ended.code == 0, ended.text
    assert executions(project) == 2


def test_a_call_whose_id_was_never_written_down_is_found_by_its_claim(
    deployed: ModalServer, project: Path
) -> None:
    with under_way(deployed, project) as session:
        session.kill()
    for job in project.glob("results/waiting/jobs/*.yaml"):
        job.write_text(re.sub(r":fc-\w+", "", job.read_text()))

    (project / "go").touch()
    ended = run(deployed, project, "--resume")

    assert ended.code == 0, ended.text
    assert executions(project) == 2


def test_an_intent_that_never_became_a_call_is_run_now(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    (project / "go").touch()
    first = run(deployed, project)
    for record in first.record_files():
        record.unlink()
    for job in project.glob("results/waiting/jobs/*.yaml"):
        job.write_text(re.sub(r"handle: .*", 'handle: "never-spawned"', job.read_text()))

    ended = run(deployed, project, "--resume")

    assert ended.code == 0, ended.text
    assert executions(project) == 4


def test_a_result_that_modal_keeps_no_longer_is_run_again(
    deployed: ModalServer, project: Path
) -> None:
    waiting(project)
    (project / "go").touch()
    first = run(deployed, project)
    for record in first.record_files():
        record.unlink()
    for job in project.glob("results/waiting/jobs/*.yaml"):
        found = re.search(r"fc-\w+", job.read_text())
        assert found
        deployed.expire(found[0])

    ended = run(deployed, project, "--resume")

    assert ended.code == 0, ended.text
    assert "exp_waits[seed:0] runs again: Modal keeps results for 7 days" in ended.text
    assert [one["status"] for one in ended.records("exp_waits[seed:0]")] == ["lost", "completed"]


def test_detached_runs_go_on_alone_and_are_collected(deployed: ModalServer, project: Path) -> None:
    waiting(project)

    left = run(deployed, project, "--detach")
    (project / "go").touch()
    ended = run(deployed, project, "--resume")

    assert left.code == 0, left.text
    assert "2 runs are on Modal, without this session" in left.text
    assert ended.code == 0, ended.text
    assert "2 taken over" in ended.text
    assert executions(project) == 2
    variants = deployed.journal("variant")
    assert variants[-1]["max_containers"] == 3
