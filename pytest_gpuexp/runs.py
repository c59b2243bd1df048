"""The runs of a session on their way: from the claim of an attempt to the report of its end."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest

from pytest_gpuexp import documents, glimpse, provenance, reporting
from pytest_gpuexp.claiming import Claiming
from pytest_gpuexp.dispatch import Dispatch
from pytest_gpuexp.elsewhere import Elsewhere
from pytest_gpuexp.errors import BackendUnavailable, StorageError
from pytest_gpuexp.halting import left_behind, stop_where_asked
from pytest_gpuexp.interruption import terminable
from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.knowledge import Knowledge
from pytest_gpuexp.moments import seconds
from pytest_gpuexp.origins import Origins
from pytest_gpuexp.places import Places
from pytest_gpuexp.protocols import Backend, Display, seconds_to_end
from pytest_gpuexp.records import Attempt, ExperimentResult, Outcome
from pytest_gpuexp.repeating import Repeating
from pytest_gpuexp.retelling import kept_reports
from pytest_gpuexp.settings import Settings

_LEARN_SECONDS = 0.05


class Runs:
    """Carries out the runs of one session.

    ``dispatching`` says whether some are in flight.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        *,
        places: Places,
        knowledge: Knowledge,
        display: Display,
        origins: Origins,
        claiming: Claiming,
        elsewhere: Elsewhere,
    ) -> None:
        """Start nothing; what ends is added to ``knowledge`` and shown by ``display``."""
        self._claiming = claiming
        self._elsewhere = elsewhere
        self._by_run: dict[str, ExperimentItem] = {}
        self.dispatching = False
        self._config = config
        self._settings = settings
        self._places = places
        self._knowledge = knowledge
        self._display = display
        self._origins = origins
        self._git = provenance.GitQuery(settings.root)
        self._backend: Backend | None = None
        self._counts: Counter[str] = Counter()
        self._adopted: set[str] = set()  # runs
        self._repeating = Repeating(claiming=claiming, display=display)
        self._refusal: StorageError | None = None
        self._done = 0
        self._total = 0

    def carry_out(self, session: pytest.Session, items: Sequence[ExperimentItem]) -> None:
        """Run ``items``, each reported as it ends; cancel what is in flight where it must stop.

        Those that another session has under way are left to it, and run only where it is gone.

        Raises:
            pytest.Session.Failed: ``-x`` or ``--maxfail`` has its failures.
            pytest.Session.Interrupted: a plugin asked the session to stop.
        """
        self._total = len(items)
        self._by_run = {item.spec.run_id: item for item in items}
        self._claiming.look(items)
        self.dispatching = True
        with terminable():
            try:
                left, adopts = self._claiming.free(items), self._settings.resume
                while left or self._elsewhere.waiting:
                    if left:
                        self._dispatch(session, left, adopts=adopts)
                    if self._settings.detach:
                        break
                    left, adopts = self._outwait(session), True  # of a session that is gone now
            finally:
                self.dispatching = False
                self._display.withdraw()

    def _dispatch(
        self, session: pytest.Session, items: Sequence[ExperimentItem], *, adopts: bool
    ) -> None:
        backend = self._open_backend(items)
        patience, most = seconds_to_end(backend), self._places.parallelism
        dispatch = Dispatch(
            backend, parallelism=most, on_handle=self._keep_handle, cancel_seconds=patience
        )
        if adopts:
            self._adopt(items, dispatch)
        try:
            if self._settings.detach:
                self._detach(dispatch, items, backend)
                return
            for ended in dispatch.run(self._attempts(items, backend)):
                for attempt, outcome in ended:
                    for new in self._follow(session, attempt, outcome, backend):
                        dispatch.submit(new)
                self._show_progress(backend.running())
                stop_where_asked(session)
            self._raise_refusal()
        except BackendUnavailable:
            raise  # what it holds goes on without us, and is taken over by --resume
        except BaseException:
            self._cancel(dispatch)
            raise

    def _raise_refusal(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _outwait(self, session: pytest.Session) -> list[ExperimentItem]:
        """Wait for what others have under way; return what is nobody's any more, to be run here."""
        if self._elsewhere.waiting:
            self._display.withdraw()
            self._display.notice(
                f"{len(self._elsewhere.waiting)} of {self._total} runs are with another session, "
                "or outlived it; their end is waited for (Ctrl-C leaves them alone)"
            )
        while self._elsewhere.waiting:
            looked = self._elsewhere.look()
            for result in looked.ended.values():
                self._take_over(result)
                stop_where_asked(session)
            if looked.free:
                return [self._by_run[run_id] for run_id in looked.free]
            self._show_progress({})
            time.sleep(self._places.look_seconds)
        return []

    def _take_over(self, result: ExperimentResult) -> None:
        """Report how a run ended in the hands of another session."""
        item = self._by_run[result.run_id]
        self._done += 1
        self._counts[reporting.category(result)] += 1
        same_code = result.fingerprint == self._origins.fingerprint(item)
        self._knowledge.adopt(item.spec, result, same_code=same_code)
        self._display.withdraw()
        for report in kept_reports(item, result):
            item.ihook.pytest_runtest_logreport(report=report)
        self._display.run_finished(Outcome(result=result), done=self._done, total=self._total)

    def _open_backend(self, items: Sequence[ExperimentItem]) -> Backend:
        if self._backend is None:
            facts = provenance.describe(
                git=self._git.answer(),
                argv=sys.argv,
                modules=dict(sys.modules),
                devices=self._settings.gpus,
            )
            self._backend = self._places.open(documents.dump({"provenance": facts}), items)
        self._places.will_run(items)
        return self._backend

    def _attempts(self, items: Iterable[ExperimentItem], backend: Backend) -> Iterator[Attempt]:
        for item in items:
            if item.spec.run_id in self._adopted:
                continue
            try:
                attempt = self._claiming.claim(item, handle=backend.handle)
            except StorageError as error:  # what runs already comes to its end, and is kept
                self._refusal = error
                return
            if attempt is not None:
                yield attempt

    def _detach(
        self, dispatch: Dispatch, items: Sequence[ExperimentItem], backend: Backend
    ) -> None:
        """Start all of ``items``, and see that what finds each again is written down."""
        for attempt in self._attempts(items, backend):
            dispatch.submit(attempt)
        while any(attempt.key not in dispatch.told for attempt in dispatch.flying.values()):
            dispatch.learn()
            for attempt, outcome in dispatch.collect(_LEARN_SECONDS):  # it could not be started
                self._finish(self._by_run[attempt.spec.run_id], outcome)
        left = len(dispatch.flying)
        runs = "1 run is" if left == 1 else f"{left} runs are"
        self._display.notice(
            f"{runs} on Modal, without this session. To collect what they give, run pytest with "
            "--resume in place of --detach, and the same paths and options"
        )

    def _adopt(self, items: Sequence[ExperimentItem], dispatch: Dispatch) -> None:
        """Take over what earlier sessions have left with Modal."""
        if self._settings.backend != "modal":
            return
        for attempt, handle in self._claiming.take_over(items):
            job = self._places.adopt(attempt, handle)
            if job is None:
                self._knowledge.ledger(attempt.spec.experiment_id).withdraw(attempt)
            else:
                self._adopted.add(attempt.spec.run_id)
                self._repeating.taken_over.add(attempt.key)
                dispatch.adopt(attempt, job)

    def _follow(
        self, session: pytest.Session, attempt: Attempt, outcome: Outcome, backend: Backend
    ) -> list[Attempt]:
        """Return what follows an ``attempt``; where nothing does it has the last word."""
        item = self._by_run[attempt.spec.run_id]
        again = None
        try:
            again = self._repeating.again(
                session, item, attempt, outcome.result, handle=backend.handle
            )
        except StorageError as error:
            self._refusal = error
        if again is None:
            self._finish(item, outcome)
        elif attempt.key not in self._repeating.taken_over:
            self._ended(outcome)
        return again or []

    def _keep_handle(self, attempt: Attempt, handle: str) -> None:
        with contextlib.suppress(StorageError):  # its claim on Modal says the same, for seven days
            self._knowledge.ledger(attempt.spec.experiment_id).submitted(attempt, handle)

    def _finish(self, item: ExperimentItem, outcome: Outcome) -> None:
        result = outcome.result
        self._done += 1
        self._counts[reporting.category(result)] += 1
        self._display.withdraw()
        # What may be attempted again has told nobody of itself yet.
        if not self._places.reports_itself or item.handler.retries is not None:
            reporting.emit(self._config, item, outcome)
        self._display.run_finished(outcome, done=self._done, total=self._total)
        self._ended(outcome)

    def _ended(self, outcome: Outcome) -> None:
        """Let all know who must of the end of an attempt."""
        self._knowledge.take(outcome.result)
        if not outcome.result.published:
            self._tell_unpublished(outcome.result)
        self._config.hook.pytest_gpuexp_run_finished(outcome=outcome)

    def _tell_unpublished(self, result: ExperimentResult) -> None:
        self._display.notice(
            f"{result.name} is not in the storage, so this session does not pass: "
            f"{result.error_message or 'its record or an artifact could not be written'}"
        )

    def _show_progress(self, ages: Mapping[str, float]) -> None:
        """Show what runs, here (``ages`` in seconds by attempt) and in other sessions."""
        for notice in self._places.notices():
            self._display.notice(notice)
        keys = {self._by_run[key.rpartition(".")[0]].name: key for key in ages}
        now, others = time.time(), {}
        for run_id, claim in self._elsewhere.waiting.items():
            began = seconds(claim.submitted_at, default=now)
            others[f"{self._by_run[run_id].name} (another session)"] = max(0.0, now - began)

        def said(name: str) -> str:
            if name not in keys:
                return ""
            run_id, _, number = keys[name].rpartition(".")
            attempt = Attempt(spec=self._by_run[run_id].spec, number=int(number))
            return glimpse.latest(self._places.folder_of(attempt))

        self._display.progress(
            done=self._done,
            total=self._total,
            running={**{name: ages[key] for name, key in keys.items()}, **others},
            counts=self._counts,
            said=said,
        )

    def _cancel(self, dispatch: Dispatch) -> None:
        ended = 0
        for attempt, outcome in dispatch.cancel():
            if not outcome.result.started_at:
                with contextlib.suppress(StorageError):  # a claim that stays costs a number
                    self._knowledge.ledger(attempt.spec.experiment_id).withdraw(attempt)
            elif outcome.result.status != "cancelled":  # it came to its own end meanwhile
                self._finish(self._by_run[outcome.result.run_id], outcome)
            else:
                ended += 1
                self._knowledge.take(outcome.result)
        if dispatch.flying:
            self._display.notice(left_behind(dispatch.flying.values(), self._backend))
        if ended:
            told = "1 running experiment was" if ended == 1 else f"{ended} running experiments were"
            self._display.notice(f"{told} ended")
