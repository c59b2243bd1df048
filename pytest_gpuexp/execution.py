"""How one attempt is executed as a real pytest item."""

from __future__ import annotations

import dataclasses
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from _pytest.runner import runtestprotocol

from pytest_gpuexp import binding
from pytest_gpuexp.assertion_log import CURRENT
from pytest_gpuexp.checkpoints import path_of
from pytest_gpuexp.endings import message_of, status_of_exception, words_of_stop
from pytest_gpuexp.moments import utc
from pytest_gpuexp.recording import config_of
from pytest_gpuexp.records import (
    Assertion,
    Attempt,
    ExperimentResult,
    Outcome,
    Plain,
    Status,
    Verdict,
)
from pytest_gpuexp.returns import non_finite
from pytest_gpuexp.rewriting import assertion_source
from pytest_gpuexp.runner import ExperimentRunner
from pytest_gpuexp.seeding import seed_everything
from pytest_gpuexp.stopping import Stopping
from pytest_gpuexp.warned import warning_to_plain


@dataclass(slots=True)
class _Course:
    """What the phases of the run in progress have shown."""

    module_path: Path
    runner: ExperimentRunner
    status: Status = "completed"
    verdict: Verdict = "not_evaluated"
    error: BaseException | None = None
    expected: str | None = None
    assertions: Sequence[Assertion] = ()
    quiet: bool = False
    reports: list[pytest.TestReport] = field(default_factory=list)
    warned: list[Mapping[str, Plain]] = field(default_factory=list)


class Execution:
    """The plugin that executes attempts and watches how pytest reports them."""

    def __init__(self, config: pytest.Config, *, every_phase: bool = True) -> None:
        """Watch the reports of ``config``'s session; to be registered with its plugin manager.

        Unless ``every_phase``, outcomes leave out the reports of a setup or teardown that passed.
        """
        self._config = config
        self._every_phase = every_phase
        self._course: _Course | None = None

    def run(
        self,
        module: pytest.Module,
        attempt: Attempt,
        *,
        folder: Path,
        devices: Sequence[str] = (),
        nextitem: pytest.Item | None = None,
        quiet: bool = False,
        stopping: Stopping | None = None,
        tell: Callable[[Mapping[str, str]], object] = dict,
        ended: Callable[[], object] = bool,
    ) -> Outcome:
        """Execute ``attempt`` of a handler of ``module`` and return how it ended.

        ``ended`` is called when its code has run and only its results are left to be kept.

        Session-, package- and module-scoped fixtures are torn down afterwards unless ``nextitem``
        still needs them. Where ``quiet``, the outcome alone has the reports: nobody hears of them.
        """
        stopping = stopping or Stopping()
        runner = ExperimentRunner(
            attempt,
            config=config_of(attempt),
            folder=folder,
            devices=devices,
            stopping=stopping,
            tell=tell,
        )
        CURRENT.clear()
        self._course = course = _Course(module_path=module.path, runner=runner, quiet=quiet)
        started, clock = time.time(), time.perf_counter()
        seed_everything(attempt.spec.seed)
        try:
            item = binding.make_item(module, attempt, runner)
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        finally:
            stopping.release()
            ended()
            runner.close()
            self._course = None
        result = _result(attempt, course, started, time.perf_counter() - clock)
        if stopping.reason is not None and stopping.heeded(result.status):
            return Outcome(result=_stopped(result, stopping.reason, attempt.spec.timeout_seconds))
        reports = self._serialise(course.reports)
        if course.warned and reports:
            # pytest tells them when the last phase is over, so no report could have them earlier.
            reports[-1] = {**reports[-1], "gpuexp_warned": course.warned}
        return Outcome(result=result, reports=reports)

    def _serialise(self, reports: Sequence[pytest.TestReport]) -> list[Mapping[str, Plain]]:
        to_serialisable = self._config.hook.pytest_report_to_serializable
        return [
            to_serialisable(config=self._config, report=report)
            for report in reports
            if self._every_phase or report.when not in ("setup", "teardown") or not report.passed
        ]

    def pytest_assertion_pass(self, orig: str, expl: str) -> None:
        """Keep the values of a passed assertion of an experiment module."""
        if self._course is not None:
            CURRENT.explain(orig, expl)

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Keep a warning of the run in progress."""
        if self._course is not None:
            self._course.warned.append(warning_to_plain(warning_message))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Any:
        """Run a quiet attempt; what wraps the protocol, as assertions do, is around it still."""
        if self._course is None or not self._course.quiet:
            return None
        self._course.reports = runtestprotocol(item, log=False, nextitem=nextitem)
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Tell a verdict from a crash while the exception is still at hand."""
        report: pytest.TestReport = yield
        if self._course is not None:
            _note(self._course, item, report, call, self._conftests)
            report.__dict__["gpuexp"] = _told(self._course)  # travels with the report
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather the reports of the run in progress."""
        if self._course is not None:
            self._course.reports.append(report)

    def _conftests(self) -> set[Path]:
        return {
            Path(plugin.__file__)
            for plugin in self._config.pluginmanager.get_plugins()
            if str(getattr(plugin, "__file__", None)).endswith("conftest.py")
        }


def _told(course: _Course) -> Mapping[str, Plain]:
    """Return what a report says to this plugin in another process."""
    return {"status": course.status, "verdict": course.verdict}


def _note(
    course: _Course,
    item: pytest.Item,
    report: pytest.TestReport,
    call: pytest.CallInfo[None],
    conftests: Callable[[], set[Path]],
) -> None:
    if report.when == "call":
        metrics = list(course.runner.metrics.items())
        report.user_properties.extend(metrics)
        item.user_properties.extend(metrics)  # JUnit takes them from the teardown's report
        if call.excinfo is None and not course.runner.stub:
            course.assertions = CURRENT.entries()
            course.verdict = "pass" if course.assertions else "not_evaluated"
    if call.excinfo is None:
        return
    error = call.excinfo.value
    if isinstance(error, pytest.skip.Exception) and report.when != "teardown":
        course.status = "skipped"
        course.error = error
        return
    if isinstance(error, pytest.xfail.Exception):
        course.status = "completed" if report.when == "call" else "skipped"
        course.expected = str(error.msg)
        return
    if report.when == "call" and _is_verdict(call.excinfo, course.module_path, conftests):
        course.verdict = "fail"
        course.error = error
        course.assertions = _failed(call.excinfo, course.module_path)
        course.expected = getattr(report, "wasxfail", None)
        return
    _note_crash(course, item, report, error)


def _note_crash(
    course: _Course, item: pytest.Item, report: pytest.TestReport, error: BaseException
) -> None:
    status = status_of_exception(error)
    course.status = "cancelled" if isinstance(error, KeyboardInterrupt) else status
    course.error = error
    course.assertions = course.assertions or CURRENT.entries()
    expects = any("raises" in mark.kwargs for mark in item.iter_markers("xfail"))
    if hasattr(report, "wasxfail") and not expects:
        # An xfail mark speaks of the verdict; a crash that it hides would be green (ADR 3).
        del report.wasxfail
        report.outcome = "failed"
    if report.when == "call" and report.failed:
        report.when = cast(Any, "run")  # neither a failed test nor a failed fixture: a crash


def _is_verdict(
    excinfo: pytest.ExceptionInfo[BaseException],
    module_path: Path,
    conftests: Callable[[], set[Path]],
) -> bool:
    if not isinstance(excinfo.value, AssertionError):
        return False
    innermost = Path(excinfo.traceback[-1].path)
    return innermost == module_path or innermost in conftests()


def _failed(
    excinfo: pytest.ExceptionInfo[BaseException], module_path: Path
) -> tuple[Assertion, ...]:
    entry = excinfo.traceback[-1]
    lineno = entry.lineno + 1
    source = assertion_source(Path(entry.path), lineno) or str(entry.statement).strip()
    return CURRENT.fail(str(entry.path), lineno, source, str(excinfo.value))


def _result(attempt: Attempt, course: _Course, started: float, duration: float) -> ExperimentResult:
    spec, runner, error = attempt.spec, course.runner, course.error
    metrics = runner.metrics
    return ExperimentResult(
        experiment_id=spec.experiment_id,
        run_id=spec.run_id,
        attempt=attempt.number,
        handler=spec.handler,
        name=spec.name,
        path=spec.path,
        status=course.status,
        verdict="not_evaluated" if course.status != "completed" else course.verdict,
        config=config_of(attempt),
        parameters=spec.parameters,
        seeded=spec.seeded,
        seed=spec.seed,
        metrics=metrics,
        non_finite=non_finite(metrics),
        finding=runner.finding,
        assertions=course.assertions,
        artifacts=runner.results.saved(),
        checkpoint_path=runner.checkpoints.saved and path_of(spec.run_id, runner.checkpoints.saved),
        restored_step=runner.checkpoints.restored_step,
        error_type=None if error is None else type(error).__name__,
        error_message=None if error is None else message_of(error),
        started_at=utc(started),
        completed_at=utc(started + duration),
        duration_seconds=round(duration, 6),
        device=device_of(runner.devices),
        stub=attempt.stub,
        expected_failure=course.expected,
        fingerprint=attempt.fingerprint,
    )


def _stopped(
    result: ExperimentResult, reason: Status, timeout_seconds: float | None
) -> ExperimentResult:
    """Return the result of a run that left early because it was asked to: it is not complete."""
    error_type, message = words_of_stop(reason, timeout_seconds)
    if result.error_type is not None:
        message = f"{message} [while it stopped: {result.error_type}: {result.error_message}]"
    return dataclasses.replace(
        result,
        status=reason,
        verdict="not_evaluated",
        error_type=error_type,
        error_message=message,
        expected_failure=None,
    )


def device_of(devices: Sequence[str]) -> str:
    """Return what the run computed on: the GPU's model where torch used it, else its token."""
    torch = sys.modules.get("torch")
    if devices and torch is not None and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    return f"GPU {','.join(devices)}" if devices else "cpu"
