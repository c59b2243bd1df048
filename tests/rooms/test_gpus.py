"""What may be handed out is what the caller lets us see."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.gpus import visible_gpus

UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
MIG = "MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/2"


@pytest.mark.parametrize(
    ("listed", "tokens"),
    [
        ("", ()),
        ("0", ("0",)),
        ("3,1", ("3", "1")),
        (" 0 , 2 ", ("0", "2")),
        (UUID, (UUID,)),
        (f"{MIG},1", (MIG, "1")),
        ("-1", ()),
        ("0,-1,2", ("0",)),
        ("0,none,2", ("0",)),
        ("0,1,0,2", ("0", "1")),
    ],
)
def test_a_list_of_the_caller_ends_where_cuda_ends_it(
    listed: str, tokens: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "nvidia7").touch()

    assert visible_gpus({"CUDA_VISIBLE_DEVICES": listed}, devices=tmp_path) == tokens


@given(st.lists(st.integers(0, 99), unique=True))
def test_indices_keep_their_order(indices: list[int]) -> None:
    listed = ",".join(map(str, indices))

    assert visible_gpus({"CUDA_VISIBLE_DEVICES": listed}) == tuple(map(str, indices))


def test_without_a_list_the_drivers_files_are_counted(tmp_path: Path) -> None:
    for name in ("nvidia10", "nvidia2", "nvidia0", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()

    assert visible_gpus({}, devices=tmp_path) == ("0", "1", "2")


def test_a_machine_without_a_driver_has_none(tmp_path: Path) -> None:
    assert visible_gpus({}, devices=tmp_path) == ()
