"""Executes the documentation, and finds what it does not mention."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest

import pytest_gpuexp
from pytest_gpuexp import cli, hookspecs, options, project, provenance, results
from pytest_gpuexp.conclusions import (
    Assessment,
    ExperimentReport,
    Judgement,
    MetricSummary,
    VariantSummary,
)
from pytest_gpuexp.markers import MARKERS
from pytest_gpuexp.records import Artifact, Assertion, Experiment, ExperimentResult, Threshold
from pytest_gpuexp.replicates import Replicates
from pytest_gpuexp.runner import ExperimentRunner
from pytest_gpuexp.series import SeriesWriter
from tests import pages

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXECUTED = [page for page in PAGES if "```console" in page.read_text()]
_CODE = re.compile(r"`([^`\n]+)`")


@pytest.mark.timeout(400)  # a page is a dozen sessions, some of which import torch
@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_what_happens(page: Path, tmp_path: Path) -> None:
    pages.execute(page.read_text(), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text)

    missing = [target for target in targets if not (page.parent / target).exists()]

    assert missing == []


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "adr").glob("*.md")), ids=lambda page: cast(str, page.name)
)
def test_a_decision_takes_one_short_page(page: Path) -> None:
    lines = page.read_text().splitlines()

    assert re.fullmatch(r"\d{4}-[a-z-]+\.md", page.name)
    assert len(lines) <= 40
    assert {"## Context", "## Decision", "## Consequence"} <= set(lines)


def test_the_rooms_of_the_architecture_are_there() -> None:
    table = [line for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines() if "| `" in line]
    rooms = {room for line in table for room in _CODE.findall(line.split("|")[2])}
    package = Path(pytest_gpuexp.__file__).parent

    missing = [room for room in rooms if not list(package.glob(f"{room}*"))]

    assert rooms
    assert missing == []


def test_every_hook_stands_in_the_reference_with_its_signature() -> None:
    text = (REFERENCE / "hooks.md").read_text()

    missing = [name for name, line in _hooks() if f"## `{name}`\n\n```py\n{line}\n" not in text]

    assert missing == []


def test_every_option_has_its_row() -> None:
    declared = _Declarations()
    options.add_options(cast(Any, declared))
    options.add_short_options(cast(Any, declared))
    rows = _first_cells(REFERENCE / "options.md", columns=4)
    told = {name.partition("=")[0] for name in rows}

    wanted = {*declared.options, *declared.inis}
    wanted |= {f"PYTEST_{name.upper()}" for name in declared.single}

    assert wanted - told == set()


def test_every_key_of_the_projects_table_has_its_row() -> None:
    rows = _first_cells(REFERENCE / "project.md")

    assert {field.name for field in fields(project.Modal)} | {"gpu", "timeout"} <= rows


def test_every_command_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = " ".join(_first_cells(REFERENCE / "options.md"))
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    commands = re.findall(r"^    ([a-z-]+)", capsys.readouterr().out, re.MULTILINE)

    assert len(commands) > 5
    assert [name for name in commands if f"gpuexp {name}" not in rows] == []


def test_every_marker_and_public_name_has_its_place() -> None:
    rows = _first_cells(REFERENCE / "markers.md", columns=2)
    headings = {name for page in REFERENCE.glob("*.md") for name in _headings(page)}

    assert set(MARKERS) - rows == set()
    assert set(pytest_gpuexp.__all__) - headings == set()


def test_the_fixture_and_all_that_a_handler_can_reach_have_their_places() -> None:
    assert "runner" in _headings(REFERENCE / "fixtures.md")
    text = (REFERENCE / "runner.md").read_text() + (REFERENCE / "fixtures.md").read_text()
    runner = _documented(ExperimentRunner) | {"log_metrics", "metrics", "finding"}
    replicates = _documented(Replicates)

    missing = [f"runner.{name}" for name in sorted(runner) if f"`runner.{name}" not in text]
    missing += [name for name in sorted(replicates) if f"`replicates.{name}`" not in text]

    assert missing == []


def test_every_key_of_a_record_has_its_row() -> None:
    rows = _first_cells(REFERENCE / "files.md")
    facts = provenance.describe(git={"commit": "c"}, argv=[], modules={}, devices=[])
    records = (ExperimentResult, Assertion, Artifact)

    keys = {field.name for record in records for field in fields(record)} | set(facts)

    assert keys - rows == set()


def test_every_key_of_results_yaml_has_its_place() -> None:
    told = set(_CODE.findall((REFERENCE / "files.md").read_text()))

    keys = set(_keys(results.document(_report(sweep=True))))
    keys |= set(_keys(results.document(_report(sweep=False))))

    assert keys - told == set()


def test_every_key_of_a_series_has_its_row(tmp_path: Path) -> None:
    rows = _first_cells(REFERENCE / "files.md")
    file = tmp_path / "metrics.jsonl"
    writer = SeriesWriter(file, lambda: 1.0)

    writer.append({"loss": 0.5}, None)
    writer.close()

    assert set(ast.literal_eval(file.read_text())) - rows == set()


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("3 passed in 0.1s", "=== 3 passed in 2.75s ===", False),
        ("=== 3 passed in 0.1s ===", "===== 3 passed in 2.75s =====", True),
        ("...\n2 failed", "a\nb\n2 failed", True),
        ("...\n2 failed", "a\nb\n3 failed", False),
        ("PASSED b [2/2]\nPASSED a [1/2]", "PASSED a [1/2]\nPASSED b [2/2]", True),
        ("PASSED a [1/2]", "FAILED a [1/2]", False),
        ("one\n...\nthree", "one\nthree", True),
        ("at 0x...", "at 0x7f3c", True),
    ],
)
def test_output_is_compared_by_what_must_not_vary(expected: str, actual: str, same: bool) -> None:
    assert pages.shows(expected, actual) is same


def test_a_page_that_shows_something_else_is_told_with_its_line(tmp_path: Path) -> None:
    page = "# Title\n\n```console\n$ echo one\ntwo\n```\n"

    with pytest.raises(pages.PageWrong, match=r"line 4: \$ echo one"):
        pages.execute(page, tmp_path)


class _Declarations:
    """Stands for pytest's parser, and keeps the names that are declared."""

    def __init__(self) -> None:
        self.options: set[str] = set()
        self.inis: set[str] = set()
        self.single: set[str] = set()  # those that the environment can give too

    def getgroup(self, *_: str) -> _Declarations:
        return self

    def addoption(self, *names: str, **_: Any) -> None:
        self.options.update(names)

    def addini(self, name: str, *_: str, type: str = "string", **__: Any) -> None:
        self.inis.add(name)
        self.single |= {name} if type == "string" else set()


def _hooks() -> Iterator[tuple[str, str]]:
    for node in ast.parse(inspect.getsource(hookspecs)).body:
        if isinstance(node, ast.FunctionDef):
            returns = ast.unparse(node.returns) if node.returns else ""
            yield node.name, f"def {node.name}({ast.unparse(node.args)}) -> {returns}: ..."


def _first_cells(page: Path, *, columns: int = 1) -> set[str]:
    """Return the code in the first ``columns`` cells of the rows of a page's tables."""
    rows = [line.split("|") for line in page.read_text().splitlines() if line.startswith("| ")]
    return {code for row in rows for cell in row[1 : columns + 1] for code in _CODE.findall(cell)}


def _headings(page: Path) -> set[str]:
    lines = [line for line in page.read_text().splitlines() if line.startswith("#")]
    return {code for line in lines for code in _CODE.findall(line)}


def _documented(kind: type) -> set[str]:
    """Return the attributes that the docstring of ``kind`` lists."""
    return set(re.findall(r"^    (\w+): ", inspect.getdoc(kind) or "", re.MULTILINE))


def _keys(document: dict[str, Any]) -> Iterator[str]:
    """Yield the keys of results.yaml, free names left out and metrics as ``<metric>``."""
    for key, value in document.items():
        yield re.sub(r"^accuracy_", "<metric>_", key)
        if key == "experiments":
            yield from (name for entry in value.values() for name in _keys(entry))
        elif key == "metrics":
            entries = [entry for entry in value.values() if isinstance(entry, dict)]
            yield from (name for entry in entries for name in _keys(entry))
        elif key not in ("parameters", "status", "devices"):
            inner: list[Any] = value if isinstance(value, list) else [value]
            yield from (name for one in inner if isinstance(one, dict) for name in _keys(one))


def _report(*, sweep: bool) -> ExperimentReport:
    """Return a report in which every key is filled."""
    variant = VariantSummary(
        handler="exp_mlp",
        name="lr:0.1",
        parameters={"lr": 0.1},
        results=[_result(0), _result(1)] if sweep else [_result(0)],
        metrics={"accuracy": MetricSummary(mean=0.9, std=0.1, n=2, missing=1)},
        statuses={"completed": 2},
        verdicts={"fail": 2},
        devices={"NVIDIA A100": 1, "NVIDIA H100": 1},
    )
    threshold = Threshold(direction="at_least", acceptable=0.9, target=0.95, failure=0.5)
    return ExperimentReport(
        experiment=Experiment(experiment_id="c1", success_criteria={"accuracy": threshold}),
        variants=[variant],
        judgements=[
            Judgement(name="crit", verdict="fail", explanation="why", expected_failure="known")
        ],
        assessment=Assessment(
            met=True,
            verdict="pass",
            achieved={"accuracy": 0.9},
            variant="exp_mlp[lr:0.1]",
            variants_met=1,
            variants_judged=1,
            confidence="high",
            recommendation="proceed",
            notes=["noted"],
        ),
        handler_docs={"exp_mlp": "told"},
    )


def _result(seed: int) -> ExperimentResult:
    return ExperimentResult(
        experiment_id="c1",
        run_id=f"exp_mlp-{seed}",
        attempt=2,
        handler="exp_mlp",
        name=f"exp_mlp[lr:0.1-seed:{seed}]",
        path="exp.py",
        status="completed",
        verdict="fail",
        config={},
        parameters={"lr": 0.1},
        seed=seed,
        metrics={"accuracy": 0.9},
        finding="found",
        assertions=[Assertion(line=1, source="a", met=False, count=1, first="b", last="c")],
        artifacts=[Artifact(name="a.png", sha256="0", bytes=1)],
        error_type="AssertionError",
        error_message="a",
        expected_failure="known",
    )
