"""Ids tell every value apart, in characters that pytest's -k takes, in every process alike."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.identifiers import name_problem, row_text, run_id, unknown_name, value_text
from pytest_gpuexp.records import Plain

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["1", "1.0", "True", "None", "a+b", "str", "list", "a:b", "-1", "1e-05", ""])
)
plain_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(["str", "list"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def exactly(value: Plain) -> str:
    if isinstance(value, dict):
        return repr({key: exactly(value[key]) for key in sorted(value)})
    return repr([exactly(item) for item in value]) if isinstance(value, list) else repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.001, "0.001"),
        (1e-05, "1e-05"),
        (32, "32"),
        (True, "True"),
        (None, "None"),
        ("adam-w", "adam-w"),
        ("1", "str:1"),
        ("True", "str:True"),
        ([32, 64], "32+64"),
        ([32], "list:32"),
        ({"depth": 2, "width": 8}, "depth:2+width:8"),
    ],
)
def test_a_value_reads_as_it_was_written(value: Plain, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize("value", ["a b", "a/b", "a=b", "x" * 80, "", [], {}, [[1], [2]], "ü€"])
def test_what_must_be_changed_ends_in_a_hash(value: Plain) -> None:
    assert re.search(r"-[0-9a-f]{8}$", value_text(value))
    assert len(value_text(value)) < 70


@given(plain_values, plain_values)
def test_two_values_read_alike_only_if_they_are_the_same(left: Plain, right: Plain) -> None:
    assert (value_text(left) == value_text(right)) == (exactly(left) == exactly(right))


@given(plain_values)
def test_a_text_holds_only_what_a_k_expression_takes(value: Plain) -> None:
    assert re.fullmatch(r"[\w:+.\-]+", value_text(value))


@given(st.tuples(plain_values, plain_values), st.tuples(plain_values, plain_values))
def test_two_rows_read_alike_only_if_they_are_the_same(
    left: tuple[Plain, Plain], right: tuple[Plain, Plain]
) -> None:
    texts = [row_text(["str", "b"], row) for row in (left, right)]

    assert (texts[0] == texts[1]) == (exactly(list(left)) == exactly(list(right)))


def test_a_run_id_does_not_depend_on_the_order_of_parameters() -> None:
    first = run_id("c1", "exp_mlp", {"lr": 0.1, "model": {"a": 1, "b": 2}}, 0)
    second = run_id("c1", "exp_mlp", {"model": {"b": 2, "a": 1}, "lr": 0.1}, 0)

    assert first == second
    assert re.fullmatch(r"exp_mlp-[0-9a-f]{16}", first)


def test_a_run_id_depends_on_all_that_makes_a_run() -> None:
    ids = {
        run_id("c1", "exp_a", {"lr": 1}, 0),
        run_id("c2", "exp_a", {"lr": 1}, 0),
        run_id("c1", "exp_b", {"lr": 1}, 0),
        run_id("c1", "exp_a", {"lr": 1.0}, 0),
        run_id("c1", "exp_a", {"lr": "1"}, 0),
        run_id("c1", "exp_a", {"lr": 1}, 1),
    }

    assert len(ids) == 6


def test_ids_are_the_same_under_every_hash_seed() -> None:
    code = (
        "from pytest_gpuexp.identifiers import run_id, value_text\n"
        "point = {'b': {'y': 1, 'x': 2}, 'a': 'p q'}\n"
        "print(run_id('c1', 'exp', point, 3), value_text(point), value_text('p q'))"
    )

    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(texts) == 1
    assert "exp-" in texts.pop()


def test_a_run_id_stays_what_it_was() -> None:
    """Stored results are found by it; a change would orphan them all."""
    assert run_id("c1", "exp_mlp", {"lr": 0.001, "width": 32}, 0) == "exp_mlp-2aaf873ef5c8334d"


@pytest.mark.parametrize("name", ["a-b", "", "a b", "model.", "1x", 3, None])
def test_a_name_that_is_no_name_is_refused(name: object) -> None:
    assert "cannot name a parameter; use letters" in str(name_problem(name))


def test_a_parameter_called_seed_is_pointed_to_seeds() -> None:
    assert name_problem("seed") == "'seed' cannot name a parameter; write @seeds(...) or --seed"
    assert "fixture" in str(name_problem("runner"))
    assert name_problem("seed.x") is not None
    assert name_problem("model.num_layers") is None


def test_a_wrong_name_is_answered_with_the_right_ones() -> None:
    assert unknown_name("widht", ["width", "lr"]) == (
        "'widht' is not a parameter; did you mean 'width'? (lr, width)"
    )
    assert unknown_name("x", []) == "'x' is not a parameter (there are none)"
