"""What the doctor concludes from what it sees."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp import doctor
from pytest_gpuexp.doctor import Finding, Machine, Torch, diagnose

HEALTHY = Machine(
    python=(3, 12, 1),
    platform="linux",
    description="Linux-6.1-x86_64",
    cores=8,
    installed={
        "pytest-gpuexp": "0.1.0",
        "pytest": "9.2.0",
        "pyyaml": "6.0.3",
        "pandas": "3.0",
        "scipy": "1.17",
        "torch": "2.13.0",
    },
    requires=(
        "pytest>=9.1",
        "PyYAML>=6",
        "tomli>=2; python_version < '3'",
        "pandas>=2; extra == 'stats'",
        "scipy>=1.11; extra == 'stats'",
        "boto3>=1.36; extra == 'tigris'",
    ),
    plugin_registered=True,
    gpus=("GPU 0: NVIDIA A10 (UUID: GPU-1)",),
    usable=("0",),
    torch=Torch(version="2.13.0", cuda="12.8", devices=1),
)


def find(machine: Machine, name: str) -> Finding:
    return next(finding for finding in diagnose(machine) if finding.name == name)


def test_a_healthy_machine_has_nothing_broken() -> None:
    findings = diagnose(HEALTHY)

    assert not [finding for finding in findings if finding.broken]
    assert find(HEALTHY, "torch").value == "2.13.0, for CUDA 12.8, 1 device"
    assert find(HEALTHY, "PyYAML").value == "6.0.3"


def test_a_requirement_for_other_pythons_is_left_out() -> None:
    names = {finding.name for finding in diagnose(HEALTHY)}

    assert "tomli" not in names


def test_an_old_python_is_broken_and_says_what_is_needed() -> None:
    found = find(replace(HEALTHY, python=(3, 10, 9)), "Python")

    assert found == Finding(
        topic="core", name="Python", value="3.10.9", advice="3.11 or newer is needed", broken=True
    )


def test_an_old_pytest_is_broken_and_says_how_to_mend_it() -> None:
    machine = replace(HEALTHY, installed={**HEALTHY.installed, "pytest": "8.4.0"})

    found = find(machine, "pytest")

    assert found.broken
    assert found.value == "8.4.0"
    assert found.advice == "run: pip install 'pytest>=9.1'"


def test_a_missing_core_requirement_is_broken() -> None:
    installed = {name: version for name, version in HEALTHY.installed.items() if name != "pyyaml"}

    found = find(replace(HEALTHY, installed=installed), "PyYAML")

    assert found.broken
    assert found.value == "not installed"


@pytest.mark.parametrize("installed", [True, False])
def test_a_plugin_that_pytest_does_not_load_is_broken(installed: bool) -> None:
    machine = replace(HEALTHY, plugin_registered=False)
    if not installed:
        machine = replace(machine, installed={"pytest": "9.2.0"}, requires=None)

    found = find(machine, "pytest-gpuexp")

    assert found.broken
    assert found.value == ("0.1.0" if installed else "not installed")
    assert found.advice == "pytest does not load it; in its folder run: pip install ."


def test_an_extra_shows_its_versions_or_the_command_that_gets_it() -> None:
    present, absent = find(HEALTHY, "stats"), find(HEALTHY, "tigris")

    assert (present.value, present.advice) == ("pandas 3.0, scipy 1.17", "")
    assert absent.value == "not installed"
    assert absent.advice == "run: pip install 'pytest-gpuexp[tigris]'"
    assert not absent.broken


def test_half_an_extra_shows_what_is_there_and_how_to_get_the_rest() -> None:
    installed = {name: version for name, version in HEALTHY.installed.items() if name != "scipy"}

    found = find(replace(HEALTHY, installed=installed), "stats")

    assert found.value == "pandas 3.0"
    assert found.advice == "run: pip install 'pytest-gpuexp[stats]'"


def test_a_cpu_build_of_torch_beside_gpus_is_told() -> None:
    found = find(replace(HEALTHY, torch=Torch(version="2.13.0+cpu")), "torch")

    assert found.value == "2.13.0+cpu, CPU build, 0 devices"
    assert found.advice == ("there are GPUs, but this torch cannot use them; install a CUDA build")


def test_a_torch_that_cannot_be_imported_shows_why_without_breaking_the_core() -> None:
    machine = replace(HEALTHY, torch=Torch(error="ImportError: libcudart.so.12: not found"))

    found = find(machine, "torch")

    assert found.value == "ImportError: libcudart.so.12: not found"
    assert found.advice == "torch is installed but cannot be imported; install it anew"
    assert not found.broken


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_gpus_that_the_environment_hides_are_told(hidden: str) -> None:
    found = find(replace(HEALTHY, usable=(), visible_devices=hidden), "GPUs")

    assert found.value.endswith(f"(CUDA_VISIBLE_DEVICES={hidden})")
    assert found.advice == "CUDA_VISIBLE_DEVICES hides every GPU; unset it to use them"


@pytest.mark.parametrize(
    ("system", "told"),
    [
        ("linux", "fork: a run starts in milliseconds from modules imported once"),
        ("darwin", "spawn: a fresh interpreter a run (fork is safe on Linux alone)"),
        ("win32", "spawn: a fresh interpreter a run (Windows has no fork)"),
    ],
)
def test_the_way_runs_are_isolated_follows_the_system(system: str, told: str) -> None:
    assert find(replace(HEALTHY, platform=system), "isolation").value == told


@given(present=st.sets(st.sampled_from(sorted(HEALTHY.installed))))
def test_what_is_broken_always_comes_with_advice(present: set[str]) -> None:
    installed = {name: HEALTHY.installed[name] for name in present}

    findings = diagnose(replace(HEALTHY, installed=installed))

    assert all(finding.advice for finding in findings if finding.broken)
    assert any(finding.broken for finding in findings) == (
        not present >= {"pytest", "pyyaml", "pytest-gpuexp"}
    )


def test_cards_are_read_from_proc_where_nvidia_smi_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for slot, text in (("0000:01:00.0", "Model: \t NVIDIA L4\nIRQ: 11\n"), ("0000:02:00.0", "")):
        (tmp_path / slot).mkdir()
        (tmp_path / slot / "information").write_text(text)

    assert doctor.list_gpus(tmp_path) == ["NVIDIA L4", "a GPU at 0000:02:00.0"]


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for nvidia-smi is a shell script")
def test_nvidia_smi_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\necho 'GPU 0: A100 (UUID: GPU-1)'\necho '  MIG 1g.5gb'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert doctor.list_gpus(tmp_path) == ["GPU 0: A100 (UUID: GPU-1)", "MIG 1g.5gb"]


def test_a_torch_that_fails_to_import_is_asked_without_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12: not found')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert doctor.ask_torch(sys.executable) == Torch(
        error="ImportError: libcudart.so.12: not found"
    )


def test_a_torch_that_kills_its_interpreter_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("import os; os._exit(7)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert doctor.ask_torch(sys.executable) == Torch(error="Python left with exit code 7")


def test_of_the_environment_only_the_visible_devices_are_kept() -> None:
    machine = doctor.look({"CUDA_VISIBLE_DEVICES": "1", "WANDB_API_KEY": "hunter2"})

    assert machine.visible_devices == "1"
    assert machine.usable == ("1",)
    assert "hunter2" not in repr(machine)
    assert machine.installed["pytest"]
