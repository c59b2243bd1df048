"""The project's files as an archive that travels."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from pytest_gpuexp import bundle
from pytest_gpuexp.errors import GpuexpError


def a_project(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    a_project(
        tmp_path,
        exp_a_dot_py="tracked",
        models__gnn_dot_py="untracked",
        data__huge_dot_bin="ignored",
        _dot_gitignore="data/\n",
        _dot_env="TOKEN=1",
        _dot_env_dot_local="TOKEN=2",
        server_dot_key="private",
    )
    git(tmp_path, "init")
    git(tmp_path, "add", "exp_a.py", ".env", "server.key")
    git(tmp_path, "commit", "-m", "one")
    return tmp_path


def test_git_says_what_travels_and_secrets_stay_even_where_tracked(repository: Path) -> None:
    made = bundle.make_bundle(repository)

    assert made.names == (".gitignore", "exp_a.py", "models/gnn.py")


def test_files_deleted_since_they_were_tracked_are_none(repository: Path) -> None:
    (repository / "exp_a.py").unlink()

    assert "exp_a.py" not in bundle.make_bundle(repository).names


def test_the_results_folder_and_excluded_names_stay(repository: Path) -> None:
    a_project(repository, results__c1__results_dot_yaml="x", notes__a_dot_md="x")

    made = bundle.make_bundle(repository, without=[repository / "results"], exclude=["notes/*"])

    assert not {name for name in made.names if name.startswith(("results/", "notes/"))}


def test_without_git_all_but_noise_travels(tmp_path: Path) -> None:
    a_project(tmp_path, exp_a_dot_py="x", __pycache____exp_a_dot_pyc="x", _dot_venv__lib_dot_py="x")

    assert bundle.make_bundle(tmp_path).names == ("exp_a.py",)


def test_the_same_files_give_the_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    one = a_project(tmp_path / "one", exp_a_dot_py="x", b__c_dot_py="y")
    other = a_project(tmp_path / "other", b__c_dot_py="y", exp_a_dot_py="x")
    os.utime(other / "exp_a.py", (1, 1))

    first, second = bundle.make_bundle(one), bundle.make_bundle(other)

    assert (first.digest, first.archive) == (second.digest, second.archive)


@pytest.mark.parametrize("change", ["content", "name", "mode"])
def test_any_change_gives_another_digest(tmp_path: Path, change: str) -> None:
    a_project(tmp_path, run_dot_sh="x")
    before = bundle.make_bundle(tmp_path).digest

    if change == "content":
        (tmp_path / "run.sh").write_text("y")
    elif change == "name":
        (tmp_path / "run.sh").rename(tmp_path / "ran.sh")
    else:
        (tmp_path / "run.sh").chmod(0o755)

    assert bundle.make_bundle(tmp_path).digest != before


def test_a_link_out_of_the_project_does_not_take_its_target_along(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    project = a_project(tmp_path / "project", exp_a_dot_py="x")
    (project / "link.py").symlink_to(tmp_path / "secret")

    assert bundle.make_bundle(project).names == ("exp_a.py",)


def test_files_of_data_stay_and_are_told(tmp_path: Path) -> None:
    a_project(tmp_path, exp_a_dot_py="x", weights_dot_bin="x" * 100)

    made = bundle.make_bundle(tmp_path, max_file_bytes=99)

    assert (made.names, made.left) == (("exp_a.py",), {"weights.bin": 100})


def test_too_large_a_project_names_its_ten_largest_files(tmp_path: Path) -> None:
    for index in range(12):
        (tmp_path / f"f{index:02}.txt").write_text("x" * (1000 + index))

    with pytest.raises(bundle.BundleTooLarge) as caught:
        bundle.make_bundle(tmp_path, max_bytes=5000)

    told = str(caught.value)
    assert "f11.txt" in told
    assert "f02.txt" in told
    assert "f01.txt" not in told
    assert "[tool.gpuexp.modal]" in told


def test_what_is_packed_is_unpacked_once(tmp_path: Path) -> None:
    project = a_project(tmp_path / "project", exp_a_dot_py="x", models__gnn_dot_py="ü")
    made = bundle.make_bundle(project)

    for _ in range(2):
        bundle.unpack(made.archive, tmp_path / "there")

    assert (tmp_path / "there/models/gnn.py").read_text() == "ü"
    assert [path.name for path in tmp_path.iterdir()].count("there") == 1


def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../evil"), io.BytesIO())

    with pytest.raises(tarfile.TarError):
        bundle.unpack(buffer.getvalue(), tmp_path / "there")

    assert not (tmp_path / "evil").exists()


def test_a_link_to_a_secret_does_not_travel(repository: Path) -> None:
    (repository / "settings.txt").symlink_to(repository / ".env")

    assert "settings.txt" not in bundle.make_bundle(repository).names


def test_where_git_fails_nothing_that_it_ignores_travels(repository: Path) -> None:
    (repository / ".git/index").write_bytes(b"broken")

    with pytest.raises(GpuexpError, match="git cannot say which files"):
        bundle.make_bundle(repository)
