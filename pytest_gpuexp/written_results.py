"""An experiment's results.yaml as a program writes it, over what stands there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pytest_gpuexp import artifacts, documents, results, thresholds
from pytest_gpuexp.conclusions import Recommendation
from pytest_gpuexp.errors import GpuexpError, RecordInvalid, UsageProblems
from pytest_gpuexp.records import Plain, Threshold
from pytest_gpuexp.storage.local import LocalStorage

_STATUSES = ("pending", "running", "completed", "partial", "failed", "blocked", "skipped")
_CONFIDENCES = ("high", "medium", "low")


class ResultsWriter(artifacts.ResultsWriter):
    """``runner.results`` outside of pytest: artifacts, and the setters of ``results.yaml``.

    Keys that it does not know stay as they are. Where nothing has changed, nothing is written.
    """

    def __init__(self, folder: Path, experiment_id: str) -> None:
        """Load what is in ``folder`` already.

        Raises:
            RecordInvalid: there is a results.yaml that cannot be read.
        """
        super().__init__(folder)
        self.path = folder / "results.yaml"
        self._storage = LocalStorage(folder)
        found: Plain = {}
        if self._is_there:
            found = documents.load(self.path.read_bytes(), place=str(self.path))
        if not isinstance(found, dict):
            raise RecordInvalid(f"{self.path}: it is no mapping. Mend it, or move it away.")
        self._before: dict[str, Plain] = found
        self.document: dict[str, Plain] = _copied({"experiment_id": experiment_id, **found})
        self.set_by_hand: set[str] = set()
        if self.document["experiment_id"] != experiment_id:
            raise RecordInvalid(
                f"{self.path}: it is of experiment {self.document['experiment_id']!r}, not of "
                f"{experiment_id!r}. Choose another results_dir."
            )

    @property
    def _is_there(self) -> bool:
        return self.path.is_file()

    def set_status(self, status: str) -> None:
        """Say how far the experiment is: ``running``, ``completed``, ``blocked``, ..."""
        self._set("status", _one_of("status", status, _STATUSES))

    def set_claim(self, claim: str) -> None:
        """Say what the experiment claims."""
        self._set("claim", claim)

    def set_success_criteria(self, criteria: Mapping[str, Any]) -> None:
        """Say what would bear the claim out: thresholds, or ``{acceptable, target, ...}``.

        Raises:
            UsageProblems: some of them are no thresholds.
        """
        read, problems = thresholds.read_thresholds(criteria)
        if problems:
            raise UsageProblems("success_criteria", problems)
        self._set("success_criteria", results.criteria_entries(read))

    def add_blocker(self, blocker: str) -> None:
        """Say what keeps the experiment from going on."""
        self._add("blockers", blocker)

    def add_issue(self, issue: str) -> None:
        """Say what went wrong or was noticed on the way."""
        self._add("issues", issue)

    def set_assessment(
        self, *, success_criteria_met: bool | None, confidence: str = "medium", **more: Plain
    ) -> None:
        """Say what it all comes to, in place of what the thresholds say.

        ``more`` are further keys, as ``lpips_achieved=0.31`` and ``notes=[...]``.
        """
        given = {"confidence": _one_of("confidence", confidence, _CONFIDENCES), **more}
        self._set("assessment", {"success_criteria_met": success_criteria_met, **given})

    def set_recommendation(self, recommendation: str) -> None:
        """Say what to do: ``proceed``, ``pivot`` or ``investigate``."""
        choices = get_args(Recommendation)
        self._set("recommendation", _one_of("recommendation", recommendation, choices))

    def skip(self, sub_experiment: str, reason: str) -> None:
        """Say that a sub-experiment is not run, and why."""
        self.set_entry(sub_experiment, {"status": "skipped", "finding": None, "reason": reason})

    def set_entry(self, sub_experiment: str, entry: Mapping[str, Plain]) -> None:
        """Put ``entry`` in the place of what is written of a sub-experiment."""
        self._experiments()[sub_experiment] = dict(entry)

    def entries(self) -> dict[str, dict[str, Plain]]:
        """Return what is written of each sub-experiment."""
        return {k: dict(v) for k, v in self._experiments().items() if isinstance(v, Mapping)}

    def thresholds(self) -> dict[str, Threshold]:
        """Return those of the criteria as written whose direction is written, too."""
        return results.criteria_of(self.document.get("success_criteria"))

    def update(self, derived: Mapping[str, Plain]) -> None:
        """Take over what follows from the runs, but for what was set by hand."""
        for key, value in derived.items():
            if key in self.set_by_hand or (value is None and key in self.document):
                continue
            self.document[key] = value

    def save(self) -> Path:
        """Write ``results.yaml``, whole, where something has changed; return its path."""
        if self.document != self._before or not self._is_there:
            self._storage.write("results.yaml", documents.dump(self.document))
            self._before = _copied(self.document)
        return self.path

    def _set(self, key: str, value: Plain) -> None:
        self.document[key] = value
        self.set_by_hand.add(key)

    def _add(self, key: str, text: str) -> None:
        listed = self.document.get(key)
        self.document[key] = [*(listed if isinstance(listed, list) else []), text]

    def _experiments(self) -> dict[str, Plain]:
        if not isinstance(self.document.get("results"), dict):
            self.document["results"] = {}
        found: dict[str, Plain] = self.document["results"].setdefault("experiments", {})
        return found


def _one_of(label: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise GpuexpError(f"{label} {value!r} is none of {', '.join(choices)}.")
    return value


def _copied(value: Plain) -> Any:
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value
