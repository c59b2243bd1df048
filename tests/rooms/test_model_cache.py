"""Which models are meant, and what came of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_gpuexp.backends import model_cache
from pytest_gpuexp.errors import GpuexpError


def test_folders_that_are_here_are_told_from_names_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()

    found = model_cache.split("tiny, Qwen/Qwen2.5-VL-7B-Instruct ,,tiny")

    assert found == (["tiny"], ["Qwen/Qwen2.5-VL-7B-Instruct"])


@pytest.mark.parametrize(
    ("text", "told"), [(" , ", "name the models: --models "), ("./a,b/c,/d", "./a, /d")]
)
def test_what_can_be_no_model_is_told(text: str, told: str) -> None:
    with pytest.raises(GpuexpError, match=told.replace(".", r"\.")):
        model_cache.split(text)


def test_a_model_that_did_not_come_is_marked() -> None:
    text, complete = model_cache.describe(
        {"a/b": {"place": "/models/a", "bytes": 15_200_000_000}, "c/d": {"error": "gated"}}
    )

    assert text == "a/b: 15.20 GB in /models/a\n! c/d: gated"
    assert not complete
