"""Attempts that are executed in the session's own process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from pytest_gpuexp import recording
from pytest_gpuexp.execution import Execution
from pytest_gpuexp.items import ExperimentItem
from pytest_gpuexp.records import Attempt, Outcome
from pytest_gpuexp.stopping import Stopping
from pytest_gpuexp.storage.local import LocalStorage


class OwnProcess:
    """Executes attempts of the session's own items.

    ``items`` are those in the order in which they run: a run's fixtures may serve the next.
    ``provenance`` is the YAML that ends every record.
    """

    def __init__(
        self,
        config: pytest.Config,
        *,
        workplace: LocalStorage,
        gpus: Sequence[str],
        say: Callable[[str], object],
        on_checkpoint: Callable[[Attempt, str], object],
    ) -> None:
        """Keep files in ``workplace``.

        ``say`` gets what the user should know, ``on_checkpoint`` the names of those that are saved.
        """
        self.items: Sequence[ExperimentItem] = ()
        self.provenance = b""
        self._workplace = workplace
        self._gpus = gpus
        self._say = say
        self._on_checkpoint = on_checkpoint
        self._execution = Execution(config)
        config.pluginmanager.register(self._execution, "gpuexp-execution")

    def execute(self, attempt: Attempt) -> Outcome:
        """Execute ``attempt`` and commit its record.

        Raises:
            KeyboardInterrupt: the session was asked to end, and the run had looked for that.
        """
        index = next(n for n, i in enumerate(self.items) if i.spec.run_id == attempt.spec.run_id)
        item = self.items[index]
        folder = self._workplace.path(recording.run_folder(attempt))
        folder.mkdir(parents=True, exist_ok=True)
        module = item.parent
        assert isinstance(module, pytest.Module)  # ExperimentModule makes these items
        stopping = Stopping(why=lambda: "cancelled")
        outcome = self._execution.run(
            module,
            attempt,
            folder=folder,
            devices=self._gpus[: attempt.spec.gpus or 1],
            nextitem=self.items[index + 1] if index + 1 < len(self.items) else None,
            quiet=item.handler.retries is not None,
            stopping=stopping,
            tell=lambda told: self._hear(attempt, told),
        )
        recording.commit(self._workplace, outcome.result, self.provenance)
        if stopping.reason is not None:
            raise KeyboardInterrupt
        return outcome

    def _hear(self, attempt: Attempt, told: Mapping[str, str]) -> None:
        if "notice" in told:
            self._say(told["notice"])
        else:
            self._on_checkpoint(attempt, told["checkpoint"])
