"""Which folder is the project's."""

from __future__ import annotations

from pathlib import Path

from pytest_gpuexp import roots


def test_the_nearest_folder_with_a_pyproject_is_the_projects(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()

    assert roots.project_root(below) == tmp_path.resolve()
    (below.parent / "pyproject.toml").touch()
    assert roots.project_root(below) == below.parent.resolve()


def test_without_any_it_is_the_folder_itself() -> None:
    # Nothing above the root of the file system has one.
    assert roots.project_root(Path("/")) == Path("/")
