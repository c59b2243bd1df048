"""results.yaml reads as its users know it, for a single run and for a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.behaviour import sessions
from tests.behaviour.sessions import Ended

SINGLE = '''
    """C1: is the latent space sufficient?"""
    from pytest_gpuexp import at_least, at_most, experiment

    pytestmark = experiment(
        "c1-vlm-latent-sufficiency",
        claim="Die Räume genügen: 3 ≤ π 🙂",
        success_criteria={"lpips": at_most(0.35), "ssim": at_least(0.75)},
    )

    def e1_1_latent_visualization(runner):
        """Look at the latents."""
        path = runner.results.get_artifact_path("notes/by_hand.txt")
        path.write_text("by hand")
        return {
            "finding": "Latents show clear semantic clustering\\nand a “second” line\\n",
            "metrics": {"silhouette_score": 0.72},
            "artifacts": [runner.results.save_artifact("tsne_plot.png", b"PNG"), path],
        }

    def e1_2_reconstruction(runner):
        return {"metrics": {"lpips": 0.31, "ssim": 0.8}}
'''
SWEEP = """
    from pytest_gpuexp import experiment, grid, seeds

    pytestmark = experiment("swept")

    @seeds(3)
    @grid(**{"model.layers": [2, 4], "norm": [None, "größe"]})
    def exp_swept(runner, seed):
        config = runner.config["model"]
        runner.log_metrics({"loss": config["layers"] + seed})
        assert seed < 2
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("yaml")
    sessions.write(folder, exp_single=SINGLE, exp_sweep=SWEEP)
    return sessions.run(folder)


def text(ended: Ended, name: str) -> str:
    return (ended.folder / f"results/{name}/results.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def single(ended: Ended) -> dict[str, Any]:
    return dict(yaml.safe_load(text(ended, "c1-vlm-latent-sufficiency")))


@pytest.fixture(scope="module")
def swept(ended: Ended) -> dict[str, Any]:
    return dict(yaml.safe_load(text(ended, "swept")))


def test_the_keys_come_in_the_order_in_which_people_read_them(single: dict[str, Any]) -> None:
    assert list(single) == [
        "experiment_id",
        "claim",
        "status",
        "executed_by",
        "started_at",
        "completed_at",
        "success_criteria",
        "results",
        "assessment",
        "recommendation",
    ]


def test_a_single_run_reads_as_status_finding_metrics_and_artifacts(
    ended: Ended, single: dict[str, Any]
) -> None:
    entry = single["results"]["experiments"]["e1_1"]

    assert entry["status"] == "completed"
    assert entry["finding"] == "Latents show clear semantic clustering\nand a “second” line\n"
    assert entry["metrics"] == {"silhouette_score": 0.72}
    assert [Path(path).name for path in entry["artifacts"]] == ["by_hand.txt", "tsne_plot.png"]
    folder = ended.folder / "results/c1-vlm-latent-sufficiency"
    assert [(folder / path).read_bytes() for path in entry["artifacts"]] == [b"by hand", b"PNG"]


def test_what_is_missing_is_null_not_absent(single: dict[str, Any]) -> None:
    entry = single["results"]["experiments"]["e1_2"]

    assert entry["finding"] is None
    assert entry["artifacts"] == []


def test_thresholds_and_what_was_achieved_bear_the_metrics_names(single: dict[str, Any]) -> None:
    assert single["success_criteria"]["lpips_threshold"] == 0.35
    assert single["success_criteria"]["ssim_threshold"] == 0.75
    assert single["assessment"]["success_criteria_met"] is True
    assert single["assessment"]["lpips_achieved"] == 0.31
    assert single["assessment"]["confidence"] == "high"
    assert single["recommendation"] == "proceed"
    assert single["status"] == "completed"


def test_unicode_and_findings_of_many_lines_stay_readable(ended: Ended) -> None:
    shown = text(ended, "c1-vlm-latent-sufficiency")

    assert "claim: 'Die Räume genügen: 3 ≤ π 🙂'" in shown
    assert "finding: |\n        Latents show clear semantic clustering\n" in shown


def test_a_sweep_lists_its_variants_with_mean_spread_and_number(swept: dict[str, Any]) -> None:
    entry = swept["results"]["experiments"]["exp_swept"]
    variant = entry["variants"][0]

    assert len(entry["variants"]) == 4
    assert variant["metrics"]["loss"]["mean"] == 3.0
    assert variant["metrics"]["loss"]["std"] == 1.0
    assert variant["metrics"]["loss"]["n"] == 3
    assert [run["seed"] for run in variant["runs"]] == [0, 1, 2]
    assert {str(one["parameters"]["norm"]) for one in entry["variants"]} == {"None", "größe"}


def test_a_failed_assert_of_a_sweep_stands_with_its_values(swept: dict[str, Any]) -> None:
    run = swept["results"]["experiments"]["exp_swept"]["variants"][0]["runs"][2]

    assert (run["status"], run["verdict"]) == ("completed", "fail")
    assert run["metrics"] == {"loss": 4.0}
    assert run["failed_assertions"][0]["source"] == "seed < 2"
    assert "2 < 2" in run["failed_assertions"][0]["values"]


def test_no_half_written_file_is_left_behind(ended: Ended) -> None:
    leftovers = [
        path
        for path in (ended.folder / "results").glob("*/*")
        if path.is_file() and path.name != "results.yaml"
    ]

    assert leftovers == []


def test_a_later_session_replaces_the_report_and_keeps_the_records(ended: Ended) -> None:
    before = len(ended.record_files())

    again = sessions.run(ended.folder, "exp_single.py", "-k", "e1_2")

    assert len(again.record_files()) == before + 1
    entries = yaml.safe_load(text(again, "c1-vlm-latent-sufficiency"))["results"]["experiments"]
    assert entries["e1_2"]["attempt"] == 2
    assert entries["e1_1"]["attempt"] == 1
