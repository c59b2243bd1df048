"""The experiment's results.yaml."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_gpuexp import documents
from pytest_gpuexp.conclusions import ExperimentReport, Judgement
from pytest_gpuexp.criteria import assess, at_least, at_most
from pytest_gpuexp.records import Artifact, Assertion, Experiment, ExperimentResult
from pytest_gpuexp.results import document, write_results
from pytest_gpuexp.summary import summarise_variants


class Shelf:
    """A storage in memory that keeps whole files."""

    url = "memory:"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self.files[name] = data

    def write_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        return self.files.setdefault(name, data) is data

    def read(self, name: str) -> bytes:
        return self.files[name]

    def list(self, prefix: str) -> Iterator[str]:
        return iter(())

    def exists(self, name: str) -> bool:
        return name in self.files

    def delete(self, name: str) -> None:
        del self.files[name]

    def upload_file(self, path: Path, name: str) -> None:
        raise NotImplementedError

    def download_file(self, name: str, path: Path) -> None:
        raise NotImplementedError


def run(
    handler: str = "e1_1", seed: int = 0, lr: float | None = None, **fields: Any
) -> ExperimentResult:
    inside = [f"lr:{lr}"] * (lr is not None) + [f"seed:{seed}"]
    given: dict[str, Any] = {
        "experiment_id": "c1-vlm-latent-sufficiency",
        "run_id": f"{handler}-{lr}-{seed}",
        "attempt": 1,
        "handler": handler,
        "name": f"{handler}[{'-'.join(inside)}]",
        "path": "experiments/exp_c1.py",
        "status": "completed",
        "verdict": "not_evaluated",
        "config": {},
        "parameters": {} if lr is None else {"lr": lr},
        "seed": seed,
    }
    return ExperimentResult(**given | fields)


def report_of(
    results: Sequence[ExperimentResult], criteria: dict[str, Any] | None = None, **fields: Any
) -> ExperimentReport:
    experiment = Experiment(
        experiment_id="c1-vlm-latent-sufficiency",
        claim="Latents suffice.",
        success_criteria=criteria or {},
    )
    variants = summarise_variants(results)
    assessment = assess(experiment, variants, fields.get("judgements", ()))
    return ExperimentReport(
        experiment=experiment, variants=variants, assessment=assessment, **fields
    )


def test_the_file_reads_as_the_seeds_page_shows_it() -> None:
    plot = Artifact(name="tsne_plot.png", sha256="00", bytes=1)
    results = [
        run(
            finding="Latents show clear semantic clustering",
            metrics={"silhouette_score": 0.72, "lpips": 0.31},
            artifacts=(plot,),
        ),
        run("e1_2", metrics={"ssim": 0.8}),
    ]
    criteria = {"lpips": at_most(0.35), "ssim": at_least(0.75, target=0.9, failure=0.5)}
    storage = Shelf()

    name = write_results(storage, report_of(results, criteria, executed_by="ana@host"))

    assert name == "c1-vlm-latent-sufficiency/results.yaml"
    assert storage.files[name].decode() == EXPECTED


EXPECTED = """\
experiment_id: c1-vlm-latent-sufficiency
claim: Latents suffice.
status: completed
executed_by: ana@host
started_at: null
completed_at: null
success_criteria:
  lpips_threshold: 0.35
  lpips_direction: at_most
  ssim_threshold: 0.75
  ssim_direction: at_least
  ssim_target: 0.9
  ssim_failure: 0.5
results:
  experiments:
    e1_1:
      status: completed
      finding: Latents show clear semantic clustering
      metrics:
        silhouette_score: 0.72
        lpips: 0.31
      artifacts:
      - runs/e1_1-None-0/1/artifacts/tsne_plot.png
      run_id: e1_1-None-0
      seed: 0
      attempt: 1
      verdict: not_evaluated
    e1_2:
      status: completed
      finding: null
      metrics:
        ssim: 0.8
      artifacts: []
      run_id: e1_2-None-0
      seed: 0
      attempt: 1
      verdict: not_evaluated
assessment:
  success_criteria_met: true
  lpips_achieved: 0.31
  ssim_achieved: 0.8
  confidence: high
  verdict: pass
  judged: any
  variant: e1_1, e1_2
  variants_met: 2
  variants_judged: 2
  notes:
  - 2 of 2 variants meet all criteria that are asked of them
  - 'no handler measures all criteria: lpips from e1_1; ssim from e1_2'
  - ssim 0.8 misses its target 0.9
  - 'one seed: no spread is known'
recommendation: proceed
"""


def test_a_sweep_shows_mean_spread_and_number_over_seeds_and_its_runs() -> None:
    results = [
        run(lr=0.1, seed=0, metrics={"acc": 0.9}, finding="first", attempt=2, verdict="pass"),
        run(lr=0.1, seed=1, metrics={"acc": 0.7}, finding="second"),
        run(lr=0.2, seed=0, metrics={"acc": 0.1}, finding="of a worse one"),
    ]

    entry = document(report_of(results, {"acc": at_least(0.5)}))["results"]["experiments"]["e1_1"]

    assert (entry["status"], entry["finding"]) == ("completed", "second")
    first, second = entry["variants"]
    assert first["parameters"] == {"lr": 0.1}
    assert first["status"] == {"completed": 2}
    assert first["metrics"]["acc"] | {"std": round(first["metrics"]["acc"]["std"], 6)} == {
        "mean": 0.8,
        "std": 0.141421,
        "n": 2,
    }
    assert first["runs"] == [
        {
            "run_id": "e1_1-0.1-0",
            "seed": 0,
            "attempt": 2,
            "status": "completed",
            "verdict": "pass",
            "metrics": {"acc": 0.9},
            "finding": "first",
        },
        {
            "run_id": "e1_1-0.1-1",
            "seed": 1,
            "status": "completed",
            "metrics": {"acc": 0.7},
            "finding": "second",
        },
    ]
    assert second["metrics"] == {"acc": {"mean": 0.1, "std": None, "n": 1}}


def test_a_run_that_did_not_complete_shows_its_error_and_what_is_missing() -> None:
    results = [
        run(seed=0, metrics={"acc": 0.9}),
        run(seed=1, status="timeout", error_type="Timeout", error_message="after 600 s"),
    ]

    entry = document(report_of(results))["results"]["experiments"]["e1_1"]

    assert entry["status"] == "partial"
    (variant,) = entry["variants"]
    assert variant["status"] == {"completed": 1, "timeout": 1}
    assert variant["metrics"]["acc"]["missing"] == 1
    assert variant["runs"][1]["error"] == "Timeout: after 600 s"


def test_assertions_that_failed_are_shown_with_line_source_and_values() -> None:
    met = Assertion(line=3, source="a > 0", met=True, count=1, first="1 > 0", last="1 > 0")
    failed = Assertion(line=4, source="a > 2", met=False, count=1, first="1 > 2", last="1 > 2")
    result = run(verdict="fail", assertions=(met, failed), expected_failure="known")

    entry = document(report_of([result]))["results"]["experiments"]["e1_1"]

    assert entry["verdict"] == "fail"
    assert entry["expected_failure"] == "known"
    assert entry["failed_assertions"] == [{"line": 4, "source": "a > 2", "values": "1 > 2"}]


def test_status_of_a_handler_is_that_of_its_runs_where_they_agree() -> None:
    def status(*statuses: str) -> Any:
        results = [run(seed=seed, status=each) for seed, each in enumerate(statuses)]
        return document(report_of(results))["results"]["experiments"]["e1_1"]["status"]

    assert status("timeout") == status("timeout", "timeout") == "timeout"
    assert status("oom", "timeout") == "failed"
    assert status("completed", "failed") == "partial"
    assert status("completed", "completed") == "completed"


def test_criteria_stand_with_their_explanation() -> None:
    judgements = [
        Judgement(name="crit_a", verdict="fail", explanation="0.3 < 0.02\nfor lr 0.1"),
        Judgement(name="crit_b", verdict="pass"),
    ]

    data = document(report_of([run(metrics={"acc": 1})], judgements=judgements))

    assert data["criteria"] == [
        {"name": "crit_a", "verdict": "fail", "explanation": "0.3 < 0.02\nfor lr 0.1"},
        {"name": "crit_b", "verdict": "pass"},
    ]


def test_handlers_are_described_by_their_docstrings_and_nan_is_kept() -> None:
    results = [run(metrics={"acc": math.nan})]

    text = documents.dump(document(report_of(results, handler_docs={"e1_1": "Look at latents."})))

    assert b"    e1_1:\n      description: Look at latents.\n" in text
    assert b"acc: .nan" in text


def test_the_finding_is_not_taken_from_a_variant_whose_name_begins_alike() -> None:
    results = [
        run("exp_a", metrics={"acc": 0.6}, finding="a0"),
        run("exp_a", seed=1, metrics={"acc": 0.6}, completed_at="2", finding="a1"),
        run("exp_ab", metrics={"acc": 0.9}, finding="b"),
    ]

    data = document(report_of(results, {"acc": at_least(0.5)}))

    assert data["assessment"]["variant"] == "exp_ab"
    assert data["results"]["experiments"]["exp_a"]["finding"] == "a1"
