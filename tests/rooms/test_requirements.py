"""Which packages an image gets, as the project's files say."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pytest_gpuexp.backends import requirements
from pytest_gpuexp.errors import UsageProblems

PROJECT = """
[project]
name = "My_Study"
dependencies = ["torch>=2.4", "pytest_gpuexp[modal]>=0.1"]
[project.optional-dependencies]
plots = ["matplotlib"]
text = ["my-study[plots]", "transformers"]
all = ["my.study[text,all]", "torch>=2.4", "pytest-gpuexp @ git+https://example.org/x"]
"""


def write(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_extras_are_added_and_the_plugin_and_the_project_itself_are_not(tmp_path: Path) -> None:
    found = requirements.of_pyproject(write(tmp_path, PROJECT), ["all"])

    assert found == ["torch>=2.4", "transformers", "matplotlib"]


def test_without_extras_the_dependencies_alone_are_taken(tmp_path: Path) -> None:
    assert requirements.of_pyproject(write(tmp_path, PROJECT), []) == ["torch>=2.4"]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    root = write(tmp_path, '[project]\nname = "x"\ndynamic = ["dependencies"]\n')

    with pytest.raises(UsageProblems) as caught:
        requirements.of_pyproject(root, ["gpu"])

    assert len(caught.value.problems) == 2
    assert "'gpu' is none of the project's (it has none)" in caught.value.problems[0]
    assert "dynamic; name the file that has them" in caught.value.problems[1]


def test_a_project_without_its_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageProblems, match=r'"pyproject" needs a \[project\] table'):
        requirements.of_pyproject(tmp_path, [])


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("pytest-gpuexp\n", False),
        ("Pytest_GPUexp[modal]>=0.1 ; python_version > '3.10'  # ours\n", False),
        ("pytest-gpuexp-extras\n", True),
        ("pytest\n", True),
        ("-e .\n", True),
        ("--hash=sha256:00\n", True),
        ("# pytest-gpuexp\n", True),
        ("\n", True),
    ],
)
def test_a_requirements_file_loses_the_plugin_alone(line: str, *, stays: bool) -> None:
    text = f"numpy>=1.26\n{line}tqdm"

    assert requirements.without_plugin(text) == (text if stays else "numpy>=1.26\ntqdm")


def test_the_plugin_needs_the_pytest_that_is_here_and_no_sdk_but_the_buckets() -> None:
    found = {one.name: one for one in map(Requirement, requirements.of_plugin())}

    assert str(found["pytest"].specifier) == f"=={pytest.__version__}"
    assert {"boto3", "filelock", "huggingface_hub", "numpy", "pyyaml", "rich"} <= {
        name.lower() for name in found
    }
    assert not {"modal", "wandb", "torch", "ray", "submitit"} & found.keys()
    assert all(one.marker is None for one in found.values())
