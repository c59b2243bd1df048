"""What the floor of the coverage rests on is there, and nothing else is measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import measuring

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("entry", sorted(measuring.MEASURED))
def test_what_is_measured_is_there(entry: str) -> None:
    file, _, test = entry.partition("::")

    assert f"def {test}" in (TESTS / file).read_text()


@pytest.mark.parametrize("wanted", [True, False])
def test_processes_are_measured_where_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch, *, wanted: bool
) -> None:
    monkeypatch.setenv("COVERAGE_PROCESS_CONFIG", "how")

    with measuring.following(wanted=wanted):
        seen = os.environ.get("COVERAGE_PROCESS_CONFIG")

    assert seen == ("how" if wanted else None)
    assert os.environ["COVERAGE_PROCESS_CONFIG"] == "how"
    assert measuring.unmeasured(os.environ) == {
        name: text for name, text in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"
    }
