"""The runs of a session on their way: from the claim of an attempt to the report of its end."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest

from pytest_gpuexp import documents, figures, glimpse, provenance, reporting, retrying
from pytest_gpuexp.collection import ExperimentItem
from pytest_gpuexp.dispatch import Dispatch
from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.interruption import terminable
from pytest_gpuexp.knowledge import Knowledge
from pytest_gpuexp.moments import utc
from pytest_gpuexp.origins import Origins
from pytest_gpuexp.places import Places
from pytest_gpuexp.protocols import Backend, Display
from pytest_gpuexp.records import UNFINISHED, Attempt, ExperimentResult, Outcome, RunSpec
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
    ) -> None:
        """Start nothing; what ends is added to ``knowledge`` and shown by ``display``."""
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
        self._taken_over: set[str] = set()  # their attempts of earlier sessions
        self._tries: Counter[str] = Counter()
        self._refusal: StorageError | None = None
        self._done = 0
        self._total = 0

    def carry_out(self, session: pytest.Session, items: Sequence[ExperimentItem]) -> None:
        """Run ``items``, each reported as it ends; cancel what is in flight where it must stop.

        Raises:
            pytest.Session.Failed: ``-x`` or ``--maxfail`` has its failures.
            pytest.Session.Interrupted: a plugin asked the session to stop.
        """
        self._total = len(items)
        by_run = {item.spec.run_id: item for item in items}
        backend = self._open_backend(items)
        dispatch = Dispatch(
            backend, parallelism=self._places.parallelism, on_handle=self._keep_handle
        )
        self._adopt(items, dispatch)
        self.dispatching = True
        with terminable():
            try:
                if self._settings.detach:
                    self._detach(dispatch, items, backend)
                    return
                for ended in dispatch.run(self._attempts(items, backend)):
                    for attempt, outcome in ended:
                        item = by_run[attempt.spec.run_id]
                        again = self._again(session, item, attempt, outcome, backend)
                        if again is None:
                            self._finish(item, outcome)
                        else:
                            dispatch.submit(again)
                    self._show_progress(by_run, backend)
                    stop_where_asked(session)
                if self._refusal is not None:
                    raise self._refusal
            except BaseException:
                self._cancel(dispatch, by_run)
                raise
            finally:
                self.dispatching = False
                self._display.withdraw()

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
                attempt = self._claim(item, item.spec, backend, self._restores(item.spec))
            except StorageError as error:  # what runs already comes to its end, and is kept
                self._refusal = error
                return
            yield attempt

    def _detach(
        self, dispatch: Dispatch, items: Sequence[ExperimentItem], backend: Backend
    ) -> None:
        """Start all of ``items``, and see that what finds each again is written down."""
        by_run = {item.spec.run_id: item for item in items}
        known: set[str] = set()
        for attempt in self._attempts(items, backend):
            dispatch.submit(attempt)
        while any(attempt.key not in known for attempt in dispatch.flying.values()):
            known.update(dispatch.learn())
            for attempt, outcome in dispatch.collect(_LEARN_SECONDS):  # it could not be started
                self._finish(by_run[attempt.spec.run_id], outcome)
        left = len(dispatch.flying)
        runs = "1 run is" if left == 1 else f"{left} runs are"
        self._display.notice(
            f"{runs} on Modal, without this session. To collect what they give, run pytest with "
            "--resume in place of --detach, and the same paths and options"
        )

    def _adopt(self, items: Sequence[ExperimentItem], dispatch: Dispatch) -> None:
        """Take over what an earlier session has left with Modal."""
        if not self._settings.resume or self._settings.backend != "modal":
            return
        specs = {item.spec.run_id: item.spec for item in items}
        intents = self._knowledge.intents(specs.values(), backend="modal")
        for run_id, intent in intents.items():
            attempt = Attempt(spec=specs[run_id], number=intent.number)
            job = self._places.adopt(attempt, intent.handle)
            if job is None:
                self._knowledge.ledger(specs[run_id].experiment_id).withdraw(attempt)
            else:
                self._adopted.add(run_id)
                self._taken_over.add(attempt.key)
                dispatch.adopt(attempt, job)

    def _again(
        self,
        session: pytest.Session,
        item: ExperimentItem,
        attempt: Attempt,
        outcome: Outcome,
        backend: Backend,
    ) -> Attempt | None:
        """Return the next attempt of a run whose ``attempt`` ended so, claimed; None for none."""
        retries, result = item.handler.retries, outcome.result
        if attempt.key in self._taken_over and result.status in UNFINISHED:
            self._display.notice(f"{item.name} runs again: {result.error_message}")
            return self._claim(item, item.spec, backend, self._restores(item.spec))
        if retries is None or session.shouldfail or session.shouldstop:
            return None
        self._tries[result.run_id] += 1
        tries = self._tries[result.run_id]
        spec = retrying.next_spec(attempt.spec, retries, tries=tries, status=result.status)
        if spec is None:
            return None
        try:
            again = self._claim(item, spec, backend, [*attempt.restores, attempt.number])
        except StorageError as error:
            self._refusal = error
            return None
        self._ended(outcome)
        why = figures.first_line(result.error_message or "")
        self._display.notice(
            retrying.told(spec, retries, tries=tries, status=result.status, why=why)
        )
        return again

    def _restores(self, spec: RunSpec) -> Sequence[int]:
        """Return the attempts of earlier sessions that the first one of this may go on from."""
        if not self._settings.resume:
            return ()
        return self._knowledge.ledger(spec.experiment_id).interrupted(spec.run_id)

    def _claim(
        self, item: ExperimentItem, spec: RunSpec, backend: Backend, restores: Sequence[int]
    ) -> Attempt:
        return self._knowledge.ledger(spec.experiment_id).claim(
            spec,
            backend=self._settings.backend,
            handle=backend.handle,
            submitted_at=utc(time.time()),
            stub=self._settings.stub,
            marks=[(mark.name, mark.args, mark.kwargs) for mark in item.added_marks()],
            fingerprint=self._origins.fingerprint(item),
            restores=restores,
            any_code=self._settings.any_code,
        )

    def _keep_handle(self, attempt: Attempt, handle: str) -> None:
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

    def _show_progress(self, by_run: dict[str, ExperimentItem], backend: Backend) -> None:
        for notice in self._places.notices():
            self._display.notice(notice)
        ages = backend.running()
        keys = {by_run[key.rpartition(".")[0]].name: key for key in ages}

        def said(name: str) -> str:
            run_id, _, number = keys[name].rpartition(".")
            attempt = Attempt(spec=by_run[run_id].spec, number=int(number))
            return glimpse.latest(self._places.folder_of(attempt))

        self._display.progress(
            done=self._done,
            total=self._total,
            running={name: ages[key] for name, key in keys.items()},
            counts=self._counts,
            said=said,
        )

    def _cancel(self, dispatch: Dispatch, by_run: Mapping[str, ExperimentItem]) -> None:
        ended = 0
        for attempt, outcome in dispatch.cancel():
            if not outcome.result.started_at:
                with contextlib.suppress(StorageError):  # a claim that stays costs a number
                    self._knowledge.ledger(attempt.spec.experiment_id).withdraw(attempt)
            elif outcome.result.status != "cancelled":  # it came to its own end meanwhile
                self._finish(by_run[outcome.result.run_id], outcome)
            else:
                ended += 1
                self._knowledge.take(outcome.result)
        if dispatch.flying:
            left = ", ".join(sorted(attempt.key for attempt in dispatch.flying.values()))
            self._display.notice(f"these attempts did not end in time and have no record: {left}")
        if ended:
            told = "1 running experiment was" if ended == 1 else f"{ended} running experiments were"
            self._display.notice(f"{told} ended")


def stop_where_asked(session: pytest.Session) -> None:
    """Raise what pytest's own loop would raise after a test.

    Raises:
        pytest.Session.Failed: ``-x`` or ``--maxfail`` has its failures.
        pytest.Session.Interrupted: a plugin asked the session to stop.
    """
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
