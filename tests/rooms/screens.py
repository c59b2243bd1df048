"""A terminal that keeps what is written to it, and what there is to write."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from pytest_gpuexp.conclusions import Assessment, ExperimentReport
from pytest_gpuexp.protocols import Display
from pytest_gpuexp.records import Experiment, ExperimentResult, Outcome, RunSpec
from pytest_gpuexp.terminal import Terminal

SPECS = [
    RunSpec(
        experiment_id="c1",
        handler="exp_mlp",
        function="exp_mlp",
        path="exp_c1.py",
        name=f"exp_mlp[seed:{seed}]",
        parameters={},
        seed=seed,
        run_id=str(seed),
    )
    for seed in range(12)
]
RESULT = ExperimentResult(
    experiment_id="c1",
    run_id="0",
    attempt=1,
    handler="exp_mlp",
    name="exp_mlp[seed:0]",
    path="exp_c1.py",
    status="completed",
    verdict="pass",
    config={},
    parameters={},
    seed=0,
    metrics={"loss": 0.1, "accuracy": 0.97},
    duration_seconds=2.0,
)
REPORT = ExperimentReport(
    experiment=Experiment(experiment_id="c1", claim="It learns."),
    variants=(),
    assessment=Assessment(
        met=None,
        verdict="pass",
        achieved={},
        variant=None,
        variants_met=0,
        variants_judged=0,
        confidence="high",
        recommendation="proceed",
    ),
)


class Screen:
    """A reporter and a writer as pytest has them, which keep what is written."""

    def __init__(
        self, *, verbosity: int = 0, no_summary: bool = False, colour: bool = False
    ) -> None:
        self.verbosity = verbosity
        self.no_summary = no_summary
        self.hasmarkup = colour
        self.fullwidth = 100
        self.text = ""
        self.coloured: list[tuple[str, str]] = []
        self.begun = False

    @property
    def width_of_current_line(self) -> int:
        return len(self.text.rpartition("\n")[2])

    def ensure_newline(self) -> None:
        if self.begun:
            self.text += "\n"
            self.begun = False

    def write(self, content: str, *, flush: bool = False, **markup: bool) -> None:
        self.text += content
        self.coloured += [(content, colour) for colour in markup]

    def write_raw(self, content: str, *, flush: bool = False) -> None:
        self.text += content

    def write_sep(self, sep: str, title: str | None = None, **markup: bool) -> None:
        self.text += f"{sep * 3} {title} {sep * 3}\n"

    def begin(self, text: str) -> None:
        """Write an unfinished line, as pytest does with its dots."""
        self.text += text
        self.begun = True

    def taken(self) -> str:
        """Return what was written since the last call."""
        text, self.text = self.text, ""
        return text


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def terminal_on(screen: Screen, clock: Clock | None = None, **options: Any) -> Terminal:
    given: dict[str, Any] = {"is_terminal": False, "ci": False, **options}
    return Terminal(
        reporter=screen,
        writer=screen,
        clock=clock or Clock(),
        size=lambda: os.terminal_size((100, 30)),
        **given,
    )


def tell(display: Display, *, done: int = 0, running: int = 2) -> None:
    display.progress(
        done=done,
        total=12,
        running={spec.name: 1.0 for spec in SPECS[:running]},
        counts={"passed": done},
        said=lambda name: "",
    )


def end_run(display: Display, *, done: int = 1, **fields: Any) -> None:
    display.run_finished(Outcome(result=replace(RESULT, **fields)), done=done, total=12)
