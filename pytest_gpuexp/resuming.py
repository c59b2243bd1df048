"""What a session that resumes keeps of its runs, and reports without running them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pytest

from pytest_gpuexp.claims import Claim, code_of
from pytest_gpuexp.elsewhere import Elsewhere
from pytest_gpuexp.halting import stop_where_asked
from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.knowledge import Knowledge
from pytest_gpuexp.origins import Origins
from pytest_gpuexp.plan import SINCE, Known, Planned, make_plan
from pytest_gpuexp.plan_lines import resumption_lines
from pytest_gpuexp.records import RunSpec
from pytest_gpuexp.retelling import kept_reports
from pytest_gpuexp.settings import Settings


class Resuming:
    """Plans the runs of one session, and reports those that are kept.

    ``plan`` is what becomes of each run; empty where the session does not resume. ``reporting``
    says whether kept runs are being reported.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        origins: Origins,
        knowledge: Knowledge,
        elsewhere: Elsewhere,
    ) -> None:
        """Plan nothing yet."""
        self._elsewhere = elsewhere
        self.plan: list[Planned] = []
        self.reporting = False
        self._settings = settings
        self._origins = origins
        self._knowledge = knowledge
        self._kept: set[str] = set()

    def make_plan(self, items: Sequence[ExperimentItem]) -> None:
        """Decide which of ``items`` are kept."""
        experiments: dict[str, list[RunSpec]] = {}
        fingerprints: dict[tuple[str, str], Mapping[str, str]] = {}
        for item in items:
            spec = item.spec
            experiments.setdefault(spec.experiment_id, []).append(spec)
            if (spec.experiment_id, spec.handler) not in fingerprints:
                fingerprint = self._origins.fingerprint(item)
                fingerprints[spec.experiment_id, spec.handler] = fingerprint
        self.plan = [
            planned
            for specs in experiments.values()
            for planned in make_plan(
                specs,
                self._review(specs, fingerprints),
                fingerprints,
                any_code=self._settings.any_code,
                rerun=self._settings.rerun,
            )
        ]
        for planned in self.plan:
            if planned.kept:
                self._kept.add(planned.spec.run_id)
                if planned.same_code:
                    self._knowledge.vouched.add(planned.spec.run_id)

    def _review(
        self, specs: Sequence[RunSpec], fingerprints: Mapping[tuple[str, str], Mapping[str, str]]
    ) -> Known:
        codes = {key: code_of(fingerprint) for key, fingerprint in fingerprints.items()}
        ledger, running = self._knowledge.ledger(specs[0].experiment_id), {}
        ledger.look_for_claims([spec.run_id for spec in specs])
        for spec in specs:
            if not ledger.was_recorded(spec.run_id):
                code = codes[spec.experiment_id, spec.handler]
                if claim := self._elsewhere.holder(spec.run_id, ledger, code=code):
                    running[spec.run_id] = _told(claim)
        left = self._left_with_modal(specs, codes)
        return replace(self._knowledge.review(specs), running=running, elsewhere=left)

    def _left_with_modal(
        self, specs: Sequence[RunSpec], codes: Mapping[tuple[str, str], str]
    ) -> dict[str, str]:
        if self._settings.backend != "modal":
            return {}
        intents = self._knowledge.intents(specs, backend="modal")
        left: dict[str, str] = {}
        for spec in specs:
            intent, code = intents.get(spec.run_id), codes[spec.experiment_id, spec.handler]
            if intent is not None and (self._settings.any_code or intent.is_of(code)):
                left[spec.run_id] = intent.submitted_at[:16].replace("T", " ")
        return left

    @property
    def resumption(self) -> list[tuple[str, str]]:
        """The name of each run, and why it is kept or run."""
        return [(planned.spec.name, planned.reason) for planned in self.plan]

    @property
    def told(self) -> list[str]:
        """What people should know of the plan, a line each."""
        return resumption_lines(self.resumption)

    def runs(self, items: Iterable[ExperimentItem]) -> list[ExperimentItem]:
        """Return those of ``items`` that are not kept."""
        return [item for item in items if item.spec.run_id not in self._kept]

    def report_kept(self, session: pytest.Session, items: Iterable[ExperimentItem]) -> None:
        """Report those of ``items`` that are kept as pytest's own reports.

        Raises:
            pytest.Session.Failed: ``-x`` or ``--maxfail`` has its failures.
            pytest.Session.Interrupted: a plugin asked the session to stop.
        """
        self.reporting = True
        try:
            for item in items:
                if item.spec.run_id in self._kept:
                    result = self._knowledge.keep(item.spec)
                    for report in kept_reports(item, result):
                        item.ihook.pytest_runtest_logreport(report=report)
                    stop_where_asked(session)
        finally:
            self.reporting = False


def _told(claim: Claim) -> str:
    return f"{claim.backend} {claim.handle}".strip() + f"{SINCE}{claim.submitted_at}"
