"""What the user is told, once, of how runs on Modal went."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pytest_gpuexp.backends.remarks import Remarks
from pytest_gpuexp.tiers import find_tier
from tests.rooms.attempts import a_result


@pytest.mark.parametrize(
    ("tier", "device", "told"),
    [
        ("H100", "NVIDIA H200", ["asked for H100 and got NVIDIA H200, which the records say"]),
        ("fast", "NVIDIA A100-SXM4-40GB", []),
        ("fast", "cpu", []),
    ],
)
def test_another_gpu_than_the_tier_s_is_told_once(
    tmp_path: Path, tier: str, device: str, told: list[str]
) -> None:
    remarks, result = Remarks(), dataclasses.replace(a_result(tmp_path), device=device)

    for _ in range(2):
        remarks.look_at(result, find_tier(tier))

    assert remarks.notices == told


@pytest.mark.parametrize(
    "message",
    [
        "No module named 'timm'",
        "ImportError while importing exp_a.py.\nE   ModuleNotFoundError: No module named 'timm'",
    ],
)
def test_a_package_that_the_image_lacks_is_told_with_what_to_do(
    tmp_path: Path, message: str
) -> None:
    remarks = Remarks()

    remarks.look_at(a_result(tmp_path, error_message=message), find_tier("debug"))

    (told,) = remarks.notices
    assert told.startswith("No module named 'timm': it is not in the image. Where it is a ")
    assert "gpuexp deploy" in told
