"""Handlers registered and run in a script or a notebook, outside of pytest."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_gpuexp import ExperimentRunner, ResultsWriter, at_most
from pytest_gpuexp.errors import GpuexpError, RecordInvalid, UsageProblems
from tests.behaviour import sessions

# As Foresight's own runner writes it, by hand and with keys of its own.
THEIRS = """\
# kept by hand
experiment_id: c1-latents
status: completed
success_criteria:
  lpips_threshold: 0.35
  ssim_threshold: 0.75
hypothesis: {owner: kay, since: 2024-01-02}
results:
  experiments:
    e1_1:
      status: completed
      finding: "Latents show clear semantic clustering"
      metrics:
        silhouette_score: 0.72
      artifacts:
        - artifacts/tsne_plot.png
      seen_by: [kay]
assessment:
  success_criteria_met: true
  lpips_achieved: 0.31
  confidence: high
recommendation: proceed
"""


def e1_1(runner: ExperimentRunner) -> dict[str, Any]:
    for step in range(3):
        runner.log_metrics({"lpips": 0.5 - step / 10}, step=step)
    return {
        "finding": "clear",
        "metrics": {"silhouette_score": 0.72},
        "artifacts": [runner.results.save_artifact("tsne.png", b"png")],
    }


def crash(runner: ExperimentRunner) -> None:
    raise ValueError("boom")


def refuted(runner: ExperimentRunner) -> None:
    runner.log_metrics({"ssim": 0.5})
    assert runner.metrics["ssim"] > 0.7, "too blurred"


def made(folder: Path, **given: Any) -> ExperimentRunner:
    return ExperimentRunner("c1-latents", results_dir=folder, **given)


def written(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "c1-latents/results.yaml").read_text())
    return found


def test_run_all_writes_what_a_session_would(tmp_path: Path) -> None:
    runner = made(tmp_path, claim="they cluster", success_criteria={"lpips": at_most(0.35)})
    runner.register_handler("e1_1", e1_1)
    runner.register_handler("e1_2", crash)
    runner.register_handler("e1_3", refuted)

    results = runner.run_all()
    path = runner.finish()

    assert [one.status for one in results.values()] == ["completed", "failed", "completed"]
    assert results["e1_3"].verdict == "fail"
    assert path == tmp_path / "c1-latents/results.yaml"
    found = written(tmp_path)
    assert (found["claim"], found["status"]) == ("they cluster", "partial")
    assert found["success_criteria"] == {"lpips_threshold": 0.35, "lpips_direction": "at_most"}
    entries = found["results"]["experiments"]
    assert entries["e1_1"]["artifacts"] == ["artifacts/tsne.png"]
    assert entries["e1_1"]["metrics"] == {"lpips": 0.3, "silhouette_score": 0.72}
    assert entries["e1_2"]["error"] == "ValueError: boom"
    assert found["assessment"]["lpips_achieved"] == 0.3
    assert found["assessment"]["success_criteria_met"] is True
    lines = (tmp_path / "c1-latents/runs/e1_1/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]


def test_one_sub_experiment_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "c1-latents").mkdir()
    (tmp_path / "c1-latents/results.yaml").write_text(THEIRS)
    runner = made(tmp_path)
    runner.register_handler("e1_2", refuted)

    runner.run_sub_experiment("e1_2")

    found = written(tmp_path)
    before = yaml.safe_load(THEIRS)
    assert found["results"]["experiments"]["e1_1"] == before["results"]["experiments"]["e1_1"]
    assert found["results"]["experiments"]["e1_2"]["verdict"] == "fail"
    assert found["success_criteria"] == before["success_criteria"]
    assert found["hypothesis"]["owner"] == "kay"


def test_a_file_is_written_back_unchanged_where_nothing_changed(tmp_path: Path) -> None:
    file = tmp_path / "c1-latents/results.yaml"
    file.parent.mkdir()
    file.write_text(THEIRS)

    made(tmp_path).finish()

    assert file.read_text() == THEIRS


def test_the_setters_say_what_a_plan_needs_and_stand_over_what_follows(tmp_path: Path) -> None:
    runner = made(tmp_path)
    results = runner.results
    results.set_claim("a claim")
    results.set_success_criteria({"ssim": {"acceptable": 0.7, "direction": "at_least"}})
    results.add_blocker("no data")
    results.add_issue("noisy")
    results.skip("e1_9", "no handler")
    results.set_assessment(success_criteria_met=False, confidence="low", ssim_achieved=0.5)
    results.set_recommendation("pivot")
    results.set_status("blocked")
    runner.register_handler("e1_1", e1_1)

    runner.run_all()

    found = written(tmp_path)
    assert (found["status"], found["recommendation"], found["claim"]) == (
        "blocked",
        "pivot",
        "a claim",
    )
    assert (found["blockers"], found["issues"]) == (["no data"], ["noisy"])
    assert found["assessment"] == {
        "confidence": "low",
        "ssim_achieved": 0.5,
        "success_criteria_met": False,
    }
    assert found["results"]["experiments"]["e1_9"] == {
        "status": "skipped",
        "finding": None,
        "reason": "no handler",
    }


def test_wrong_words_are_refused_with_the_right_ones(tmp_path: Path) -> None:
    runner = made(tmp_path)

    with pytest.raises(GpuexpError, match="recommendation 'go' is none of proceed, pivot"):
        runner.results.set_recommendation("go")
    with pytest.raises(GpuexpError, match="'e1_1' has no handler; there are: none"):
        runner.run_sub_experiment("e1_1")
    with pytest.raises(GpuexpError, match="the handler of 'e1_1' is 3, no function"):
        runner.register_handler("e1_1", 3)  # type: ignore[arg-type]
    with pytest.raises(UsageProblems, match="names a folder"):
        ExperimentRunner("../up", results_dir=tmp_path)


def test_a_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "c1-latents/results.yaml"
    file.parent.mkdir()
    for text, told in (("[1]", "it is no mapping"), ("experiment_id: c2", "is of experiment 'c2'")):
        file.write_text(text)
        with pytest.raises(RecordInvalid, match=told):
            made(tmp_path)
        assert file.read_text() == text


def test_without_wandb_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(GpuexpError, match=r"pip install 'pytest-gpuexp\[wandb\]'"):
        made(tmp_path).init_wandb()


def test_with_wandb_metrics_are_mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Run:
        def log(self, metrics: dict[str, float]) -> None:
            told.append(metrics)

        def finish(self, *, exit_code: int) -> None:
            told.append(exit_code)

    def init(**given: Any) -> Run:
        told.append(given)
        return Run()

    module = types.ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    module.__spec__ = __spec__
    monkeypatch.setitem(sys.modules, "wandb", module)
    runner = made(tmp_path, config={"lr": 1})
    runner.register_handler("e1_2", refuted)

    runner.init_wandb(project="foresight", mode="offline")
    runner.run_all()
    runner.finish()

    given, logged, code = told
    assert given == {
        "project": "foresight",
        "name": "c1-latents",
        "config": {"lr": 1, "seed": 0},
        "mode": "offline",
    }
    assert (logged, code) == ({"ssim": 0.5, "step": 0}, 0)


def test_what_pytest_gives_as_runner_is_an_experiment_runner(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a="""
            from pytest_gpuexp import ExperimentRunner
            def exp_a(runner):
                assert isinstance(runner, ExperimentRunner)
        """,
    )

    assert sessions.run(tmp_path, "exp_a.py").code == 0


def test_the_writer_alone_loads_and_saves(tmp_path: Path) -> None:
    writer = ResultsWriter(tmp_path / "c1", "c1")

    writer.set_status("pending")

    assert yaml.safe_load(writer.save().read_text()) == {"experiment_id": "c1", "status": "pending"}
