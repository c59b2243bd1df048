"""Where results come from, without any secret."""

from __future__ import annotations

import os
import shlex
import subprocess
import types
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp import provenance
from pytest_gpuexp.provenance import GitQuery, redact


def git(folder: Path, *words: str) -> str:
    name = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", *name, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("lr = 0.1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-q", "-m", "Fit")
    return tmp_path


def test_a_clean_tree_is_told_by_its_commit(repository: Path) -> None:
    answer = GitQuery(repository).answer()

    assert answer == {"commit": git(repository, "rev-parse", "HEAD"), "patch_sha256": None}


def test_a_change_that_is_not_committed_is_told_by_its_hash(repository: Path) -> None:
    (repository / "a.py").write_text("lr = 0.2\n")
    first = GitQuery(repository).answer()
    again = GitQuery(repository).answer()
    git(repository, "add", "a.py")
    staged = GitQuery(repository).answer()
    (repository / "a.py").write_text("lr = 0.3\n")
    other = GitQuery(repository).answer()

    assert len(str(first["patch_sha256"])) == 64
    assert first == again == staged
    assert other["patch_sha256"] != first["patch_sha256"]


def test_outside_of_git_nothing_is_claimed(tmp_path: Path) -> None:
    assert GitQuery(tmp_path).answer() == {}


def test_a_repository_without_a_commit_is_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")

    assert GitQuery(tmp_path).answer() == {}


def test_where_git_is_absent_nothing_is_claimed(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.devnull)

    assert GitQuery(repository).answer() == {}


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--lr=0.1", "exp_a.py"], ["--lr=0.1", "exp_a.py"]),
        (
            ["--sweep", "tokenizer=bpe", "max_tokens=8"],
            ["--sweep", "tokenizer=bpe", "max_tokens=8"],
        ),
        (["-k", "a or token", "--x"], ["-k", "a or token", "--x"]),
        (["--api-key=hunter2"], ["--api-key=***"]),
        (["--api-key", "hunter2", "exp_a.py"], ["--api-key", "***", "exp_a.py"]),
        (["WANDB_API_KEY=hunter2"], ["WANDB_API_KEY=***"]),
        (["--modal-token-secret", "hunter2"], ["--modal-token-secret", "***"]),
        (["--password=hunter2=3"], ["--password=***"]),
        (["-o", "wandb_token=hunter2"], ["-o", "wandb_token=***"]),
        (["--storage=s3://key:hunter2@host/b"], ["--storage=s3://key:***@host/b"]),
        (["--storage=https://hunter2@host/b"], ["--storage=https://***@host/b"]),
        (["--override-ini=my_secret=hunter2"], ["--override-ini=my_secret=***"]),
        (["--sweep", "aws_secret_access_key=hunter2"], ["--sweep", "aws_secret_access_key=***"]),
    ],
)
def test_secrets_of_the_command_line_are_left_out(words: list[str], shown: list[str]) -> None:
    assert redact(words) == shown


@pytest.mark.parametrize(
    "word",
    ["hf_" + "a1B2" * 9, "ghp_" + "a1B2" * 9, "sk-" + "a1B2" * 10, "AKIA" + "A1B2" * 4],
)
def test_words_that_look_like_keys_of_well_known_services_are_left_out(word: str) -> None:
    assert redact(["--sweep", f"x={word}", word]) == ["--sweep", "x=***", "***"]


def described(**changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"git": {}, "argv": ["pytest"], "modules": {}, "devices": []}
    return provenance.describe(**{**facts, **changes})


def test_versions_are_those_of_what_is_imported() -> None:
    torch, own, private = (types.ModuleType(name) for name in ("torch", "models", "_private"))
    torch.__version__ = "2.13.0"  # type: ignore[attr-defined]
    private.__version__ = "1"  # type: ignore[attr-defined]
    modules = {"torch": torch, "torch.nn": torch, "models": own, "_private": private}

    assert described(modules=modules)["packages"] == {"torch": "2.13.0"}


def test_a_module_that_answers_no_question_is_passed_over() -> None:
    class Lazy(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("not now")

    assert described(modules={"lazy": Lazy("lazy")})["packages"] == {}


def test_the_facts_are_those_of_this_session() -> None:
    facts = described(argv=["pytest", "exp a.py", "--token=x"], devices=["GPU-1"])

    assert facts["git"] is None
    assert facts["devices"] == ["GPU-1"]
    assert shlex.split(facts["command_line"]) == ["pytest", "exp a.py", "--token=***"]
    assert provenance.executed_by() == f"{facts['user']}@{facts['host']}"


def test_nothing_of_the_environment_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "hunter2")
    monkeypatch.setenv("MY_SETTING", "hunter2")

    assert "hunter2" not in str(described())
