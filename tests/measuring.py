"""Says which tests coverage follows into the processes that they start."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

MEASURED = frozenset(
    {
        "behaviour/test_checkpoints.py",
        "behaviour/test_cli.py",
        "behaviour/test_collection.py",
        "behaviour/test_commands.py",
        "behaviour/test_crashes.py",
        "behaviour/test_exit_codes.py",
        "behaviour/test_hydra_apps.py",
        "behaviour/test_interrupts.py",
        "behaviour/modal/test_taking_over.py::test_a_call_whose_id_was_never_written_down_is_found_by_its_claim",
        "behaviour/modal/test_failures.py::test_a_container_out_of_memory_is_told_with_the_way_out",
        "behaviour/modal/test_taking_over.py::test_a_killed_session_s_runs_are_taken_over_and_none_is_run_twice",
        "behaviour/modal/test_taking_over.py::test_a_result_that_modal_keeps_no_longer_is_run_again",
        "behaviour/modal/test_taking_over.py::test_an_intent_that_never_became_a_call_is_run_now",
        "behaviour/modal/test_taking_over.py::test_an_interrupted_session_ends_its_containers_and_says_how_many",
        "behaviour/modal/test_failures.py::test_calls_survive_a_server_that_goes_away",
        "behaviour/modal/test_taking_over.py::test_detached_runs_go_on_alone_and_are_collected",
        "behaviour/modal/test_runs.py::test_each_way_to_end_has_its_name",
        # It starts the server, and with it the containers of the whole file.
        "behaviour/modal/test_runs.py::test_runs_come_back_with_all_that_they_leave",
        "behaviour/test_modal_app.py",
        "behaviour/test_modal_commands.py",
        "behaviour/test_options.py",
        "behaviour/test_registry.py",
        "behaviour/test_retries.py",
        "behaviour/test_runners.py",
        "behaviour/test_spawn.py",
        "behaviour/test_stage_command.py",
        "behaviour/test_stages.py",
        "behaviour/test_standalone.py",
        "behaviour/test_stub_mode.py",
    }
)
"""Files whose tests' processes are measured, and single tests, as ``folder/file.py::test_name``."""
_HERE = Path(__file__).parent
_STARTS = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")


def is_measured(path: Path, test: str) -> bool:
    """Return whether the processes of ``test`` in the file at ``path`` are measured."""
    file = path.relative_to(_HERE).as_posix()
    return file in MEASURED or f"{file}::{test}" in MEASURED


@contextmanager
def following(*, wanted: bool) -> Iterator[None]:
    """Let coverage follow into what is started meanwhile only where that is ``wanted``.

    Measured, a session costs twice as much, and most of what it executes others do too (ADR 21).
    """
    hidden = {} if wanted else {name: os.environ[name] for name in _STARTS if name in os.environ}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def unmeasured(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` for a program that executes nothing of the package."""
    return {name: text for name, text in environ.items() if name not in _STARTS}
