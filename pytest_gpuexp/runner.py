"""What a handler holds in its hand while it runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gpuexp import returns
from pytest_gpuexp.artifacts import ResultsWriter
from pytest_gpuexp.checkpoints import KEEP, Checkpoint, Checkpoints, checkpoint_folder
from pytest_gpuexp.errors import GpuexpError, HandlerReturnInvalid
from pytest_gpuexp.protocols import Tracker
from pytest_gpuexp.records import Attempt, Plain
from pytest_gpuexp.series import SeriesWriter
from pytest_gpuexp.stopping import Stopping


class ExperimentRunner:
    """The fixture ``runner``: configuration in, metrics and artifacts out.

    Attributes:
        config: the run's parameters, dotted names nested, with ``seed``.
        seed: the run's seed; ``random``, numpy and torch were seeded with it.
        run_id: names the run in every file; the same in every attempt.
        stub: whether this is a rehearsal (``--stub-mode``).
        device: ``"cuda"`` where a GPU was leased to this run, else ``"cpu"``.
        devices: the leased GPUs, as ``CUDA_VISIBLE_DEVICES`` names them.
        folder: this attempt's own folder.
        results: takes artifacts.
    """

    def __init__(
        self,
        attempt: Attempt,
        *,
        config: Mapping[str, Plain],
        folder: Path,
        devices: Sequence[str] = (),
        trackers: Sequence[Tracker] = (),
        stopping: Stopping | None = None,
        tell: Callable[[Mapping[str, str]], object] = dict,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Be the runner of ``attempt``, whose files lie in ``folder``; made by the fixture."""
        self.experiment_id = attempt.spec.experiment_id
        self.run_id = attempt.spec.run_id
        self.attempt = attempt.number
        self.seed = attempt.spec.seed
        self.stub = attempt.stub
        self.config: dict[str, Any] = dict(config)
        self.devices = tuple(devices)
        self.device = "cuda" if self.devices else "cpu"
        self.folder = folder
        self.results = ResultsWriter(folder)
        self._series = SeriesWriter(folder / "metrics.jsonl", clock)
        self._trackers = tuple(trackers)
        self._stopping = stopping or Stopping()
        self.checkpoints = Checkpoints(attempt, checkpoint_folder(folder), tell=tell)
        self._returned = returns.Returned()

    @property
    def stopping(self) -> bool:
        """Whether the run is asked to stop: save a checkpoint then, and return.

        Asked are those that have looked at least once, and they have their grace (five seconds) to
        leave by themselves: at the time limit, at Ctrl-C, or where the machine is taken away.
        """
        return self._stopping.look()

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append a point to the run's series; without ``step`` the next one is taken.

        The last value of a name is the run's metric, unless the handler returns one; it stands
        even if the run fails afterwards. Takes numbers and arrays or tensors of one element.

        Raises:
            GpuexpError: a value is not a scalar; the others are logged all the same.
        """
        if step is not None and type(step) is not int:
            item = None if isinstance(step, bool) else returns.plain_scalar(step)
            if type(item) is not int:
                raise GpuexpError(f"log_metrics: step={step!r} is not an int.")
            step = item
        values, problems = returns.read_metrics(metrics)
        if values:
            at = self._series.append(values, step)
            for tracker in self._trackers:
                tracker.log(values, step=at)
        if problems:
            raise GpuexpError("log_metrics: " + "; ".join(problems))

    def checkpoint(
        self,
        content: Mapping[Any, Any] | str | os.PathLike[str],
        *,
        step: int | None = None,
        keep: int = KEEP,
    ) -> None:
        """Save what the run can go on from: a dict, or a copy of the file or folder at a path.

        In a dict are numbers, text, arrays, tensors, and dicts, lists and tuples of them, as in
        ``state_dict()``. It is whole or absent, whatever kills the run, and the last ``keep`` stay.
        Without ``step`` the next one is taken.

        Raises:
            GpuexpError: the dict holds other things, all of which are named, or there is no file.
        """
        self.checkpoints.save(content, step=step, keep=keep)

    def restore(self) -> Checkpoint | None:
        """Return the newest checkpoint of the attempt that this one goes on from; None: begin.

        That is an attempt of this session that was broken off, or with ``--resume`` one of an
        earlier session, but never one that was completed, or of other code.
        """
        return self.checkpoints.restore()

    def take_return(self, value: object) -> None:
        """Keep the valid part of what the handler returned, beside what it returned before.

        Raises:
            HandlerReturnInvalid: the rest is not valid; every problem is named.
        """
        read, problems = returns.read_return(value)
        self._returned = self._returned.followed_by(read)
        problems += [
            f"artifact {name!r} is not in {self.results.get_artifact_path('x').parent}; "
            "return what save_artifact gave"
            for name in self.results.missing(self._returned.artifacts)
        ]
        if problems:
            raise HandlerReturnInvalid(
                "the handler's return value is not valid: " + "; ".join(problems)
            )

    @property
    def finding(self) -> str | None:
        """What the handler found, in its own words."""
        return self._returned.finding

    @property
    def metrics(self) -> dict[str, float]:
        """What was logged last under each name, and over it what the handler returned."""
        return {**self._series.last, **self._returned.metrics}

    def close(self) -> None:
        """Bring the series to the disk."""
        self._series.close()
