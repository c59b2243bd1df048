"""What a smoke test finds and shows."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_gpuexp.backends import smoke

A100 = {"name": "NVIDIA A100-SXM4-40GB", "memory": 40 * 2**30}
WELL: dict[str, Any] = {
    "python": "3.12.1",
    "gpus": [A100],
    "torch": "2.9.0",
    "cuda": True,
    "computed": True,
    "error": "",
}


def test_a_container_in_which_all_works_passes() -> None:
    shown = smoke.show(WELL, asked="A100-40GB")

    assert shown.passed
    assert shown.text.splitlines() == [
        "PYTEST-GPUEXP SMOKE TEST",
        "Python: 3.12.1",
        "PyTorch version: 2.9.0",
        "CUDA available: True",
        "GPU: NVIDIA A100-SXM4-40GB",
        "VRAM: 40.0 GB",
        "SMOKE TEST PASSED",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gpus": [], "cuda": False}, "! T4 was asked for, and the container has no GPU."),
        ({"cuda": False}, "! PyTorch 2.9.0 cannot use the GPU: "),
        ({"computed": False}, "! The GPU does not compute: a product came out wrong"),
        ({"computed": False, "error": "no kernel"}, "! The GPU does not compute: no kernel"),
    ],
)
def test_a_container_that_cannot_compute_fails_and_says_why(
    changes: dict[str, Any], told: str
) -> None:
    shown = smoke.show({**WELL, **changes}, asked="T4")

    assert not shown.passed
    assert told in shown.text
    assert shown.text.endswith("SMOKE TEST FAILED")


def test_a_project_without_torch_passes_by_its_gpu_alone() -> None:
    shown = smoke.show({**WELL, "torch": None, "cuda": False, "computed": False}, asked="T4")

    assert shown.passed
    assert "PyTorch: not in the image" in shown.text


def test_this_process_is_looked_at_as_a_container_would_be() -> None:
    found = smoke.look_around()

    assert found.keys() == WELL.keys()
    assert found["torch"]
    assert found["cuda"] == found["computed"], "where there is a GPU, it computes"
