"""Who contends: what each needs installed, whether its runs are isolated, how many it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from importlib.util import find_spec

from bench import contend_installed, contend_items, contend_ours, contend_plain, contend_xdist
from bench.task import Task, Work

# The larger size comes last; the marginal time of a run is taken between the two.
Sizes = Mapping[Work, tuple[int, ...]]
LARGE = 10_000
NOT_INSTALLED = "not installed"
FAST: Sizes = {"noop": (200, 1000), "torch": (20, 200)}
MIDDLING: Sizes = {"noop": (40, 200), "torch": (20, 200)}
HYDRA: Sizes = {"noop": (10, 40), "torch": (10, 40)}
# About a second a run: enough to tell, and the whole table still fits in a coffee break.
SLOW: Sizes = {"noop": (6, 12), "torch": (6, 12)}
WHOLE: Sizes = {**FAST, "large": (LARGE,), "collect": (LARGE,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way of doing the work; ``isolation`` says whether a run has a process of its own."""

    name: str
    title: str
    isolation: str
    command: Callable[[Task], list[str]]
    sizes: Sizes
    needs: tuple[str, ...] = ()

    def missing(self, work: Work) -> str | None:
        """Say what is not installed and how to get it, or return None."""
        wanted = (*self.needs, "torch") if work == "torch" else self.needs
        if absent := [name for name in wanted if not _installed(name)]:
            return f"{NOT_INSTALLED}: {', '.join(absent)} (pip install 'pytest-gpuexp[bench]')"
        return None


def _installed(name: str) -> bool:
    if name == "pytest-gpuexp":
        return bool(entry_points(group="pytest11", name="gpuexp"))
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # The package of a dotted name is absent.
        return False


def _script(name: str, task: Task) -> list[str]:
    return task.script(f"bench.contend_{name}")


def _scripted(
    name: str, title: str, isolation: str, sizes: Sizes, needs: tuple[str, ...] = ()
) -> Contender:
    command = partial(_script, name.replace("-", "_"))
    return Contender(
        name=name, title=title, isolation=isolation, command=command, sizes=sizes, needs=needs
    )


CONTENDERS = (
    Contender(
        name="ours",
        title="pytest-gpuexp --parallelism 2",
        isolation="a run",
        command=contend_ours.command,
        sizes=WHOLE,
        needs=("pytest-gpuexp",),
    ),
    Contender(
        name="plain",
        title="pytest, in process",
        isolation="none",
        command=contend_plain.command,
        sizes={**WHOLE, "unused": (200,)},
    ),
    Contender(
        name="installed",
        title="pytest, gpuexp installed",
        isolation="none",
        command=contend_installed.command,
        sizes={"unused": (200,)},
        needs=("pytest-gpuexp",),
    ),
    Contender(
        name="xdist",
        title="pytest-xdist -n 2",
        isolation="a worker",
        command=contend_xdist.command,
        sizes=FAST,
        needs=("xdist",),
    ),
    Contender(
        name="items",
        title="pytest, a bare fork a test",
        isolation="a run",
        command=contend_items.command,
        sizes=FAST,
    ),
    _scripted("loop", "a bare loop (the work)", "none", FAST),
    _scripted("fork", "a bare os.fork pool", "a run", FAST),
    _scripted("snapshot", "a bare snapshot loop", "a run", FAST),
    _scripted("forkserver", "a forkserver pool", "a run", MIDDLING),
    _scripted("hydra-basic", "Hydra, basic launcher", "none", HYDRA, ("hydra",)),
    _scripted(
        "hydra-joblib",
        "Hydra, joblib launcher",
        "a worker",
        HYDRA,
        ("hydra", "hydra_plugins.hydra_joblib_launcher"),
    ),
    _scripted("submitit", "submitit, local executor", "a run", SLOW, ("submitit",)),
    _scripted(
        "ray",
        "Ray Tune, actor a trial",
        "a run",
        SLOW,
        ("ray", "pyarrow", "pandas", "tensorboardX"),
    ),
)
