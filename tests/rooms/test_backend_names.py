from __future__ import annotations

import pytest

from pytest_gpuexp.backend_names import known_backends, refusal
from pytest_gpuexp.errors import UsageProblems


def test_built_in_names_come_first_and_each_name_once() -> None:
    assert known_backends([["b", "local"], ("a",), ["b"]]) == [
        "local",
        "in-process",
        "modal",
        "a",
        "b",
    ]


def test_answers_that_are_no_lists_of_names_are_all_told() -> None:
    with pytest.raises(UsageProblems, match=r"2 problems: it returned .a.; .*it returned \[3\]"):
        known_backends(["a", ["b"], [3]])


def test_a_refusal_lists_the_names_or_says_what_is_wrong_with_them() -> None:
    assert "there are local, in-process, modal and a. Offer" in refusal("x", [["a"]])
    assert "no pytest_gpuexp_make_backend made it" in refusal("a", [["a"]])
    assert "it returned 3; return a list" in refusal("x", [3])
