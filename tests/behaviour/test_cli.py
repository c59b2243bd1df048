"""What `gpuexp` prints, and the exit codes it leaves with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace

import pytest

from pytest_gpuexp import cli
from pytest_gpuexp.doctor import Machine

MACHINE = Machine(
    python=(3, 11, 7),
    platform="linux",
    description="Linux-6.1-x86_64",
    cores=2,
    installed={"pytest-gpuexp": "0.1.0", "pytest": "9.2.0"},
    requires=("pytest>=9.1", "wandb>=0.19; extra == 'wandb'"),
    plugin_registered=True,
)


def ask(*arguments: str, machine: Machine = MACHINE) -> int:
    def look(environ: Mapping[str, str]) -> Machine:
        return machine

    return cli.main(arguments, environ={}, look=look)


def test_doctor_shows_what_is_here_and_what_could_be(capsys: pytest.CaptureFixture[str]) -> None:
    code = ask("doctor")

    printed = capsys.readouterr().out.splitlines()
    assert code == 0
    assert printed[:4] == [
        "Core",
        "  Python         3.11.7",
        "  platform       Linux-6.1-x86_64",
        "  pytest-gpuexp  0.1.0",
    ]
    assert "  torch          not installed" in printed
    assert "                 run: pip install 'pytest-gpuexp[wandb]'" in printed
    assert printed[-1] == "All that the core needs is here."


def test_doctor_marks_what_is_broken_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    code = ask("doctor", machine=replace(MACHINE, installed={"pytest-gpuexp": "0.1.0"}))

    printed = capsys.readouterr().out.splitlines()
    assert code == 1
    assert "! pytest         not installed" in printed
    assert printed[-1] == "To mend: pytest."


def test_doctor_prints_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    code = ask("doctor", "--json")

    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert told["healthy"] is True
    assert told["findings"][0] == {
        "topic": "core",
        "name": "Python",
        "value": "3.11.7",
        "advice": "",
        "broken": False,
    }


@pytest.mark.parametrize("arguments", [[], ["docter"]])
def test_a_wrong_command_names_the_right_one(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        ask(*arguments)

    assert left.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_version_names_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        ask("--version")

    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("pytest-gpuexp")


def test_doctor_looks_at_the_real_machine() -> None:
    program = "from pytest_gpuexp.cli import main; raise SystemExit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode in (0, 1), done.stderr
    assert f"Python         {sys.version_info.major}.{sys.version_info.minor}." in done.stdout
