"""The command line's seeds, axes and filter are read, and all mistakes told at once."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.expressions import Expression
from pytest_gpuexp.overrides import Overrides, parse_overrides, unknown_names
from pytest_gpuexp.records import Plain


def sweep(*texts: str) -> Overrides:
    return parse_overrides(None, [], texts, None)


def test_nothing_on_the_command_line_overrides_nothing() -> None:
    assert parse_overrides(None, [], [], None) == Overrides()


def test_a_count_of_seeds_starts_at_zero() -> None:
    assert parse_overrides("3", [], [], None).seeds == (0, 1, 2)


def test_single_seeds_are_taken_in_the_order_given() -> None:
    assert parse_overrides(None, ["42", "7"], [], None).seeds == (42, 7)


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("1e-3,1e-4", [0.001, 0.0001]),
        ("1, 2.5, -3, +4, .5, 1.", [1, 2.5, -3, 4, 0.5, 1.0]),
        ("true,False,null,None", None),
        ("adam,sgd-m,007", ["adam", "sgd-m", "007"]),
        ("'a,b',\"1\"", ["a,b", "1"]),
        (r"'it\'s, so',x", ["it's, so", "x"]),
        ("[32,64],[128]", [[32, 64], [128]]),
        ("[],(1, 2),[adam,[true]]", [[], [1, 2], ["adam", [True]]]),
        ("{'a': 1, 'b': [2, 3]},{}", [{"a": 1, "b": [2, 3]}, {}]),
        ("s3://bucket/x=1", ["s3://bucket/x=1"]),
    ],
)
def test_values_are_read_as_they_look(written: str, values: list[Plain] | None) -> None:
    if values is None:
        with pytest.raises(UsageProblems, match="None is given twice"):
            sweep(f"lr={written}")
        return

    read = sweep(f"lr={written}").axes["lr"]

    assert repr(list(read)) == repr(values)


@given(
    st.lists(
        st.integers()
        | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.lists(st.integers(), max_size=3)
        | st.text(st.characters(exclude_categories=["C"])).map(str),
        min_size=1,
        unique_by=repr,
    )
)
def test_values_written_in_pythons_syntax_come_back(values: list[Plain]) -> None:
    read = sweep("x=" + ",".join(map(repr, values))).axes["x"]

    assert repr(list(read)) == repr(values)


def test_a_plus_adds_an_axis_that_no_file_declares() -> None:
    overrides = sweep("+model.depth=3,4", "lr=1")

    assert overrides.added == {"model.depth": (3, 4)}
    assert overrides.axes == {"lr": (1,)}


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UsageProblems) as caught:
        parse_overrides("x", ["1", "y"], ["lr", "lr=", "a-b=1", "seed=3"], "lr = 1")

    assert caught.value.subject == "command line"
    assert len(caught.value.problems) == 8
    assert json.dumps(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lr", "no '='; write --sweep lr=1,2"),
        ("lr=", "a value is missing; write --sweep lr=1,2"),
        ("lr=1,,2", "a value is missing"),
        ("lr=1,1", "1 is given twice"),
        ("lr=[1,2", "] is missing"),
        ("lr='a", "' is missing"),
        ("lr=range(0,5)", "range(0,5) cannot be read; quote strings"),
        ("lr={a: 1}", "cannot be read; quote strings, and write dicts as {'key': 1}"),
        ("lr=nan", "nan is not a finite number"),
        ("lr=1e999", "1e999 is not a finite number"),
        ("lr={1: 2}", "the key 1 (int) is not a str"),
        ("lr=]", "] cannot be read"),
        ("seed=3", "write @seeds(...) or --seed"),
    ],
)
def test_what_cannot_be_read_is_told_with_the_option(text: str, told: str) -> None:
    with pytest.raises(UsageProblems) as caught:
        sweep(text)

    assert f"--sweep {text}: " in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("count", "single", "told"),
    [
        ("0", [], "--seeds: 0 is no count of seeds"),
        ("0,7", [], "--seeds 0,7: not a count; for single seeds write --seed 0 --seed 7"),
        (None, ["-1"], "--seed: -1 is out of range; numpy takes 0 to 2**32 - 1"),
        (None, ["1", "1"], "--seed: 1 is given twice"),
        (None, ["x"], "--seed x: not an int"),
        ("3", ["1"], "--seeds and --seed exclude each other"),
    ],
)
def test_wrong_seeds_are_told(count: str | None, single: list[str], told: str) -> None:
    with pytest.raises(UsageProblems) as caught:
        parse_overrides(count, single, [], None)

    assert told in str(caught.value)


def test_an_axis_given_twice_is_told() -> None:
    with pytest.raises(UsageProblems, match="'lr' is given twice; write all values after one ="):
        sweep("lr=1", "+lr=2")


def test_names_that_no_handler_has_are_told_with_the_right_ones() -> None:
    overrides = Overrides(
        axes={"widht": (1,), "lr": (1,)},
        added={"depth": (1,)},
        filter=Expression.parse("lr == 1 and seed == 0 and depth == 1 and batch == 2"),
    )

    assert unknown_names(overrides, {"width", "lr"}) == [
        "--sweep widht: 'widht' is not a parameter; did you mean 'width'? (lr, width); "
        "to add it to every handler write +widht=...",
        "--gpuexp-filter: 'batch' is not a parameter (depth, lr, seed, width)",
    ]
    assert unknown_names(Overrides(), set()) == []


@given(st.text(max_size=30))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        sweep(f"x={text}")
    except UsageProblems as refused:
        told = refused.problems
    else:
        told = ("nothing is wrong",)

    assert all(told)
