"""Criteria as collected items that judge stored results."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp.conclusions import Judgement
from pytest_gpuexp.criteria import at_least
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.handlers import Handler, read_handler
from pytest_gpuexp.judging import (
    RESULTS,
    CriterionItem,
    Judge,
    NotMet,
    ThresholdItem,
    Undecided,
    Unreadable,
    criterion_items,
)
from pytest_gpuexp.marks import criterion, grid, seeds
from pytest_gpuexp.overrides import parse_overrides
from pytest_gpuexp.records import Experiment, ExperimentResult, RunSpec, Verdict
from pytest_gpuexp.settings import Settings
from tests.rooms.attempts import a_result

PLAIN = Experiment(experiment_id="e", path="exp_e.py")
DEMANDING = dataclasses.replace(PLAIN, success_criteria={"acc": at_least(0.5)})


@seeds(2)
@grid(lr=[1, 2])
def exp_one(runner: Any, seed: int, lr: int) -> None: ...


def handler() -> Handler:
    return read_handler(
        "exp_one",
        exp_one,
        PLAIN,
        overrides=parse_overrides(None, [], [], None),
        settings=Settings(),
    )


def module_of(
    request: pytest.FixtureRequest, tmp_path: Path, functions: Mapping[str, Callable[..., Any]]
) -> pytest.Module:
    """Return a collected module that holds ``functions``."""
    namespace = types.ModuleType("exp_e")
    for name, function in functions.items():
        function.__module__ = "exp_e"
        setattr(namespace, name, function)
    module: pytest.Module = pytest.Module.from_parent(request.session, path=tmp_path / "exp_e.py")
    module.obj = namespace
    return module


@pytest.fixture
def judges_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., list[pytest.Item]]:
    """Make the items of an experiment's criterion functions."""

    def make(experiment: Experiment = PLAIN, **functions: Callable[..., Any]) -> list[pytest.Item]:
        return criterion_items(module_of(request, tmp_path, functions), experiment, [handler()])

    return make


def know(item: pytest.Item, folder: Path, metrics: Mapping[int, float | None]) -> None:
    """Give the module of ``item`` a result for each run; None is one that failed."""
    assert item.parent is not None
    item.parent.stash[RESULTS] = {
        spec.run_id: a_run(spec, folder, metrics[number])
        for number, spec in enumerate(handler().specs)
        if number in metrics
    }


def a_run(spec: RunSpec, folder: Path, accuracy: float | None) -> ExperimentResult:
    return dataclasses.replace(
        a_result(folder),
        handler=spec.handler,
        run_id=spec.run_id,
        name=spec.name,
        parameters=spec.parameters,
        seed=spec.seed,
        status="timeout" if accuracy is None else "completed",
        metrics={} if accuracy is None else {"acc": accuracy},
    )


@pytest.mark.parametrize(
    ("over", "names"),
    [
        ("all", ["crit_one"]),
        ("seed", ["crit_one[lr:1]", "crit_one[lr:2]"]),
        (
            "run",
            [
                f"crit_one[{part}]"
                for part in ("lr:1-seed:0", "lr:1-seed:1", "lr:2-seed:0", "lr:2-seed:1")
            ],
        ),
    ],
)
def test_there_is_an_item_for_each_judgement(
    judges_of: Callable[..., list[pytest.Item]], over: Any, names: Sequence[str]
) -> None:
    @criterion(exp_one, over=over)
    def crit_one(replicates: Any) -> None: ...

    items = judges_of(crit_one=crit_one)

    assert [item.name for item in items] == names
    assert len({item.nodeid for item in items}) == len(names)
    assert all("exp_one" in item.extra_keyword_matches for item in items)


def test_thresholds_are_judged_last(judges_of: Callable[..., list[pytest.Item]]) -> None:
    @criterion(exp_one, over="all")
    def crit_one(replicates: Any) -> None: ...

    *_, last = judges_of(DEMANDING, crit_one=crit_one)

    assert isinstance(last, ThresholdItem)
    assert last.name == "success_criteria"


def test_all_that_is_wrong_with_criteria_is_told_at_once(
    judges_of: Callable[..., list[pytest.Item]],
) -> None:
    def stranger() -> None: ...

    @criterion(stranger)
    def crit_lost(replicates: Any) -> None: ...

    @criterion(exp_one, over="seeds")  # type: ignore[arg-type]
    def crit_wrong(replicates: Any) -> None: ...

    @criterion(exp_one)
    def crit_empty() -> None: ...

    with pytest.raises(UsageProblems) as caught:
        judges_of(crit_lost=crit_lost, crit_wrong=crit_wrong, crit_empty=crit_empty)

    told = str(caught.value)
    assert "exp_e.py: 3 problems" in told
    assert "is no handler here (exp_one)" in told
    assert "crit_wrong: over='seeds' is not 'run', 'seed' or 'all'" in told
    assert "crit_empty: it takes no argument; the first one gets the results" in told


@pytest.fixture
def judge(judges_of: Callable[..., list[pytest.Item]]) -> CriterionItem:
    """Return the item that judges the variant lr:1."""

    @criterion(exp_one, over="seed")
    def crit_one(anything: Any) -> None:
        assert anything["acc"].mean() > 0.5

    (first, _) = judges_of(crit_one=crit_one)
    assert isinstance(first, CriterionItem)
    return first


def test_a_criterion_is_given_the_results_of_its_part(judge: CriterionItem, tmp_path: Path) -> None:
    know(judge, tmp_path, {0: 0.6, 1: 0.8, 2: 0.0, 3: 0.0})
    judge.obj()

    know(judge, tmp_path, {0: 0.1, 1: 0.2, 2: 1.0, 3: 1.0})
    with pytest.raises(AssertionError):
        judge.obj()


def test_a_criterion_is_undecided_where_replicates_are_missing(
    judge: CriterionItem, tmp_path: Path
) -> None:
    know(judge, tmp_path, {0: 0.6})
    with pytest.raises(Undecided, match=r"1 of 2 runs .*exp_one\[lr:1-seed:1\]: never run"):
        judge.obj()

    know(judge, tmp_path, {0: 0.6, 1: None})
    with pytest.raises(Undecided, match=r"exp_one\[lr:1-seed:1\]: timeout"):
        judge.obj()


def test_a_criterion_is_not_evaluated_where_nothing_completed(
    judge: CriterionItem, tmp_path: Path
) -> None:
    know(judge, tmp_path, {0: None, 2: 0.6})

    with pytest.raises(pytest.skip.Exception, match="none of 2 runs is completed"):
        judge.obj()


def test_stub_mode_judges_nothing(judge: CriterionItem) -> None:
    with pytest.raises(pytest.skip.Exception, match="stub mode judges nothing"):
        judge.obj()


def test_a_record_that_cannot_be_read_is_what_a_criterion_says(judge: CriterionItem) -> None:
    assert judge.parent is not None
    judge.parent.stash[RESULTS] = Unreadable("records/x.yaml: torn")

    with pytest.raises(Unreadable) as caught:
        judge.obj()

    excinfo = pytest.ExceptionInfo.from_exception(caught.value)
    assert judge.repr_failure(excinfo) == "not judged: records/x.yaml: torn"


def test_thresholds_say_what_was_required_and_who_came_nearest(
    judges_of: Callable[..., list[pytest.Item]], tmp_path: Path
) -> None:
    (item,) = judges_of(DEMANDING)
    know(item, tmp_path, {0: 0.1, 1: 0.1, 2: 0.3, 3: 0.5})

    with pytest.raises(NotMet) as caught:
        item.runtest()

    assert item.repr_failure(pytest.ExceptionInfo.from_exception(caught.value)) == (
        "success criteria not met: acc 0.4 (required >= 0.5); 0 of 2 variants meet all "
        "(judged='any'); best variant exp_one[lr:2]"
    )


def told(judge: Judge, error: BaseException | None, **attributes: Any) -> tuple[Any, Judgement]:
    """Return the report and the judgement of a criterion whose call ended with ``error``."""

    def call() -> None:
        if error is not None:
            raise error

    info = pytest.CallInfo.from_call(call, "call")
    report = pytest.TestReport.from_item_and_call(judge, info)
    for name, value in attributes.items():
        setattr(report, name, value)
    judge.note(report, info)
    assert judge.judgement is not None
    return report, judge.judgement


@pytest.mark.parametrize(
    ("error", "verdict", "when", "outcome"),
    [
        (None, "pass", "call", "passed"),
        (NotMet("short of it"), "fail", "call", "failed"),
        (Undecided("missing"), "undecided", "call", "failed"),
        (ZeroDivisionError("zero"), "not_evaluated", "run", "failed"),
        (AssertionError("of another module"), "not_evaluated", "run", "failed"),
    ],
)
def test_how_a_criterion_ends_is_its_verdict(
    judge: CriterionItem, error: BaseException | None, verdict: Verdict, when: str, outcome: str
) -> None:
    report, reached = told(judge, error)

    assert reached == Judgement(
        name="crit_one[lr:1]", verdict=verdict, explanation="" if error is None else str(error)
    )
    assert (report.when, report.outcome) == (when, outcome)


def test_an_expected_failure_stays_one(judge: CriterionItem) -> None:
    report, reached = told(judge, NotMet("no"), wasxfail="too bold", outcome="skipped")

    assert reached.expected_failure == "too bold"
    assert report.outcome == "skipped"


@pytest.mark.parametrize("error", [Undecided("missing"), ZeroDivisionError("zero")])
def test_an_xfail_mark_hides_neither_a_gap_nor_a_crash(
    judge: CriterionItem, error: Exception
) -> None:
    report, reached = told(judge, error, wasxfail="too bold", outcome="skipped")

    assert reached.expected_failure is None
    assert report.outcome == "failed"
