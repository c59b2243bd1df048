"""Filters are read as Python's comparisons, and nothing else of Python runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.expressions import Expression
from pytest_gpuexp.records import Plain

POINT: dict[str, Plain] = {
    "lr": 0.001,
    "seed": 1,
    "model.num_layers": 4,
    "hidden": [32, 64],
    "name": "adam",
    "flag": True,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr == 1e-3 and seed in (0, 1)", True),
        ("lr == 1e-3 and seed in {0, 2}", False),
        ("seed not in [0, 2]", True),
        ("0 < seed < 2 <= model.num_layers", True),
        ("0 < seed < 1", False),
        ("not flag or name == 'adam'", True),
        ("flag == true and flag != null", True),
        ("hidden == (32, 64)", True),
        ("hidden == (16 * 2, 64)", True),
        ("hidden[-1] == 64 and hidden[0] // 2 ** 3 == 4", True),
        ("len(hidden) == max(seed, 2) and abs(-seed) == min(1, 2) and round(lr) == 0", True),
        ("seed % 2 == 1 and +seed - 1 + 2 / 1 == 2", True),
        (" seed ", True),
        ("'da' in name", True),
    ],
)
def test_a_point_matches_as_python_would_have_it(text: str, expected: bool) -> None:
    assert Expression.parse(text).evaluate(POINT) is expected


@given(st.integers(-9, 9), st.integers(-9, 9), st.sampled_from(["<", "<=", "==", "!=", ">", ">="]))
def test_comparisons_agree_with_python(left: int, right: int, sign: str) -> None:
    truth = {"<": left < right, "<=": left <= right, "==": left == right}
    truth |= {">=": not truth["<"], ">": not truth["<="], "!=": not truth["=="]}

    assert Expression.parse(f"a {sign} {right}").evaluate({"a": left}) is truth[sign]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("absent == 1", False),
        ("not absent == 1", False),
        ("absent == 1 or seed == 1", True),
        ("seed == 1 or absent == 1", True),
        ("absent == 1 or seed == 2", False),
        ("absent == 1 and seed == 1", False),
        ("not (absent == 1 and seed == 2)", True),
    ],
)
def test_an_absent_name_decides_nothing(text: str, expected: bool) -> None:
    assert Expression.parse(text).evaluate(POINT) is expected


def test_the_names_are_told_so_that_a_caller_can_check_them() -> None:
    expression = Expression.parse("model.num_layers == 4 and lr in (seed, true)")

    assert expression.names == {"model.num_layers", "lr", "seed"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("__import__('os').system('true')", "\"__import__('os').system('true')\" is not allowed"),
        ("print(lr)", "'print(lr)' is not allowed"),
        ("max(*hidden)", "'max(*hidden)' is not allowed"),
        ("max(hidden, key=len)", "is not allowed"),
        ("(lambda: 1)", "'lambda: 1' is not allowed"),
        ("[x for x in hidden]", "is not allowed"),
        ("hidden[1:]", "'hidden[1:]' is not allowed"),
        ("hidden[0].x", "'hidden[0].x' is not allowed"),
        ("lr is None", "'lr is None' is not allowed; compare with == or !="),
        ("seed & 1", "'seed & 1' is not allowed"),
        ("~seed", "'~seed' is not allowed"),
        ("f'{lr}'", "is not allowed"),
        ("1j", "'1j' is not allowed"),
        ("lr if seed else 0", "is not allowed"),
        ("(lr := 1)", "is not allowed"),
    ],
)
def test_what_is_not_allowed_is_shown(text: str, told: str) -> None:
    with pytest.raises(UsageProblems, match="--gpuexp-filter") as caught:
        Expression.parse(text)

    assert told in str(caught.value)
    assert "allowed are names, numbers" in str(caught.value)


def test_everything_that_is_not_allowed_is_told_at_once() -> None:
    with pytest.raises(UsageProblems) as caught:
        Expression.parse("print(lr) and open(x)")

    assert "print(lr)" in str(caught.value)
    assert "open(x)" in str(caught.value)


@pytest.mark.parametrize("text", ["", "lr ==", "lr = 1", "a\0b", "(" * 500, "x" * 3000])
def test_what_cannot_be_read_is_an_error_of_the_users(text: str) -> None:
    with pytest.raises(UsageProblems, match=r"cannot be read|longer than"):
        Expression.parse(text)


def test_a_single_equals_sign_is_answered_with_two() -> None:
    with pytest.raises(UsageProblems, match="=="):
        Expression.parse("lr = 1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name < 1", "name='adam': '<' not supported"),
        ("seed / 0 == 1", "seed=1: division by zero"),
        ("hidden[7] == 1", "list index out of range"),
        ("name * 1000000000 == 1", "arithmetic takes numbers, not str and int"),
        ("9 ** 9 ** 9 == 1", "more than 4096 bits"),
        ("seed in lr", "not iterable"),
    ],
)
def test_values_that_do_not_go_together_are_told(text: str, told: str) -> None:
    expression = Expression.parse(text)

    with pytest.raises(UsageProblems) as caught:
        expression.evaluate(POINT)

    assert told in str(caught.value)
    assert text in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        expression = Expression.parse(text)
        expression.evaluate(POINT)
    except UsageProblems as refused:
        told = refused.problems
    else:
        told = ("nothing is wrong",)

    assert all(told)
