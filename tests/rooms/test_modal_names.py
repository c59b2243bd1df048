"""What things are called on Modal."""

from __future__ import annotations

from pathlib import Path

from pytest_gpuexp.backends import modal_names
from pytest_gpuexp.tiers import TIERS, find_tier


def test_the_seeds_tiers_have_the_seeds_functions() -> None:
    assert {name: modal_names.function(name) for name in TIERS} == {
        "debug": "modal_execute_task_debug",
        "standard": "modal_execute_task",
        "fast": "modal_execute_task_fast",
        "multi": "modal_execute_task_multi",
        "h100": "modal_execute_task_h100",
    }


def test_gpus_are_written_as_modal_writes_them() -> None:
    assert [modal_names.gpu(TIERS[name]) for name in ("fast", "multi")] == [
        "A100-40GB",
        "A100-40GB:2",
    ]
    assert modal_names.gpu(find_tier("H100!:8")) == "H100!:8"


def test_a_call_has_more_time_than_its_run_and_never_more_than_a_day() -> None:
    assert modal_names.function_timeout(600.0) == 720
    assert modal_names.function_timeout(None) == 3720
    assert modal_names.function_timeout(86_400.0) == 86_400


def test_the_mark_of_a_deployment_can_be_a_functions_name() -> None:
    assert modal_names.marker("3.12", "1.0.2.dev1+gabc") == "gpuexp_1_0_2_dev1_gabc_python_3_12"


def test_the_digest_of_a_source_passes_over_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/x.py").write_text("x = 1")
    before = modal_names.digest(tmp_path)
    (tmp_path / "deep/.#x.py").symlink_to("somebody@somewhere.4711")  # an editor's lock
    (tmp_path / "folder.py").mkdir()

    modal_names.digest.cache_clear()
    assert modal_names.digest(tmp_path) == before
    (tmp_path / "deep/x.py").write_text("x = 2")
    modal_names.digest.cache_clear()
    assert modal_names.digest(tmp_path) != before


def test_an_experiment_is_chosen_by_pytests_options() -> None:
    words = modal_names.pytest_words(
        "experiments", experiment_id="c1", sub_experiment="e1_2", gpu="fast", stub_mode=True
    )

    assert words == [
        "experiments",
        "--backend=modal",
        "--modal-ephemeral",
        "--experiment-id=c1",
        "--sub-experiment=e1_2",
        "--gpu=fast",
        "--stub-mode",
    ]
    assert modal_names.pytest_words("a", deployed=True) == ["a", "--backend=modal"]
