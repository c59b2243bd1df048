"""Runs that other sessions have under way: whose they are, and what they come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_gpuexp.claims import Claim
from pytest_gpuexp.errors import RecordInvalid
from pytest_gpuexp.ledger import Ledger
from pytest_gpuexp.presence import Presence
from pytest_gpuexp.records import UNFINISHED, ExperimentResult, RunSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look at the runs of others found: how some ended, and which are nobody's now."""

    ended: dict[str, ExperimentResult]
    free: list[str]


class Elsewhere:
    """The runs, by run id, that this session leaves to others.

    A run is with one session at a time as long as the code is the same: whoever comes second takes
    over the result. ``waiting`` holds the claims of those whose end is not known yet.
    """

    def __init__(
        self, presence: Presence, *, any_code: bool, publish: Callable[[str], None]
    ) -> None:
        """Leave nothing to others yet.

        ``any_code`` takes results of other code too; ``publish`` brings a record that a dead
        session of this machine has left in the spool to the storage.
        """
        self.waiting: dict[str, Claim] = {}
        self._presence = presence
        self._any_code = any_code
        self._publish = publish
        self._ledgers: dict[str, Ledger] = {}
        self._company: bool | None = None

    def has(self, spec: RunSpec, ledger: Ledger, *, code: str) -> bool:
        """Return whether another session has ``spec``; it is waited for from now on."""
        claim = self.holder(spec.run_id, ledger, code=code)
        if claim is None:
            return False
        self._ledgers[spec.run_id] = ledger
        self.waiting[spec.run_id] = claim
        return True

    def holder(self, run_id: str, ledger: Ledger, *, code: str) -> Claim | None:
        """Return the claim by which another session has the run ``run_id``, None where none has.

        That is one which is on its way, or has ended since we looked at the storage, or was made by
        a session that is still at work.
        """
        if ledger.was_recorded(run_id) and not self._in_company():
            return None  # of an earlier session: it is over
        claim = ledger.newest_claim(run_id)
        if claim is None or claim.session == self._presence.owner.session:
            return None
        if claim.code not in ("", code) and not self._any_code:
            return None  # of other code, so it is another experiment in all but name
        if ledger.was_recorded(run_id):
            return claim if self._presence.is_at_work(claim) else None
        if self._presence.holds(claim):
            return claim
        return claim if self._is_recorded(claim, ledger) else None

    def look(self) -> Looked:
        """Return which of those that are waited for have ended; they are waited for no more."""
        looked = Looked(ended={}, free=[])
        for run_id, claim in list(self.waiting.items()):
            ledger = self._ledgers[run_id]
            held = self._presence.holds(claim)  # before the record: it may come in between
            if self._is_recorded(claim, ledger):
                del self.waiting[run_id]
                result = _read(ledger, claim)
                if result is None or result.status in UNFINISHED:
                    looked.free.append(run_id)
                else:
                    looked.ended[run_id] = result
            elif not held:
                del self.waiting[run_id]
                looked.free.append(run_id)
        return looked

    def _is_recorded(self, claim: Claim, ledger: Ledger) -> bool:
        if not self._presence.is_at_work(claim):
            self._publish(ledger.record_of(claim))
        return ledger.has_record(claim)

    def _in_company(self) -> bool:
        if self._company is None:
            self._company = self._presence.others()
        return self._company


def _read(ledger: Ledger, claim: Claim) -> ExperimentResult | None:
    try:
        return ledger.read(ledger.record_of(claim))
    except (RecordInvalid, FileNotFoundError):  # damaged, or deleted in this very moment
        return None
