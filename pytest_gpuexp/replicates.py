"""What a ``@criterion`` function is given."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast

from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.records import ExperimentResult, Plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Over = Literal["seed", "run", "all"]


class UnknownMetric(GpuexpError, KeyError):
    """No completed replicate reported a metric of this name."""

    def __str__(self) -> str:
        """Return the message; KeyError would show it in quotes."""
        return str(self.args[0])


class Replicates(Mapping[str, "NDArray[np.float64]"]):
    """The metrics of a handler's completed runs, by name, in each metric's own unit.

    ``replicates["test_accuracy"]`` has a value a run: shape (seeds,) in ascending order of seed
    for ``over="seed"``; shape (runs,), variant by variant and by seed within each, for
    ``over="all"``; a single number for ``over="run"``. A run that did not report it has NaN.

    Attributes:
        parameters: of the variant; for ``over="all"`` a list of them, one a variant.
        seeds: shape (runs,), the seed of each value.
        results: the completed runs, one a value.
        missing: the runs that did not complete; they have no values.
        variants: for ``over="all"`` the replicates of each variant, in the order given, those
            without a completed run too; else empty.
    """

    def __init__(self, results: Iterable[ExperimentResult], *, over: Over = "seed") -> None:
        """Take one handler's ``results``, each run once.

        For ``over="seed"`` they are one variant's, for ``over="run"`` a single one.
        """
        import numpy as np  # costs 0.1 s, which a session that judges nothing does not pay

        self._array = np.array
        given = list(results)
        self.over = over
        self.variants: list[Replicates] = []
        self.parameters: dict[str, Plain] | list[dict[str, Plain]]
        if over == "all":
            groups = _variants(given)
            self.variants = [Replicates(group) for group in groups]
            self.parameters = [group[0].variant for group in groups]
            given = [result for group in groups for result in group]
        else:
            given.sort(key=lambda result: result.seed)
            self.parameters = given[0].variant if given else {}
        self.results = tuple(result for result in given if result.status == "completed")
        self.missing = tuple(result for result in given if result.status != "completed")
        self.seeds = np.array([result.seed for result in self.results], dtype=np.int64)
        self._names = list(
            dict.fromkeys(name for result in self.results for name in result.metrics)
        )

    def __getitem__(self, metric: str) -> NDArray[np.float64]:
        """Return the values of ``metric``, a new array each time.

        Raises:
            UnknownMetric: no completed run reported it; the error lists those that were.
        """
        if metric not in self._names:
            raise UnknownMetric(self._refusal(metric))
        values = [result.metrics.get(metric, math.nan) for result in self.results]
        array = self._array(values, dtype=float)
        # A number of numpy's has the methods of an array, and prints as a number.
        return cast("NDArray[np.float64]", array[0]) if self.over == "run" else array

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the metrics, in the order in which they were first reported."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return the number of metrics; that of runs is ``len(replicates.results)``."""
        return len(self._names)

    def __repr__(self) -> str:
        """Return a line for pytest's explanation of an assert."""
        runs = f"{len(self.results)} of {len(self.results) + len(self.missing)} runs completed"
        return f"<Replicates over {self.over}: {', '.join(self._names) or 'no metrics'}; {runs}>"

    def _refusal(self, metric: str) -> str:
        if not self.results:
            return f"{metric!r} was not measured: no run completed"
        known = ", ".join(sorted(self._names)) or "none at all"
        return f"{metric!r} is not a metric of {self.results[0].handler}; it reported: {known}"


def _variants(results: Sequence[ExperimentResult]) -> list[list[ExperimentResult]]:
    """Return ``results`` by variant, in the order of first appearance, each by seed."""
    groups: dict[str, list[ExperimentResult]] = {}
    for result in results:
        key = json.dumps(result.variant, sort_keys=True, default=repr)
        groups.setdefault(key, []).append(result)
    return [sorted(group, key=lambda result: result.seed) for group in groups.values()]
