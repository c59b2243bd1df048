"""What a session sends ahead of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_gpuexp.backends import travelling

ROOT = Path("/home/me/project")


def a_greeting(**changes: Any) -> dict[str, Any]:
    return {
        "options": {
            "rootdir": "/home/me/project",
            "plugins": ["no:terminal"],
            "gpuexp_seeds": "5",
            "wandb_api_key": "4711-secret",
            "max_tokens": 5,
            "basetemp": "/tmp/pytest-1/runs",
        },
        "arguments": ["--rootdir=/home/me/project", "/home/me/project/experiments"],
        "sys_path": ["/home/me/project/src", "/usr/lib/python3", "/home/me/project-other"],
        "folder": "/home/me/project/work",
        "storage": "/home/me/project/results",
        "provenance": "",
        "gpus": ["0"],
        "parallelism": 8,
        **changes,
    }


def test_paths_of_the_project_lie_below_the_bundle_there() -> None:
    packed = travelling.pack(a_greeting(), root=ROOT, bundle="b" * 64)

    there = travelling.unpack(
        packed.text, root=Path("/tmp/code"), storage=Path("/spool"), gpus=["3"], sys_path=["/root"]
    )

    assert there["arguments"] == ["--rootdir=/tmp/code", "/tmp/code/experiments"]
    assert there["folder"] == "/tmp/code/work"
    assert there["sys_path"] == ["/tmp/code/src", "/root"]
    assert (there["storage"], there["gpus"], there["parallelism"]) == ("/spool", ["3"], 1)
    assert there["options"]["rootdir"] == "/tmp/code"
    assert there["options"]["basetemp"] is None
    assert travelling.bundle_of(packed.text) == "b" * 64


def test_no_secret_and_no_path_of_this_machine_travels() -> None:
    text = travelling.pack(a_greeting(), root=ROOT, bundle="b").text

    assert "4711" not in text
    assert "/home/me" not in text
    assert "max_tokens" in text


def test_sessions_that_differ_in_what_only_the_controller_reads_share_a_worker() -> None:
    one = a_greeting(storage="/elsewhere", parallelism=1)
    one["options"] = {**one["options"], "gpuexp_seeds": "9"}

    assert (
        travelling.pack(one, root=ROOT, bundle="b").digest
        == travelling.pack(a_greeting(), root=ROOT, bundle="b").digest
        != travelling.pack(a_greeting(), root=ROOT, bundle="c").digest
    )


def test_a_session_started_outside_the_project_begins_in_it_there() -> None:
    text = travelling.pack(a_greeting(folder="/home/me"), root=ROOT, bundle="b").text

    there = travelling.unpack(text, root=Path("/code"), storage=Path("/s"), gpus=[], sys_path=[])

    assert there["folder"] == "/code"
