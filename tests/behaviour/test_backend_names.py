"""Which backends there are, built in and brought by others."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_gpuexp import CloudRunnerFactory
from pytest_gpuexp.errors import BackendUnavailable, UsageProblems

CONFIG = {"_target_": "exp_a.py::exp_mlp"}
STARS = """
from pytest_gpuexp.backends.in_process import InProcessBackend
from pytest_gpuexp.records import ExperimentResult, Outcome

def execute(attempt):
    spec = attempt.spec
    return Outcome(result=ExperimentResult(
        experiment_id=spec.experiment_id, run_id=spec.run_id, attempt=attempt.number,
        handler=spec.handler, name=spec.name, path=spec.path, status="completed",
        verdict="not_evaluated", config={}, parameters=spec.parameters, seed=spec.seed,
        metrics={"magnitude": 0.03}))

def pytest_gpuexp_make_backend(name):
    return InProcessBackend(execute) if name in ("vega", "polaris") else None

def pytest_gpuexp_backend_names():
    return ["vega", "polaris"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "exp_a.py").write_text("def exp_mlp(runner): pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return tmp_path


def test_backends_of_an_installed_plugin_and_of_the_conftest_are_available_and_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = folder / "site"
    (site / "gpuexp_stars-1.dist-info").mkdir(parents=True)
    (site / "gpuexp_stars-1.dist-info/METADATA").write_text("Name: gpuexp-stars\nVersion: 1\n")
    (site / "gpuexp_stars-1.dist-info/entry_points.txt").write_text(
        "[pytest11]\nstars = gpuexp_stars\n"
    )
    (site / "gpuexp_stars.py").write_text(STARS)
    (folder / "conftest.py").write_text("def pytest_gpuexp_backend_names(): return ['moon']\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    for name in ("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTEST_PLUGINS"):
        monkeypatch.delenv(name, raising=False)

    available = CloudRunnerFactory.available_backends()

    assert available == ["local", "in-process", "modal", "moon", "polaris", "vega"]
    result = CloudRunnerFactory.create("vega").run_experiment(CONFIG)
    assert result.metrics == {"magnitude": 0.03}
    with pytest.raises(UsageProblems, match="there are local, in-process, modal, moon, polaris an"):
        CloudRunnerFactory.create("sun").run_experiment(CONFIG)
    with pytest.raises(UsageProblems, match=r"'moon' is named by a .*, and no .* made it"):
        CloudRunnerFactory.create("moon").run_experiment(CONFIG)


def test_a_project_whose_pytest_does_not_start_says_why_it_knows_no_backends(folder: Path) -> None:
    (folder / "conftest.py").write_text("import no_such_module\n")
    with pytest.raises(
        BackendUnavailable, match=r"(?s)does not start in .*No module named 'no_such_"
    ):
        CloudRunnerFactory.available_backends(folder=folder)

    (folder / "conftest.py").write_text("def pytest_gpuexp_backend_names(): return 'moon'\n")
    with pytest.raises(BackendUnavailable, match="it returned 'moon'; return a list of names"):
        CloudRunnerFactory.available_backends()


def test_a_conftest_that_asks_while_it_is_imported_is_told_so_and_starts_no_more(
    folder: Path,
) -> None:
    (folder / "conftest.py").write_text(
        "from pathlib import Path\n"
        "from pytest_gpuexp import CloudRunnerFactory\n"
        "with Path('asked.txt').open('a') as file: file.write('x')\n"
        "assert len(Path('asked.txt').read_text()) < 4, 'without end'\n"
        "CloudRunnerFactory.available_backends()\n"
    )

    with pytest.raises(BackendUnavailable, match="knows while it was being asked"):
        CloudRunnerFactory.available_backends()

    assert (folder / "asked.txt").read_text() == "x"


@pytest.mark.parametrize(("name", "told"), [("no", "No such file"), ("exp_a.py", "Not a direct")])
def test_a_folder_that_is_none_is_told(folder: Path, name: str, told: str) -> None:
    with pytest.raises(BackendUnavailable, match=f"cannot be started in .*{name}: {told}"):
        CloudRunnerFactory.available_backends(folder=folder / name)


def test_a_hook_that_raises_is_told_by_its_own_error(folder: Path) -> None:
    (folder / "conftest.py").write_text(
        "def pytest_gpuexp_backend_names():\n    raise ValueError('no moon')\n"
    )

    with pytest.raises(BackendUnavailable, match=r"ValueError: no moon \(.*conftest.py:2\)") as e:
        CloudRunnerFactory.available_backends()

    assert "pluggy" not in str(e.value)
