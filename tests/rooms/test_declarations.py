"""What marks say is read once, with a module's marks behind those of its handlers."""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable
from typing import Any

import pytest

from pytest_gpuexp import at_least, cases, declarations, experiment, grid, paired, seeds, tier
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import Experiment
from pytest_gpuexp.retrying import Retries
from pytest_gpuexp.settings import Settings
from pytest_gpuexp.tiers import Tier


def handler_with(*decorators: pytest.MarkDecorator, around: Any = ()) -> Callable[..., Any]:
    """Return a function under ``decorators``, the first on top, in a module marked ``around``."""
    names: dict[str, Any] = {"pytestmark": around}
    exec("def exp_a(): ...", names)
    function: Callable[..., Any] = names["exp_a"]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def machine(
    *decorators: pytest.MarkDecorator, settings: Settings | None = None
) -> tuple[dict[str, Any], list[str]]:
    problems: list[str] = []
    marks = declarations.marks_for(handler_with(*decorators))
    return declarations.machine_of(marks, settings or Settings(), problems), problems


def test_marks_are_read_from_the_top() -> None:
    function = handler_with(grid(a=[1]), paired(b=[1]), cases([{"c": 1}]))

    names = [mark.name for mark in declarations.marks_of(function)]

    assert names == ["gpuexp_grid", "gpuexp_paired", "gpuexp_cases"]


def test_a_module_may_have_one_mark_or_a_list() -> None:
    for around in (seeds(2), [seeds(2)], (seeds(2).mark,)):
        [mark] = declarations.marks_for(handler_with(around=around))
        assert mark.args == (2,)


def test_a_handlers_own_seeds_and_tier_replace_the_modules() -> None:
    function = handler_with(seeds(1), tier("fast"), around=[seeds(5), tier("debug"), grid(a=[1])])

    marks = declarations.marks_for(function)

    assert [(mark.name, mark.args) for mark in marks] == [
        ("gpuexp_seeds", (1,)),
        ("gpuexp_tier", ("fast",)),
        ("gpuexp_grid", ()),
    ]


def test_an_undeclared_experiment_is_named_as_its_file() -> None:
    module = types.ModuleType("folder.exp_a")

    assert declarations.read_experiment(module, "folder/exp_a.py") == Experiment(
        experiment_id="exp_a", path="folder/exp_a.py"
    )


def test_an_experiment_is_read_as_declared() -> None:
    module = types.ModuleType("exp_a")
    limits = {"accuracy": at_least(0.9)}
    module.pytestmark = [  # type: ignore[attr-defined]
        pytest.mark.skip,
        experiment("c1", claim="It works.", success_criteria=limits, judged="every"),
    ]

    assert declarations.read_experiment(module, "exp_a.py") == Experiment(
        experiment_id="c1",
        claim="It works.",
        success_criteria=limits,
        judged="every",
        path="exp_a.py",
    )


def test_an_experiment_is_declared_once() -> None:
    module = types.ModuleType("exp_a")
    module.pytestmark = [experiment("a"), experiment("b")]  # type: ignore[attr-defined]

    with pytest.raises(UsageProblems, match="twice; keep one"):
        declarations.read_experiment(module, "exp_a.py")


@pytest.mark.parametrize("experiment_id", ["", ".", "../up", "a/b", "a b", 3, None])
def test_an_id_names_a_folder(experiment_id: Any) -> None:
    module = types.ModuleType("exp_a")
    module.pytestmark = experiment(experiment_id)  # type: ignore[attr-defined]

    with pytest.raises(UsageProblems, match="names a folder: letters, digits"):
        declarations.read_experiment(module, "exp_a.py")


def test_the_marker_written_out_says_the_same_as_its_word() -> None:
    for marks in ([grid(a=[1, 2], only={"a": 1}).mark], [pytest.mark.gpuexp_grid(a=[1, 2]).mark]):
        [group], rows = declarations.groups_of(marks)
        assert group.names == ("a",)
        assert group.problems == ()
        assert rows == []


def test_the_marks_of_a_row_are_kept_with_its_text() -> None:
    mark = pytest.mark.parametrize(
        ("a", "b"),
        [(1, 2), pytest.param(3, 4, marks=[pytest.mark.xfail, pytest.mark.skip])],
    )

    [group], [row] = declarations.groups_of([mark.mark])

    assert group.names == row.names == ("a", "b")
    assert row.text == "a:3-b:4"
    assert [one.name for one in row.marks] == ["xfail", "skip"]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        ("a", ["one", None]),
        ("a", lambda a: "one" if a == 1 else None),
        (["a"], iter(["one", None])),
    ],
)
def test_a_row_keeps_the_ids_that_it_was_given(names: Any, ids: Any) -> None:
    values = [1, pytest.param(2, id="two")] if names == "a" else [(1,), pytest.param(2, id="two")]
    mark = pytest.mark.parametrize(names, values, ids=ids)

    _, rows = declarations.groups_of([mark.mark])

    assert [(row.text, row.words) for row in rows] == [("a:1", ("one",)), ("a:2", ("two",))]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (map(str, itertools.count()), [("0",), ("1",)]),
        (iter(["x"]), [("x",)]),
        ([], []),
        ({"x": 1, "y": 2}, [("x",), ("y",)]),
    ],
)
def test_ids_are_taken_as_pytest_takes_them(ids: Any, words: list[tuple[str, ...]]) -> None:
    mark = pytest.mark.parametrize("a", [1, 2], ids=ids)

    [group], rows = declarations.groups_of([mark.mark])

    assert group.problems == ()
    assert [row.words for row in rows] == words


def _refuse(value: object) -> str:
    raise ValueError(f"no name for {value}")


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (["x"], "1 ids for 2 rows"),
        (5, "ids=5 is neither a function nor a list of ids"),
        (_refuse, "ids raised ValueError: no name for 1"),
        ((_refuse(one) for one in [3]), "ids raised ValueError: no name for 3"),
    ],
)
def test_ids_that_cannot_be_taken_are_told(ids: Any, told: str) -> None:
    mark = pytest.mark.parametrize("a", [1, 2], ids=ids)

    [group], _ = declarations.groups_of([mark.mark])

    assert group.problems == (f"parametrize: {told}",)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (itertools.count(), "has more than 1,000,000 values"),
        (5, "is 5 (int), not a "),
    ],
)
def test_values_that_are_no_list_are_told(values: Any, told: str) -> None:
    mark = pytest.mark.parametrize("a", values)

    [group], _ = declarations.groups_of([mark.mark])

    assert group.problems[0].startswith(f"parametrize {told}")


def test_parametrize_is_read_by_keyword_too() -> None:
    names = ["a"]  # a list: then each value is a row of its own
    mark = pytest.mark.parametrize(argnames=names, argvalues=[(1,), pytest.param(2)])

    [group], _ = declarations.groups_of([mark.mark])

    assert [row for block in group.blocks for row in block.rows] == [(1,), (2,)]


def test_indirect_is_refused_with_the_other_way() -> None:
    mark = pytest.mark.parametrize("a", [1], indirect=True)

    [group], _ = declarations.groups_of([mark.mark])

    assert group.problems == (
        "parametrize: indirect= is not for handlers; let the fixture take the name itself",
    )


def test_seeds_take_one_thing() -> None:
    problems: list[str] = []

    assert declarations.seeds_of([seeds(3).mark], problems) == 3
    assert declarations.seeds_of([], problems) is None
    assert problems == []
    assert declarations.seeds_of([pytest.mark.gpuexp_seeds(0, 1).mark], problems) is None
    assert problems == ["seeds() takes one count or one list; write seeds(3) or seeds([0, 7])"]


def test_nothing_asked_is_no_machine_in_particular() -> None:
    assert machine() == ({"tier": None, "gpus": None, "timeout_seconds": None}, [])


def test_a_tier_brings_gpus_and_timeout_that_its_keywords_replace() -> None:
    assert machine(tier("multi"))[0] == {"tier": "multi", "gpus": 2, "timeout_seconds": 7200.0}
    assert machine(tier("multi", gpus=0, timeout="1m"))[0] == {
        "tier": "multi",
        "gpus": 0,
        "timeout_seconds": 60.0,
    }


def test_the_command_line_outranks_the_mark() -> None:
    settings = Settings(gpu="h100", run_timeout=5.0)

    assert machine(tier("multi", timeout="1m"), settings=settings)[0] == {
        "tier": "h100",
        "gpus": 1,
        "timeout_seconds": 5.0,
    }


def test_all_that_is_wrong_with_a_tier_is_told() -> None:
    problems = machine(tier("fats", gpus=-1, timeout="soon"))[1]

    assert [problem.partition(" is not")[0] for problem in problems] == [
        "tier: 'fats'",
        "tier: timeout: 'soon'",
        "tier: gpus=-1",
    ]


def retries(mark: pytest.MarkDecorator, **settings: Any) -> tuple[Retries | None, list[str]]:
    problems: list[str] = []
    return declarations.retries_of([mark.mark], Settings(**settings), problems), problems


def test_without_retries_nothing_is_attempted_again() -> None:
    assert retries(tier("debug")) == (None, [])
    assert retries(tier(retries=0)) == (None, [])


def test_retries_are_after_what_breaks_a_run_off_unless_it_is_said() -> None:
    assert retries(tier(retries=2))[0] == Retries(number=2, on=frozenset({"preempted", "oom"}))
    assert retries(tier(retries=1, on="lost"))[0] == Retries(number=1, on=frozenset({"lost"}))


def test_the_larger_tier_brings_its_gpus_and_its_time_limit() -> None:
    found, problems = retries(tier("debug", gpus=1, timeout="1m", retries=1, or_tier="multi"))
    bare, _ = retries(tier("debug", retries=1, or_tier="H200:4"), run_timeout=5.0)
    ruled_out, _ = retries(tier("debug", retries=1, or_tier="multi"), gpu="fast")

    assert problems == []
    assert found is not None
    assert found.instead == {"tier": "multi", "gpus": 2, "timeout_seconds": 60.0}
    assert bare is not None
    assert bare.instead == {"tier": "H200:4", "gpus": 4, "timeout_seconds": 5.0}
    assert ruled_out is not None
    assert ruled_out.instead == {}


def test_the_larger_tier_may_be_one_of_the_projects_own() -> None:
    own = Tier(name="huge", gpu="H200", gpus=8, timeout_seconds=60.0)

    found, problems = retries(tier("debug", retries=1, or_tier="huge"), tiers={"huge": own})

    assert problems == []
    assert found is not None
    assert found.instead == {"tier": "huge", "gpus": 8, "timeout_seconds": 60.0}


def test_all_that_is_wrong_with_retries_is_told() -> None:
    found, problems = retries(tier(retries=True, on={"completed"}, or_tier="fats"))

    assert found is None
    assert [problem.split(";")[0].partition(" (")[0] for problem in problems] == [
        "tier: retries=True is not a number of further attempts",
        "tier: on: 'completed' is no status to retry after",
        "tier: or_tier= is asked for after an oom",
        "tier: or_tier: 'fats' is not a tier",
    ]
