"""The files that a run publishes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.artifacts import ResultsWriter
from pytest_gpuexp.errors import GpuexpError


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../up.txt", "a/../../up.txt", "a/..", "C:\\up.txt", "C:up.txt", "..\\up",
     "a\\..\\..\\up", "\\up.txt", "\\\\host\\share\\up", ".", "nul\0.txt"],
)  # fmt: skip
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    results = ResultsWriter(tmp_path / "run")

    with pytest.raises(GpuexpError, match=r"Use a relative name such as 'plots/tsne\.png'"):
        results.save_artifact(name, "text")

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    results = ResultsWriter(tmp_path / "run")
    results.get_artifact_path("a.txt")
    (tmp_path / "outside").mkdir()
    (tmp_path / "run" / "artifacts" / "link").symlink_to(tmp_path / "outside")

    with pytest.raises(GpuexpError, match="leads out of the run's folder through a link"):
        results.save_artifact("link/up.txt", "text")
    with pytest.raises(GpuexpError, match="leads out of the run's folder through a link"):
        results.save_artifact("link/deep/up.txt", "text")

    assert list((tmp_path / "outside").iterdir()) == []


@given(name=st.text(min_size=1, max_size=30))
def test_whatever_the_name_nothing_is_written_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    outer = tmp_path_factory.mktemp("any")
    results = ResultsWriter(outer / "run")

    with contextlib.suppress(GpuexpError, OSError, ValueError):  # some are no names to the system
        results.save_artifact(name, b"x")

    inside = outer / "run" / "artifacts"
    assert all(p.is_relative_to(inside) for p in outer.rglob("*") if p.is_file())


def test_bytes_and_text_are_kept_as_they_are(tmp_path: Path) -> None:
    results = ResultsWriter(tmp_path)

    first = results.save_artifact("plots/a.png", b"\x89PNG")
    second = results.save_artifact("größe.txt", "ü\r\n")

    assert (first, second) == ("artifacts/plots/a.png", "artifacts/größe.txt")
    assert (tmp_path / first).read_bytes() == b"\x89PNG"
    assert (tmp_path / second).read_bytes() == "ü\r\n".encode()


def test_what_is_neither_bytes_nor_text_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(GpuexpError, match=r"a dict is neither bytes nor text\. Use save_json_arti"):
        ResultsWriter(tmp_path).save_artifact("a.json", {})  # type: ignore[arg-type]


def test_values_of_numpy_and_torch_become_json(tmp_path: Path) -> None:
    data = {
        "array": np.arange(3),
        "scalar": np.float32(0.5),
        "tensor": torch.ones(2, 2),
        "trained": torch.ones(1, requires_grad=True),
        "loss": torch.tensor(0.25),
        "where": Path("a/b"),
        "set": {2, 1},
        "text": "größe",
    }

    name = ResultsWriter(tmp_path).save_json_artifact("data.json", data)

    text = (tmp_path / name).read_text()
    assert json.loads(text) == {
        "array": [0, 1, 2],
        "scalar": 0.5,
        "tensor": [[1.0, 1.0], [1.0, 1.0]],
        "trained": [1.0],
        "loss": 0.25,
        "where": "a/b",
        "set": [1, 2],
        "text": "größe",
    }
    assert "größe" in text
    assert text.endswith("}\n")


def test_what_has_no_json_form_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a object has no JSON form; turn it into numbers, text"):
        ResultsWriter(tmp_path).save_json_artifact("data.json", {"a": object()})

    assert ResultsWriter(tmp_path).saved() == ()


def test_every_file_is_published_with_its_hash_however_it_came_there(tmp_path: Path) -> None:
    results = ResultsWriter(tmp_path)
    results.save_artifact("b.txt", "saved")
    results.get_artifact_path("a/own.bin").write_bytes(b"written")

    artifacts = results.saved()

    assert [(one.name, one.bytes) for one in artifacts] == [("a/own.bin", 7), ("b.txt", 5)]
    assert artifacts[0].sha256 == hashlib.sha256(b"written").hexdigest()


def test_a_link_to_a_file_elsewhere_is_not_published(tmp_path: Path) -> None:
    results = ResultsWriter(tmp_path / "run")
    (tmp_path / "secret.txt").write_text("secret")
    results.get_artifact_path("x").with_name("link.txt").symlink_to(tmp_path / "secret.txt")

    assert results.saved() == ()


def test_a_pipe_among_the_artifacts_hangs_nobody(tmp_path: Path) -> None:
    results = ResultsWriter(tmp_path)
    os.mkfifo(results.get_artifact_path("pipe"))

    assert results.saved() == ()


def test_a_name_saved_twice_holds_the_last(tmp_path: Path) -> None:
    results = ResultsWriter(tmp_path)

    results.save_artifact("a.txt", "first")
    results.save_artifact("a.txt", "last")

    assert [one.bytes for one in results.saved()] == [4]


def test_returned_names_that_are_no_files_of_the_run_are_found(tmp_path: Path) -> None:
    results = ResultsWriter(tmp_path / "run")
    (tmp_path / "elsewhere.txt").write_text("x")
    kept = results.save_artifact("a.txt", "x")
    whole = str(tmp_path / "run" / kept)
    outside = str(tmp_path / "elsewhere.txt")

    assert results.missing([kept, "a.txt", whole, "b.txt", outside]) == ["b.txt", outside]
