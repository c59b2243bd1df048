"""Where the numbers of a run come from."""

from __future__ import annotations

import random
import types
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.seeding import seed_everything


@pytest.fixture(autouse=True)
def generators() -> Iterator[None]:
    """Leave the generators as they were."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])
    torch.set_rng_state(before[2])


def numbers() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_the_same_seed_gives_the_same_numbers(seed: int) -> None:
    seed_everything(seed)
    first = numbers()
    seed_everything(seed)

    assert numbers() == first


def test_another_seed_gives_other_numbers() -> None:
    seed_everything(1)
    first = numbers()
    seed_everything(2)

    assert all(a != b for a, b in zip(first, numbers(), strict=True))


def test_a_library_that_is_only_half_imported_is_passed_over() -> None:
    seed_everything(1, {"numpy": types.ModuleType("numpy"), "torch": types.ModuleType("torch")})

    assert random.random() == random.Random(1).random()
