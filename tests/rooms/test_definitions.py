"""Handlers are plain functions that the module itself defines."""

from __future__ import annotations

import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.definitions import criteria_of, find_functions
from pytest_gpuexp.identifiers import handler_id

PATTERNS = ["exp_*", "e[0-9]*_*"]


def module_of(source: str, **names: Any) -> types.ModuleType:
    module = types.ModuleType("exp_made")
    vars(module).update(names)
    exec(source, vars(module))
    return module


def find(source: str, **names: Any) -> tuple[list[str], list[str]]:
    """Return the names of the handlers, and the problems."""
    problems: list[str] = []
    found = find_functions(module_of(source, **names), PATTERNS, problems)
    return [name for name, _ in found], problems


def test_handlers_come_in_the_order_of_their_definition() -> None:
    source = "def exp_b(): ...\ndef e2_1_x(): ...\ndef fit(): ...\ndef exp_a(): ...\n"

    assert find(source) == (["exp_b", "e2_1_x", "exp_a"], [])


def test_what_was_imported_is_left_to_its_own_module() -> None:
    assert find("exp_alias = exp_there\n", exp_there=find) == ([], [])


def test_what_says_it_is_no_test_is_believed() -> None:
    source = (
        "def exp_a(): ...\nexp_a.__test__ = False\n"
        "class Model:\n  __test__ = False\n  def exp_decay(self): ...\n"
    )

    assert find(source) == ([], [])


def test_a_second_name_is_a_second_handler() -> None:
    assert find("def exp_a(): ...\nexp_b = exp_a\n") == (["exp_a", "exp_b"], [])


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "class Group:\n  def exp_a(self): ...\n  def fit(self): ...\n",
            "class Group holds exp_a; handlers are functions of the module, so move them out of "
            "the class",
        ),
        (
            "async def exp_a(): ...\n",
            "exp_a is a coroutine (async def); a handler is a plain function that returns a dict "
            "or None",
        ),
        (
            "async def exp_a():\n  yield\n",
            "exp_a is an asynchronous generator; a handler is a plain function that returns a "
            "dict or None",
        ),
        (
            "def exp_a():\n  yield\n",
            "exp_a is a generator (it yields); a handler is a plain function that returns a dict "
            "or None",
        ),
        (
            "def e1_1_a(): ...\ndef e1_1_b(): ...\n",
            "two handlers have the id e1_1; rename one of them",
        ),
    ],
)
def test_what_cannot_be_a_handler_is_told(source: str, problem: str) -> None:
    assert find(source)[1] == [problem]


def test_a_class_without_handlers_is_nobodys_business() -> None:
    assert find("class Model:\n  experiment = 1\n  def forward(self): ...\n") == ([], [])


def test_criteria_are_found_with_what_they_judge() -> None:
    source = (
        "from pytest_gpuexp import criterion\n"
        "def exp_a(): ...\n"
        "@criterion(exp_a, over='all')\n"
        "def exp_named_like_a_handler(replicates): ...\n"
    )
    module = module_of(source)

    [(name, function, mark)] = criteria_of(module)

    assert name == "exp_named_like_a_handler"
    assert function is vars(module)[name]
    assert mark.args == (vars(module)["exp_a"],)
    assert mark.kwargs == {"over": "all"}
    assert find(source) == (["exp_a"], [])


@given(a=st.integers(0, 999), b=st.integers(0, 999), rest=st.from_regex(r"[a-z_]\w*"))
def test_a_numbered_handler_is_known_by_its_number(a: int, b: int, rest: str) -> None:
    assert handler_id(f"e{a}_{b}_{rest}") == f"e{a}_{b}"


@pytest.mark.parametrize("name", ["exp_mlp", "e1_1", "e1_latents", "e_1_1_x", "exp_e1_1_x"])
def test_any_other_handler_is_known_by_its_name(name: str) -> None:
    assert handler_id(name) == name
