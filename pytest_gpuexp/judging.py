"""Criteria as collected items that judge stored results."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import pytest

from pytest_gpuexp import criteria as thresholds
from pytest_gpuexp import definitions, replicates, summary
from pytest_gpuexp.conclusions import Assessment, Judgement
from pytest_gpuexp.errors import GpuexpError, UsageProblems
from pytest_gpuexp.handlers import Handler
from pytest_gpuexp.records import Experiment, ExperimentResult, RunSpec, Verdict

Results = Mapping[str, ExperimentResult]
STUB_REASON = "stub mode judges nothing"


class Undecided(GpuexpError):
    """Too little was measured to say whether a criterion is met."""


class NotMet(GpuexpError):
    """The thresholds of an experiment are not met."""


class Unreadable(GpuexpError):
    """A stored record that a criterion needs cannot be read."""


# On a module: what its runs came to, by run_id, or why that cannot be known; absent in stub mode.
RESULTS = pytest.StashKey[Results | Unreadable]()


class Judge(pytest.Item):
    """What the items that judge have in common: the verdict they reach."""

    judgement: Judgement | None = None

    def note(self, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Read the verdict off the report of the call phase, or off what kept it from running."""
        if report.when != "call" and (report.passed or self.judgement is not None):
            return
        verdict = self._verdict(report, call)
        if call.excinfo is not None and report.when == "call" and verdict != "fail":
            _own_up(verdict, report, self)
        told = "" if call.excinfo is None else str(call.excinfo.value)
        self.judgement = Judgement(
            name=self.name,
            verdict=verdict,
            explanation=told.removeprefix("Skipped: "),
            expected_failure=getattr(report, "wasxfail", None),
        )

    def _verdict(self, report: pytest.TestReport, call: pytest.CallInfo[None]) -> Verdict:
        if report.when != "call":
            return "not_evaluated"
        if call.excinfo is None:
            return "pass"
        error = call.excinfo.value
        if isinstance(error, Undecided):
            return "undecided"
        if isinstance(error, (NotMet, pytest.xfail.Exception)):
            return "fail"
        innermost = Path(call.excinfo.traceback[-1].path)
        is_ours = innermost == self.path or innermost.name == "conftest.py"
        return "fail" if isinstance(error, AssertionError) and is_ours else "not_evaluated"


def _own_up(verdict: Verdict, report: pytest.TestReport, item: pytest.Item) -> None:
    """Make ``report`` an error where the criterion crashed; an xfail mark hides failures alone."""
    expects = any("raises" in mark.kwargs for mark in item.iter_markers("xfail"))
    if hasattr(report, "wasxfail") and not expects:
        del report.wasxfail
        report.outcome = "failed"
    if report.failed and verdict == "not_evaluated":
        cast(Any, report).gpuexp = {"status": "failed", "verdict": verdict}
        report.when = cast(Any, "run")  # neither a failed test nor a failed fixture: a crash


class CriterionItem(Judge, pytest.Function):
    """One judgement of a ``@criterion`` function: of a variant, a run, or all runs."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show no traceback where there is nothing to look for in the code."""
        if isinstance(excinfo.value, (Undecided, Unreadable)):
            return _in_words(excinfo.value)
        return super().repr_failure(excinfo)


class ThresholdItem(Judge):
    """The thresholds of an experiment's ``success_criteria``, judged."""

    experiment: Experiment
    specs: Sequence[RunSpec]
    assessment: Assessment | None = None

    def runtest(self) -> None:
        """Judge the means over seeds; raise where they do not meet the thresholds."""
        found = _stored(cast(pytest.Module, self.parent), self.specs)
        assessed = thresholds.assess(self.experiment, summary.summarise_variants(found))
        self.assessment = assessed
        told = _told(self.experiment, assessed)
        if assessed.verdict == "not_evaluated":
            pytest.skip(f"not evaluated: {told}")
        if assessed.verdict == "undecided":
            raise Undecided(told)
        if assessed.verdict == "fail":
            raise NotMet(told)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the sentence; there is no code to look at."""
        if isinstance(excinfo.value, (NotMet, Undecided, Unreadable)):
            return f"success criteria {_in_words(excinfo.value)}"
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Return the module; the criteria stand in its ``pytestmark``."""
        return self.path, 0, self.name


def _in_words(error: GpuexpError) -> str:
    label = {Undecided: "undecided", NotMet: "not met", Unreadable: "not judged"}[type(error)]
    return f"{label}: {error}"


def criterion_items(
    module: pytest.Module,
    experiment: Experiment,
    found: Sequence[Handler],
    *,
    criteria: bool = True,
) -> list[pytest.Item]:
    """Return the items that judge ``module``: each criterion's, then the thresholds'.

    Without ``criteria`` the thresholds' alone: runs that the file does not define may not be those
    that its criteria compare.

    Raises:
        UsageProblems: a criterion names no handler of the module, or an unknown ``over``.
    """
    items: list[pytest.Item] = []
    problems: list[str] = []
    by_function = {handler.function: handler for handler in found}
    for name, function, mark in definitions.criteria_of(module.obj) if criteria else ():
        handler, over = by_function.get(mark.args[0]), mark.kwargs["over"]
        if handler is None:
            known = ", ".join(one.function.__name__ for one in found)
            problems.append(f"{name}: criterion({mark.args[0]!r}) is no handler here ({known})")
        elif over not in ("run", "seed", "all"):
            problems.append(f"{name}: over={over!r} is not 'run', 'seed' or 'all'")
        elif not inspect.signature(function).parameters:
            problems.append(f"{name}: it takes no argument; the first one gets the results")
        else:
            items += _items_of(module, name, function, handler, over)
    if problems:
        raise UsageProblems(experiment.path, problems)
    if experiment.success_criteria and found:
        item = ThresholdItem.from_parent(module, name="success_criteria")
        item.experiment = experiment
        item.specs = [spec for handler in found for spec in handler.specs]
        item.extra_keyword_matches.update(handler.function.__name__ for handler in found)
        items.append(item)
    return items


def _items_of(
    module: pytest.Module,
    name: str,
    function: Callable[..., Any],
    handler: Handler,
    over: Literal["run", "seed", "all"],
) -> Iterable[pytest.Item]:
    parts: Mapping[str, Sequence[RunSpec]]
    if over == "all":
        parts = {"": handler.specs}
    elif over == "seed":
        parts = handler.variants
    else:
        parts = {spec.name.partition("[")[2].removesuffix("]"): (spec,) for spec in handler.specs}
    for part, specs in parts.items():
        item = CriterionItem.from_parent(
            module,
            name=f"{name}[{part}]" if part else name,  # its node id, too
            callobj=_bind(module, function, specs, over),
        )
        if hasattr(item, "_id"):
            # Since pytest 9.2 ids are compared part by part, and --lf knows ours from their text.
            item._id = type(item._id).parse(item.nodeid)
        item.extra_keyword_matches.add(handler.function.__name__)
        yield item


def _bind(
    module: pytest.Module,
    function: Callable[..., Any],
    specs: Sequence[RunSpec],
    over: Literal["run", "seed", "all"],
) -> Callable[..., None]:
    signature = inspect.signature(function)
    _results, *fixtures = signature.parameters.values()

    @functools.wraps(function)
    def call(**given: Any) -> None:
        __tracebackhide__ = True
        found = _stored(module, specs)
        completed = [result for result in found if result.status == "completed"]
        if not completed:
            pytest.skip(f"not evaluated: none of {_runs(len(specs))} is completed")
        if len(completed) < len(specs):
            raise Undecided(_what_is_missing(specs, found))
        function(replicates.Replicates(found, over=over), **given)

    call.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
    return call


def _stored(module: pytest.Module, specs: Iterable[RunSpec]) -> list[ExperimentResult]:
    results = module.stash.get(RESULTS, None)
    if results is None:
        pytest.skip(STUB_REASON)
    if isinstance(results, Unreadable):
        raise results
    return [results[spec.run_id] for spec in specs if spec.run_id in results]


def _what_is_missing(specs: Sequence[RunSpec], found: Sequence[ExperimentResult]) -> str:
    status = {result.run_id: result.status for result in found}
    missing = [
        f"{spec.name}: {status.get(spec.run_id, 'never run')}"
        for spec in specs
        if status.get(spec.run_id) != "completed"
    ]
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    return f"{len(missing)} of {_runs(len(specs))} not completed: {', '.join(missing[:5])}{more}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _told(experiment: Experiment, assessed: Assessment) -> str:
    limits = []
    for metric, threshold in experiment.success_criteria.items():
        sign = ">=" if threshold.direction == "at_least" else "<="
        value = assessed.achieved.get(metric)
        shown = "not measured" if value is None else f"{value:.6g}"
        limits.append(f"{metric} {shown} (required {sign} {threshold.acceptable:g})")
    which = "best" if experiment.judged == "any" else "worst"
    where = f"; {which} variant {assessed.variant}" if assessed.variant else ""
    how_many = f"{assessed.variants_met} of {assessed.variants_judged} variants meet all"
    return f"{', '.join(limits)}; {how_many} (judged={experiment.judged!r}){where}"
