"""A file is an experiment by its name alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.naming import is_experiment


@pytest.mark.parametrize(
    ("path", "patterns", "expected"),
    [
        ("a/exp_x.py", ["exp_*.py"], True),
        ("a/exp_x.pyc", ["exp_*.py"], False),
        ("a/test_x.py", ["exp_*.py"], False),
        ("exp_a/x.py", ["exp_*.py"], False),
        ("a/study.py", ["exp_*.py", "study.py"], True),
        ("/home/studies/a.py", ["*/studies/*.py"], True),
        ("/home/tests/a.py", ["*/studies/*.py"], False),
        ("a/exp_x.py", [], False),
    ],
)
def test_a_pattern_speaks_of_the_name_or_with_a_slash_of_the_whole_path(
    path: str, patterns: list[str], *, expected: bool
) -> None:
    assert is_experiment(Path(path), patterns) is expected


@given(st.from_regex(r"[a-z0-9_]{0,9}", fullmatch=True))
def test_whatever_follows_the_prefix_is_an_experiment(rest: str) -> None:
    assert is_experiment(Path(f"exp_{rest}.py"), ["exp_*.py"])
    assert not is_experiment(Path(f"test_{rest}.py"), ["exp_*.py"])
