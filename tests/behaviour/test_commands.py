"""What `gpuexp list`, `show` and `cancel` say of a storage, and what cancel ends."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from pytest_gpuexp import cli, processes
from tests.behaviour import sessions
from tests.behaviour.test_interrupts import SLOW, is_gone, project, two_have_begun
from tests.servers import BUCKET, Server

KEPT = """
    from pytest_gpuexp import at_least, experiment, seeds

    pytestmark = experiment("kept", claim="It holds.", success_criteria={"score": at_least(0.5)})

    @seeds(2)
    def exp_score(runner, seed):
        runner.log_metrics({"score": 1.0 + seed})
        runner.results.save_artifact("größe.txt", f"of seed {seed}")
        assert seed >= 0
        if seed:
            raise ValueError("broken")
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_GPUEXP_STORAGE", raising=False)


class Asked:
    """A command that was given, and what came of it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        capsys.readouterr()
        self.code = cli.main(words)
        told = capsys.readouterr()
        self.text, self.error = told.out, told.err

    @property
    def json(self) -> object:
        return json.loads(self.text)


def test_a_folder_is_listed_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = sessions.run(sessions.write(tmp_path, exp_kept=KEPT))
    record = ended.record("exp_score[seed:0]")
    (tmp_path / "results/notes").mkdir()

    listed = Asked(capsys, "list")
    linked = Asked(capsys, "list", "results", "--links", "--json")
    experiment = Asked(capsys, "show", "kept")
    run = Asked(capsys, "show", record["run_id"], "--json")
    attempt = Asked(capsys, "show", f"{record['run_id']}.1")
    unknown = Asked(capsys, "show", "kpet")

    assert listed.text == (
        "experiment  runs  status                 verdict    recommendation\n"
        "kept        2     1 completed, 1 failed  undecided  investigate\n"
    ), ended.text
    assert isinstance(linked.json, list)
    told = linked.json[0]
    assert told["statuses"] == {"completed": 1, "failed": 1}
    assert (told["verdict"], told["recommendation"], told["claim"]) == (
        "undecided",
        "investigate",
        "It holds.",
    )
    paths = sorted(told["artifacts"].values())
    assert sorted(Path(path).read_text() for path in paths) == ["of seed 0", "of seed 1"]
    assert experiment.text == (tmp_path / "results/kept/results.yaml").read_text()
    assert isinstance(run.json, dict)
    assert run.json["metrics"] == {"score": 1.0}
    assert yaml.safe_load(attempt.text)["attempt"] == 1
    assert unknown.code == 2
    assert "holds no experiment and no run 'kpet'. Experiments: kept. Runs: exp_" in unknown.error


def test_without_a_name_the_storage_of_the_ini_file_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ngpuexp_storage = kept here\n")
    sessions.run(sessions.write(tmp_path, exp_kept=KEPT))
    (tmp_path / "research_plan.yaml").write_text("experiments: {kept: {name: Kept}}\n")
    (tmp_path / "below").mkdir()

    assert Asked(capsys, "list").text.splitlines()[1].startswith("kept ")
    assert "claim: It holds." in Asked(capsys, "show", "kept").text
    assert "kept  Kept  [partial, not met]" in Asked(capsys, "plan").text

    monkeypatch.chdir(tmp_path / "below")  # where a session would make a folder of its own
    assert "there is no folder 'kept here' here" in Asked(capsys, "list").error
    monkeypatch.setenv("PYTEST_GPUEXP_STORAGE", str(tmp_path / "kept here"))
    assert Asked(capsys, "list").text.splitlines()[1].startswith("kept ")

    (tmp_path / ".coverage").write_text("what was measured")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --cov=x --storage='../kept here'\n")
    monkeypatch.setenv("PYTEST_GPUEXP_STORAGE", "nowhere")  # the command line outranks it
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    assert Asked(capsys, "list").text.splitlines()[1].startswith("kept ")
    assert (tmp_path / ".coverage").read_text() == "what was measured"

    monkeypatch.setenv("PYTEST_GPUEXP_STORAGE", "")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--storage='{tmp_path}/kept here'")
    assert Asked(capsys, "list").text.splitlines()[1].startswith("kept ")
    monkeypatch.delenv("PYTEST_ADDOPTS")


def test_where_pytest_cannot_say_which_storage_is_meant_it_may_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions.run(sessions.write(tmp_path, exp_kept=KEPT))
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = ['google-cloud-storage']\n")
    (tmp_path / "conftest.py").write_text("import no_such_module\n")
    assert Asked(capsys, "list").text.splitlines()[1].startswith("kept ")  # no word of ours

    (tmp_path / "pytest.ini").write_text("[pytest]\ngpuexp_storage = results\n")
    broken = Asked(capsys, "list")
    assert broken.code == 2
    assert "and cannot say which storage it knows: " in broken.error
    assert "No module named 'no_such_module'" in broken.error
    assert "Or name it: as the command's argument, or in PYTEST_GPUEXP_STORAGE." in broken.error
    assert Asked(capsys, "list", "results").text.splitlines()[1].startswith("kept ")

    (tmp_path / "conftest.py").unlink()
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_PLUGINS", raising=False)
    assert Asked(capsys, "list").text.splitlines()[1].startswith("kept ")  # as sessions, without us


def test_a_bucket_is_listed_with_links_that_need_no_keys(
    tmp_path: Path,
    moto: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in moto.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTEST_GPUEXP_STORAGE", f"s3://{BUCKET}/listed/below")
    sessions.run(sessions.write(tmp_path, exp_kept=KEPT))

    listed = Asked(capsys, "list", "--links")
    shown = Asked(capsys, "show", "kept")

    lines = listed.text.splitlines()
    assert lines[1].split()[:6] == ["kept", "2", "1", "completed,", "1", "failed"]
    found = []
    for line in lines[2:]:
        if line.startswith("    http"):
            with urllib.request.urlopen(line.strip(), timeout=20) as answer:
                found.append(answer.read().decode())
    assert sorted(found) == ["of seed 0", "of seed 1"]
    assert "score_achieved: 1.0" in shown.text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["list", "nowhere"], "there is no folder 'nowhere' here"),
        (["cancel", "ftp://x"], "storage 'ftp://x' is not known here"),
        (["show", "x", "s3://"], "the environment lacks TMGG_TIGRIS_BUCKET"),
        (["cancel", ".", "--experiment-id", "x"], "holds no experiment 'x'. Experiments: none."),
    ],
)
def test_what_cannot_be_looked_at_is_told(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Asked(capsys, *words)

    assert asked.code == 2
    assert told in asked.error


def test_an_empty_folder_holds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert Asked(capsys, "list", ".").text == f"no experiment is kept in {os.getcwd()}\n"
    assert Asked(capsys, "list", ".", "--json").json == []


def test_cancel_ends_what_a_killed_session_left_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project(tmp_path, SLOW)
    with sessions.started(folder, "--parallelism=2") as process:
        sessions.until(lambda: two_have_begun(folder))
        sessions.until(lambda: (folder / "stray").exists())
        at_work = Asked(capsys, "cancel")
        running = Asked(capsys, "list")
        process.kill()
        process.wait()
        pretend(folder, f"{os.getpid()}:1")  # a process that was given the pid since

        told = Asked(capsys, "cancel", "--experiment-id=slow", "--json")
        again = Asked(capsys, "cancel")

    assert at_work.text == "nothing that a dead session left is running on this machine\n"
    assert " 4 running " in running.text
    assert told.json == {"cancelled": 2, "ended": 0, "unrecorded": 2}
    assert again.text == at_work.text
    ended = sessions.Ended(code=0, text="", folder=folder)
    for seed in range(2):
        record = ended.record(f"exp_waits[seed:{seed}]")
        assert (record["status"], record["metrics"]) == ("cancelled", {"loss": 0.5})
    assert len(ended.record_files()) == 2
    sessions.until(lambda: is_gone(int((folder / "snapshot").read_text())))
    sessions.until(lambda: is_gone(int((folder / "stray").read_text())))


def pretend(folder: Path, handle: str) -> None:
    """Claim a run as a session would have whose snapshot was ``handle``."""
    claim: Mapping[str, object] = {"run_id": "exp_waits-0", "attempt": 1, "handle": handle}
    assert processes.lives(os.getpid(), str(processes.start_time(os.getpid())))
    (folder / "results/slow/jobs/exp_waits-0.1.yaml").write_text(yaml.safe_dump(claim))


def test_cancel_publishes_what_it_has_ended(
    tmp_path: Path,
    moto: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in moto.environ().items():
        monkeypatch.setenv(name, value)
    folder, storage = project(tmp_path, SLOW), f"s3://{BUCKET}/cancelled"
    with sessions.started(folder, "--parallelism=2", f"--storage={storage}") as process:
        sessions.until(lambda: two_have_begun(folder))
        process.kill()
        process.wait()

        told = Asked(capsys, "cancel", storage)

    assert told.text.splitlines()[0] == "2 runs ended and recorded as cancelled"
    keys = moto.keys("cancelled/slow/records/")
    assert [yaml.safe_load(moto.get(key))["status"] for key in keys] == ["cancelled"] * 2
