"""How a session gets an attempt of a run, unless another session has the run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from pytest_gpuexp.claims import code_of
from pytest_gpuexp.elsewhere import Elsewhere
from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.knowledge import Knowledge
from pytest_gpuexp.moments import utc
from pytest_gpuexp.origins import Origins
from pytest_gpuexp.presence import Presence
from pytest_gpuexp.records import Attempt, RunSpec
from pytest_gpuexp.settings import Settings

_NUMBERS = 1000  # attempts that others may take before we find a free one


class Claiming:
    """Claims runs for one session; ``elsewhere`` learns of those that others have."""

    def __init__(
        self,
        settings: Settings,
        *,
        knowledge: Knowledge,
        origins: Origins,
        presence: Presence,
        elsewhere: Elsewhere,
    ) -> None:
        """Claim nothing yet, and give no sign of life."""
        self._settings = settings
        self._knowledge = knowledge
        self._origins = origins
        self._presence = presence
        self._elsewhere = elsewhere

    def look(self, items: Iterable[ExperimentItem]) -> None:
        """Learn which of ``items`` were begun by others."""
        wanted: dict[str, list[str]] = {}
        for item in items:
            wanted.setdefault(item.spec.experiment_id, []).append(item.spec.run_id)
        for experiment_id, run_ids in wanted.items():
            self._knowledge.ledger(experiment_id).look_for_claims(run_ids)

    def is_elsewhere(self, item: ExperimentItem) -> bool:
        """Return whether another session has ``item``, which is waited for then."""
        ledger = self._knowledge.ledger(item.spec.experiment_id)
        code = code_of(self._origins.fingerprint(item))
        return self._elsewhere.has(item.spec, ledger, code=code)

    def free(self, items: Iterable[ExperimentItem]) -> list[ExperimentItem]:
        """Return those of ``items`` that no other session has."""
        return [item for item in items if not self.is_elsewhere(item)]

    def take_over(self, items: Iterable[ExperimentItem]) -> list[tuple[Attempt, str]]:
        """Return what dead sessions have left of ``items`` on Modal, each with what finds it.

        It is ours from now on. An attempt of other code is left out: its run is another one now.
        """
        found: list[tuple[Attempt, str]] = []
        for item in items:
            run_id, fingerprint = item.spec.run_id, self._origins.fingerprint(item)
            ledger = self._knowledge.ledger(item.spec.experiment_id)
            intent = ledger.intents([run_id]).get(run_id)
            if intent is None or intent.backend != "modal":
                continue
            if not (self._settings.any_code or intent.is_of(code_of(fingerprint))):
                continue
            self._presence.begin()
            ledger.take_over(run_id, self._presence.owner)
            attempt = Attempt(
                spec=item.spec,
                number=intent.number,
                fingerprint=fingerprint,
                submitted_at=intent.submitted_at,
                restores=[n for n in ledger.interrupted(run_id) if n != intent.number],
                any_code=self._settings.any_code,
            )
            found.append((attempt, intent.handle))
        return found

    def claim(
        self,
        item: ExperimentItem,
        *,
        handle: str,
        spec: RunSpec | None = None,
        restores: Sequence[int] | None = None,
    ) -> Attempt | None:
        """Return a new attempt of ``item``, or None where another session has the run.

        ``handle`` is what the backend can tell of it before it has it. ``spec`` is what is run, on
        another machine for one; ``restores`` are the attempts that it may go on from, where they
        are not those of earlier sessions that this one resumes.

        Raises:
            StorageError: the storage takes no claim.
        """
        self._presence.begin()
        ledger = self._knowledge.ledger(item.spec.experiment_id)
        if restores is None:
            resumed = self._settings.resume
            restores = ledger.interrupted(item.spec.run_id) if resumed else ()
        for _ in range(_NUMBERS):
            attempt = ledger.claim(
                spec or item.spec,
                backend=self._settings.backend,
                handle=handle,
                submitted_at=utc(time.time()),
                stub=self._settings.stub,
                owner=self._presence.owner,
                marks=[(mark.name, mark.args, mark.kwargs) for mark in item.added_marks()],
                fingerprint=self._origins.fingerprint(item),
                restores=restores,
                any_code=self._settings.any_code,
            )
            if attempt is not None or self.is_elsewhere(item):
                return attempt
        raise StorageError(
            f"no attempt number is free for {item.spec.run_id} in {self._settings.storage}. "
            "Look for another session that runs the same experiment."
        )
