"""A plan of research, and the choice of experiments and sub-experiments by their ids."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import yaml

from pytest_gpuexp import cli
from tests.behaviour import sessions

PLAN = """
    experiments:
      c1-latents:
        name: Latents
        description: Do latents keep what is needed?
        sub_experiments: {e1_1: clusters, e1_2: probes, e1_9: never written}
        success_criteria: {score: {acceptable: 0.5, target: 0.9, direction: at_least}}
      c2-video:
        sub_experiments: [e2_1]
        dependencies: [c1-latents]
        budget_eur: 40
      c3-nowhere:
        dependencies: [c2-video]
"""
ONE = """
    from pytest_gpuexp import at_least, experiment
    pytestmark = experiment("c1-latents", success_criteria={"score": at_least(99)})
    def e1_1_clusters(runner):
        return {"metrics": {"score": 0.6}}
    def e1_2_probes(runner):
        return {"metrics": {"score": 0.7}}
    def e1_3_not_planned(runner):
        raise ValueError("boom")
"""
TWO = """
    from pytest_gpuexp import experiment
    pytestmark = experiment("c2-video")
    def e2_1_frames(runner):
        assert runner.seed == 0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sessions.write(tmp_path, exp_one=ONE, exp_two=TWO)
    (tmp_path / "research_plan.yaml").write_text(textwrap.dedent(PLAN))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_registry_gives_thresholds_and_sub_experiments(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = sessions.run(folder, ".", "--registry=research_plan.yaml", "-rs")

    assert ended.code == 0, ended.text
    assert "c2-video depends on c1-latents, which is not met (pending, no results)" in ended.text
    assert "e1_3" not in ended.text
    assert "no handler: c1-latents::e1_9" in ended.text
    assert "no handler: c3-nowhere" in ended.text
    assert "4 passed, 2 skipped" in ended.text  # three runs and the thresholds; e1_9 and c3
    found = yaml.safe_load((folder / "results/c1-latents/results.yaml").read_text())
    assert found["success_criteria"]["score_threshold"] == 0.5
    assert found["assessment"]["success_criteria_met"] is True

    assert cli.main(["plan"]) == 0
    assert capsys.readouterr().out == textwrap.dedent("""\
        c1-latents  Latents  [partial, met]
          Do latents keep what is needed?
          e1_1  clusters
          e1_2  probes
          e1_9  never written
          score >= 0.5, target 0.9
        c2-video  [completed, passed]
          e2_1
        c3-nowhere  [pending, no results]
    """)


@pytest.mark.parametrize("words", [["-q"], ["-n2"]], ids=["alone", "xdist"])
def test_an_experiment_whose_dependency_is_not_met_is_told_so_in_its_own_report(
    folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = folder / "research_plan.yaml"
    plan.write_text(plan.read_text().replace("acceptable: 0.5", "acceptable: 0.8"))
    # The plan names it first, and its file is collected first: it waits for the other all the same.
    (folder / "exp_two.py").rename(folder / "exp_a_two.py")

    ended = sessions.run(folder, ".", "--registry=research_plan.yaml", *words)

    told = "c2-video depends on c1-latents, which is not met (partial, not met)"
    assert ended.code == 1, ended.text
    found = yaml.safe_load((folder / "results/c2-video/results.yaml").read_text())
    assert found["assessment"]["notes"] == [told]
    if words != ["-q"]:  # which has a line an experiment
        assert told in " ".join(ended.text.split()), ended.text
    assert cli.main(["plan"]) == 0
    assert told in capsys.readouterr().out


def test_what_is_met_in_the_same_session_is_not_told_as_unmet_in_the_end(folder: Path) -> None:
    ended = sessions.run(folder, ".", "--registry=research_plan.yaml")

    assert ended.code == 0, ended.text
    found = yaml.safe_load((folder / "results/c2-video/results.yaml").read_text())
    assert found["assessment"]["notes"] == []


WATCHED = """
    from pytest_gpuexp.storage.local import LocalStorage

    class Watched(LocalStorage):
        def read(self, name):
            with open("reads.txt", "a") as file:
                print(name, file=file)
            return super().read(name)

    def pytest_gpuexp_make_storage(url, settings):
        return Watched(settings.invocation_dir / url)
"""


def test_only_what_is_waited_for_is_read_and_once_for_all_that_wait(folder: Path) -> None:
    names = [f"c{number}-waits" for number in range(4, 9)]
    plan = folder / "research_plan.yaml"
    entries = "".join(f"  {name}: {{dependencies: [c3-nowhere]}}\n" for name in names)
    plan.write_text(plan.read_text() + entries)
    tests = {
        f"exp_{name[:2]}": TWO.replace("c2-video", name).replace("e2_1", "e9_1") for name in names
    }
    sessions.write(folder, conftest=WATCHED, **tests)

    ended = sessions.run(folder, *[f"{name}.py" for name in tests], "--registry=research_plan.yaml")

    told = "depends on c3-nowhere, which is not met (pending, no results)"
    assert ended.code == 0, ended.text
    for name in names:
        found = yaml.safe_load((folder / f"results/{name}/results.yaml").read_text())
        assert found["assessment"]["notes"] == [f"{name} {told}"]
    reads = (folder / "reads.txt").read_text().split()
    assert reads.count("c3-nowhere/results.yaml") == 2  # before the first run, and after the last
    assert not {"c1-latents/results.yaml", "c2-video/results.yaml"} & set(reads)


def test_ids_select_experiments_and_sub_experiments(folder: Path) -> None:
    ended = sessions.run(folder, "--experiment-id=c1-latents", "--sub-experiment=e1_2", "-q")

    assert [record.name.partition("-")[0] for record in ended.record_files()] == ["e1_2"]
    assert "c2-video" not in ended.text
    assert "leaves out" not in ended.text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--experiment-id=c9"], "--experiment-id c9: there is no such experiment (c1-latents"),
        (["--sub-experiment=e9_9"], "--sub-experiment e9_9: there is no such handler (e1_1, "),
        (["--registry=nowhere.yaml"], "nowhere.yaml cannot be read: No such file"),
    ],
)
def test_ids_that_are_nowhere_are_refused(folder: Path, arguments: list[str], told: str) -> None:
    ended = sessions.run(folder, *arguments, "--collect-only")

    assert ended.code == 4, ended.text
    assert told in ended.text


def test_the_plan_looks_where_sessions_keep_their_results(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = sessions.run(folder, "exp_two.py", "--storage=kept", "-q")
    assert ended.code == 0, ended.text
    monkeypatch.setenv("PYTEST_GPUEXP_STORAGE", "kept")

    by_environment = cli.main(["plan"]), capsys.readouterr().out
    by_option = cli.main(["plan", "--storage=kept"]), capsys.readouterr().out

    assert by_environment == by_option
    assert "c2-video  [completed, passed]" in by_option[1]
    assert cli.main(["plan", "--storage=gs://bucket"]) == 2
    assert "storage 'gs://bucket' is not known here" in capsys.readouterr().err
    assert cli.main(["plan", "--storage=pytest.ini"]) == 2
    assert "'pytest.ini' is a file, and no folder" in capsys.readouterr().err


def test_gpuexp_run_selects_by_the_same_ids(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["run", "--experiment-id", "c2-video", "--sub-experiment", "e2_1", "--", "-q"])

    assert code == 0
    assert "1 passed" in capfd.readouterr().out
