"""Which runs of a session are attempted again when an attempt has ended, and the claim of that."""

from __future__ import annotations

from collections import Counter

import pytest

from pytest_gpuexp import figures, retrying
from pytest_gpuexp.claiming import Claiming
from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.protocols import Display
from pytest_gpuexp.records import UNFINISHED, Attempt, ExperimentResult


class Repeating:
    """Attempts again what has ended as its handler names, and what was taken over and is lost.

    ``taken_over`` are the keys of attempts that an earlier session has begun.
    """

    def __init__(self, *, claiming: Claiming, display: Display) -> None:
        """Claim by ``claiming``, and tell why by ``display``."""
        self.taken_over: set[str] = set()
        self._claiming = claiming
        self._display = display
        self._tries: Counter[str] = Counter()

    def again(
        self,
        session: pytest.Session,
        item: ExperimentItem,
        attempt: Attempt,
        result: ExperimentResult,
        *,
        handle: str,
    ) -> list[Attempt] | None:
        """Return what follows an ``attempt`` of ``item`` that ended so; None where nothing does.

        The list is empty where another session has taken the run meanwhile.

        Raises:
            StorageError: the storage takes no claim.
        """
        if attempt.key in self.taken_over and result.status in UNFINISHED:
            self._display.notice(f"{item.name} runs again: {result.error_message}")
            new = self._claiming.claim(item, handle=handle)
            return [] if new is None else [new]
        retries = item.handler.retries
        if retries is None or session.shouldfail or session.shouldstop:
            return None
        self._tries[result.run_id] += 1
        tries = self._tries[result.run_id]
        spec = retrying.next_spec(attempt.spec, retries, tries=tries, status=result.status)
        if spec is None:
            return None
        restores = [*attempt.restores, attempt.number]
        new = self._claiming.claim(item, handle=handle, spec=spec, restores=restores)
        why = figures.first_line(result.error_message or "")
        self._display.notice(
            retrying.told(spec, retries, tries=tries, status=result.status, why=why)
        )
        return [] if new is None else [new]
