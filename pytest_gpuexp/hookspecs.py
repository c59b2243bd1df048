"""The hooks that a conftest or another plugin can implement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # pytest reads the names alone, and every session would pay for them
    from pytest_gpuexp.conclusions import ExperimentReport
    from pytest_gpuexp.protocols import Backend, Storage, Tracker
    from pytest_gpuexp.records import Attempt, Outcome, RunSpec
    from pytest_gpuexp.settings import Settings


@pytest.hookspec(firstresult=True)
def pytest_gpuexp_make_backend(name: str, settings: Settings) -> Backend | None:
    """Make the backend called ``name``, or return None to leave it to others.

    Called once, in the controller, before the first run is dispatched; never in a worker.
    The first answer that is not None is used; the built-in ones answer last.

    Example, in a conftest.py:
        def pytest_gpuexp_make_backend(name, settings):
            if name == "slurm":
                return SlurmBackend(partition="gpu")

    .. versionadded:: 0.1
    """


@pytest.hookspec
def pytest_gpuexp_backend_names() -> Sequence[str] | None:
    """Name the backends that ``pytest_gpuexp_make_backend`` makes here.

    Called where a program asks ``CloudRunnerFactory.available_backends()``, and in the controller
    where nothing made the backend that was asked for, to tell those that there are. All answers
    are joined; the built-in names come first. An installed plugin and a conftest.py in the folder
    where pytest starts are asked, without a session: make nothing here.

    Example, in a conftest.py:
        def pytest_gpuexp_backend_names():
            return ["slurm"]

    .. versionadded:: 0.1
    """


@pytest.hookspec(firstresult=True)
def pytest_gpuexp_make_storage(url: str, settings: Settings) -> Storage | None:
    """Make the storage that ``--storage`` names, or return None to leave it to others.

    Called once, in the controller, before anything is planned. The first answer that is not None
    is used; the built-in ones answer last: a bucket for ``s3://``, a Modal volume for
    ``modal://``, a folder for every text without ``://``.

    Example, in a conftest.py:
        def pytest_gpuexp_make_storage(url, settings):
            if url.startswith("memory://"):
                return MemoryStorage(url)

    .. versionadded:: 0.1
    """


@pytest.hookspec
def pytest_gpuexp_make_tracker(attempt: Attempt, settings: Settings) -> Tracker | None:
    """Make a tracker for one attempt, or return None where it is not to be tracked.

    To be called in the worker, once an attempt, before the handler's fixtures are set up; every
    answer that is not None is used. Declared so that its shape is settled: this version has no
    trackers and does not call it.

    Example, in a conftest.py:
        def pytest_gpuexp_make_tracker(attempt, settings):
            return CsvTracker(Path("tracks") / f"{attempt.key}.csv")

    .. versionadded:: 0.1
    """


@pytest.hookspec
def pytest_gpuexp_modal_image(image: Any) -> Any:
    """Change the Modal image in which runs execute, and return it; None leaves it as it is.

    Called once, where the Modal app is defined (``gpuexp deploy`` and its like), with the image
    that has the project's packages; the plugin's source is added after it. There is no pytest then:
    only the conftest.py beside pyproject.toml is asked.

    Example, in a conftest.py:
        def pytest_gpuexp_modal_image(image):
            return image.apt_install("graphviz")

    .. versionadded:: 0.1
    """


@pytest.hookspec
def pytest_gpuexp_plan_made(plan: Mapping[str, Sequence[RunSpec]]) -> None:
    """Know what will run, by experiment id, in the order of dispatch.

    Called once, in the controller (with xdist: in each worker), after collection and before the
    first run; also with ``--dry-run``. Not called by ``--collect-only``. With ``--resume`` the runs
    that are kept are left out, so it may be empty.

    Example, in a conftest.py:
        def pytest_gpuexp_plan_made(plan):
            if sum(map(len, plan.values())) > 5000:
                raise pytest.UsageError("more than 5,000 runs: narrow the sweep")

    .. versionadded:: 0.1
    """


@pytest.hookspec
def pytest_gpuexp_run_finished(outcome: Outcome) -> None:
    """Know how one attempt ended.

    Called in the controller (with xdist: in the process that ran it), once an attempt, in the
    order in which they end, after its record is in the storage.

    Example, in a conftest.py:
        def pytest_gpuexp_run_finished(outcome):
            if outcome.result.status == "timeout":
                notify(outcome.result.run_id)

    .. versionadded:: 0.1
    """


@pytest.hookspec
def pytest_gpuexp_stage_finished(report: ExperimentReport) -> None:
    """Know what an experiment came to.

    Called in the controller, once an experiment, at the end of the session, after its
    ``results.yaml`` is written.

    Example, in a conftest.py:
        def pytest_gpuexp_stage_finished(report):
            post(report.experiment.experiment_id, report.assessment.recommendation)

    .. versionadded:: 0.1
    """
