"""The words of an experiment are pytest marks with the arguments where readers look for them."""

from __future__ import annotations

import pytest

from pytest_gpuexp import at_least, marks
from pytest_gpuexp.markers import MARKERS


def test_an_experiment_says_all_with_defaults() -> None:
    mark = marks.experiment("c1").mark

    assert mark.name == "gpuexp_experiment"
    assert mark.args == ("c1",)
    assert mark.kwargs == {"claim": "", "success_criteria": {}, "judged": "any"}


def test_success_criteria_are_copied() -> None:
    written = {"accuracy": at_least(0.9)}

    mark = marks.experiment("c1", success_criteria=written).mark
    written.clear()

    assert list(mark.kwargs["success_criteria"]) == ["accuracy"]


def test_axes_stay_in_the_order_in_which_they_are_written() -> None:
    for word in (marks.grid, marks.paired):
        mark = word(width=[1], lr=[2], exclude={"lr": 2}).mark

        assert list(mark.kwargs["axes"]) == ["width", "lr"]
        assert mark.kwargs["exclude"] == {"lr": 2}
        assert mark.kwargs["only"] is None


def test_dotted_names_go_through() -> None:
    mark = marks.grid(**{"model.num_layers": [4]}).mark  # type: ignore[arg-type]

    assert mark.kwargs["axes"] == {"model.num_layers": [4]}


def test_a_criterion_is_not_put_on_the_handler_that_it_judges() -> None:
    def exp_a() -> None: ...

    @marks.criterion(exp_a)
    def crit_a() -> None: ...

    assert not hasattr(exp_a, "pytestmark")
    [mark] = crit_a.pytestmark  # type: ignore[attr-defined]
    assert mark.args == (exp_a,)
    assert mark.kwargs == {"over": "seed"}


def test_a_tier_may_say_only_a_timeout() -> None:
    mark = marks.tier(timeout="10m").mark

    assert mark.args == (None,)
    assert {name: value for name, value in mark.kwargs.items() if value} == {"timeout": "10m"}


@pytest.mark.parametrize(
    "decorator",
    [
        marks.experiment("c1"),
        marks.seeds(2),
        marks.grid(a=[1]),
        marks.paired(a=[1]),
        marks.cases([]),
        marks.tier("debug"),
        marks.criterion(print),
    ],
)
def test_every_word_is_a_registered_marker(decorator: pytest.MarkDecorator) -> None:
    assert decorator.name in MARKERS
