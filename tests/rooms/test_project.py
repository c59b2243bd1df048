"""What pyproject.toml says of experiments."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.project import project_of, read_project
from pytest_gpuexp.tiers import TIERS


def test_without_a_file_all_is_as_the_folder_and_the_defaults_have_it(tmp_path: Path) -> None:
    (tmp_path / "My Project").mkdir()

    project = read_project(tmp_path / "My Project")

    assert project.tiers == TIERS
    assert project.modal.app == "gpuexp-my-project"
    assert project.modal.python == f"3.{sys.version_info.minor}"
    assert project.modal.dependencies == ()


def test_a_packaged_project_is_installed_and_names_all_that_is_its_own() -> None:
    modal = project_of({"project": {"name": "tmgg"}}, fallback="x").modal

    assert (modal.app, modal.results, modal.models) == (
        "gpuexp-tmgg",
        "gpuexp-tmgg-results",
        "gpuexp-tmgg-models",
    )
    assert modal.dependencies == "pyproject"


def test_tiers_are_changed_and_added() -> None:
    table = {
        "fast": {"gpu": "A100-80GB", "timeout": "2h"},
        "tiny": {"gpu": "L4"},
        "debug": {"timeout": 60},
    }

    tiers = project_of({"tool": {"gpuexp": {"tiers": table}}}, fallback="x").tiers

    assert (tiers["fast"].gpu, tiers["fast"].timeout_seconds) == ("A100-80GB", 7200.0)
    assert (tiers["tiny"].gpu, tiers["tiny"].timeout_seconds) == ("L4", None)
    assert (tiers["debug"].gpu, tiers["debug"].timeout_seconds) == ("T4", 60.0)


def test_every_problem_is_told_at_once() -> None:
    table = {
        "tier": {},
        "tiers": {"slow": {"timeout": "1h"}, "fast": {"gpu": "a100", "size": 1}, "h100": 3},
        "modal": {"python": 3.9, "apt": "graphviz", "secrts": []},
    }

    with pytest.raises(UsageProblems) as caught:
        project_of({"tool": {"gpuexp": table}}, fallback="x")

    told = str(caught.value)
    assert len(caught.value.problems) == 8, told
    for part in (
        "tier is not known",
        "tiers.slow: a tier of your own needs a gpu",
        "tiers.fast.size",
        "tiers.fast: 'a100'",
        "tiers.h100: 3",
        "modal.python: 3.9",
        "modal.apt: 'graphviz'",
        "modal.secrts is not known",
    ):
        assert part in told


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool")

    with pytest.raises(UsageProblems, match=r"pyproject\.toml"):
        read_project(tmp_path)
