"""A state of numbers, arrays and tensors comes back as it was, and no code with it."""

from __future__ import annotations

import pickle
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_gpuexp import states
from pytest_gpuexp.errors import UsageProblems

torch = pytest.importorskip("torch")
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
)
KEYS = st.integers() | st.text() | st.tuples(st.integers(), st.text())
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
        max_leaves=10,
    ),
)


def there_and_back(state: Any, folder: Path) -> dict[Any, Any]:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    states.write_state(state, folder)
    return states.read_state(folder)


@given(TREES)
@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_plain_states_come_back_equal_with_their_types(
    tmp_path: Path, state: dict[Any, Any]
) -> None:
    found = there_and_back(state, tmp_path / "s")

    assert found == state
    assert repr(found) == repr(state)  # True is not 1, a tuple no list


def test_arrays_and_tensors_come_back_with_type_and_shape(tmp_path: Path) -> None:
    state = {
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "scalar": np.float32(0.1),
        "tensors": [torch.ones(2, dtype=torch.bfloat16), torch.tensor(7)],
    }

    found = there_and_back(state, tmp_path / "s")

    assert found["array"].dtype == np.float32
    assert (found["array"] == state["array"]).all()
    assert type(found["scalar"]) is np.float32
    assert found["tensors"][0].dtype == torch.bfloat16
    assert found["tensors"][1].item() == 7


def test_a_model_with_its_optimizer_goes_on_from_what_was_saved(tmp_path: Path) -> None:
    def make() -> tuple[Any, Any]:
        model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
        return model, torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.8, 0.9))

    model, optimizer = make()
    model(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    generator = torch.get_rng_state()
    random = np.random.default_rng(3).bit_generator.state

    found = there_and_back(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "torch": generator,
            "numpy": random,
        },
        tmp_path / "s",
    )

    other, second = make()
    other.load_state_dict(found["model"])
    second.load_state_dict(found["optimizer"])
    assert isinstance(found["model"], OrderedDict)
    assert vars(found["model"]) == vars(model.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)
    )
    assert repr(second.state_dict()) == repr(optimizer.state_dict())
    assert torch.equal(found["torch"], generator)
    assert found["numpy"] == random


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    weight = torch.zeros(3)

    found = there_and_back({"a": weight, "b": weight}, tmp_path / "s")
    found["a"] += 1

    assert found["b"].tolist() == [1, 1, 1]


def test_all_that_cannot_be_kept_is_named(tmp_path: Path) -> None:
    state = {"model": object(), "more": [defaultdict(set, a={1}), np.array([object()])]}

    with pytest.raises(UsageProblems) as caught:
        there_and_back(state, tmp_path / "s")

    told = str(caught.value)
    assert "state['model'] is a object; a state holds numbers" in told
    assert "state['more'][0]['a'] is a set" in told
    assert "state['more'][1] is an array of Python objects; write a list" in told


class Hostile:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (open, ("/nowhere/executed", "w"))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["tensors.pt", "array-1.npy"])
def test_nothing_in_a_file_is_executed(tmp_path: Path, name: str) -> None:
    there_and_back({"t": torch.ones(1), "a": np.ones(1)}, tmp_path / "s")
    if name == "tensors.pt":
        torch.save(Hostile(), tmp_path / "s" / name)
    else:
        (tmp_path / "s" / name).write_bytes(pickle.dumps(Hostile()))

    with pytest.raises((pickle.UnpicklingError, ValueError)):
        states.read_state(tmp_path / "s")
