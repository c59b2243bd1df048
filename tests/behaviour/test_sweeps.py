"""Which runs a handler's decorators and the command line stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.behaviour import sessions

EVERY_KIND = '''
import pytest
from pytest_gpuexp import cases, experiment, grid, paired, seeds

pytestmark = experiment("c1")


@pytest.fixture
def model(width, seed):
    return f"model of width {width} from seed {seed}"


def told(runner, **values):
    """Say as a finding what arrived."""
    assert runner.seed == runner.config["seed"]
    return {"finding": repr(values)}


@grid(lr=[0.1, 0.2], width=[32, 64], exclude=lambda lr, width: lr > 0.1 and width > 32)
def exp_grid(runner, lr, width=8):
    return told(runner, lr=lr, width=width)


@seeds([0, 7, 42])
def exp_seeds(runner, seed):
    return told(runner, seed=seed)


@paired(lr=[0.1, 0.2], steps=[10, 20])
def exp_paired(runner, lr, steps):
    return told(runner, lr=lr, steps=steps)


@cases([{"name": "small", "width": 8}, {"name": "large", "width": 1024}])
@grid(only={"width": 8}, depth=[1, 2])
def exp_cases(runner, name, width, depth):
    return told(runner, name=name, width=width, depth=depth)


@pytest.mark.parametrize(
    "width",
    [
        8,
        pytest.param(16, marks=pytest.mark.skip(reason="too wide")),
        pytest.param(32, marks=pytest.mark.xfail(reason="not yet")),
    ],
)
def exp_parametrized(runner, width):
    assert width < 32


@pytest.mark.parametrize("a, b", [(1, 2), pytest.param(3, 4)])
def exp_several(runner, a, b):
    return told(runner, a=a, b=b)


@grid(**{"model.num_layers": [4], "model.heads": [2], "lr": [0.1]})
def exp_dotted(runner):
    assert runner.config == {"model": {"num_layers": 4, "heads": 2}, "lr": 0.1, "seed": 0}


@grid(width=[32])
@seeds([5])
def exp_fixture(runner, model):
    assert model == "model of width 32 from seed 5"


def exp_default(runner, lr=0.5):
    return told(runner, lr=lr)


@grid(lr=[0.1])
def exp_keywords(runner, **parameters):
    return told(runner, **parameters)
'''


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> sessions.Ended:
    folder = tmp_path_factory.mktemp("swept")
    return sessions.run(sessions.write(folder, exp_a=EVERY_KIND))


def findings(ended: sessions.Ended, handler: str) -> dict[str, str]:
    """Return what each run of ``handler`` was given, by the part of its name in brackets."""
    read = (yaml.safe_load(path.read_bytes()) for path in ended.record_files())
    records = [record for record in read if record["handler"] == handler]
    return {
        record["name"].partition("[")[2].removesuffix("]"): record.get("finding")
        for record in sorted(records, key=lambda record: str(record["name"]))
    }


def test_all_runs_end_as_their_handlers_say(swept: sessions.Ended) -> None:
    assert "17 passed, 1 skipped, 1 xfailed" in swept.text


def test_a_grid_is_a_product_without_what_is_excluded(swept: sessions.Ended) -> None:
    assert findings(swept, "exp_grid") == {
        "lr:0.1-width:32": "{'lr': 0.1, 'width': 32}",
        "lr:0.1-width:64": "{'lr': 0.1, 'width': 64}",
        "lr:0.2-width:32": "{'lr': 0.2, 'width': 32}",
    }


def test_a_list_of_seeds_is_taken_as_it_is(swept: sessions.Ended) -> None:
    assert findings(swept, "exp_seeds") == {
        "seed:0": "{'seed': 0}",
        "seed:42": "{'seed': 42}",
        "seed:7": "{'seed': 7}",
    }


def test_paired_axes_move_together(swept: sessions.Ended) -> None:
    assert findings(swept, "exp_paired") == {
        "lr:0.1-steps:10": "{'lr': 0.1, 'steps': 10}",
        "lr:0.2-steps:20": "{'lr': 0.2, 'steps': 20}",
    }


def test_cases_are_rows_that_multiply_with_a_grid(swept: sessions.Ended) -> None:
    assert findings(swept, "exp_cases") == {
        "name:small-width:8-depth:1": "{'name': 'small', 'width': 8, 'depth': 1}",
        "name:small-width:8-depth:2": "{'name': 'small', 'width': 8, 'depth': 2}",
    }


def test_the_marks_of_a_parametrized_row_hold_for_its_runs(swept: sessions.Ended) -> None:
    assert swept.record("exp_parametrized[width:8]")["verdict"] == "pass"
    assert swept.record("exp_parametrized[width:16]")["status"] == "skipped"
    assert swept.record("exp_parametrized[width:32]")["expected_failure"] == "not yet"


def test_parametrize_takes_several_names_at_once(swept: sessions.Ended) -> None:
    assert findings(swept, "exp_several") == {
        "a:1-b:2": "{'a': 1, 'b': 2}",
        "a:3-b:4": "{'a': 3, 'b': 4}",
    }


def test_dotted_names_come_out_nested_though_no_argument_takes_them(swept: sessions.Ended) -> None:
    record = swept.record("exp_dotted[model.num_layers:4-model.heads:2-lr:0.1]")

    assert record["verdict"] == "pass"
    assert record["config"] == {"model": {"num_layers": 4, "heads": 2}, "lr": 0.1, "seed": 0}


def test_a_fixture_may_ask_for_parameters_and_the_seed(swept: sessions.Ended) -> None:
    assert swept.record("exp_fixture[width:32-seed:5]")["verdict"] == "pass"


def test_an_argument_keeps_its_default_where_nothing_sweeps_it(swept: sessions.Ended) -> None:
    assert swept.record("exp_default")["finding"] == "{'lr': 0.5}"


def test_a_handler_may_take_all_that_is_swept_by_keyword(swept: sessions.Ended) -> None:
    assert swept.record("exp_keywords[lr:0.1]")["finding"] == "{'lr': 0.1, 'seed': 0}"


PLAIN = """
from pytest_gpuexp import experiment, grid, seeds

pytestmark = experiment("c1")

@grid(lr=[0.1, 0.2], width=[32])
@seeds(2)
def exp_a(runner, lr, depth=1): ...

def exp_b(runner): ...
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sessions.write(tmp_path_factory.mktemp("plain"), exp_plain=PLAIN)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (
            ["--seeds", "3", "--sweep", "lr=1e-3"],
            [f"exp_a[lr:0.001-width:32-seed:{seed}]" for seed in range(3)]
            + [f"exp_b[seed:{seed}]" for seed in range(3)],
        ),
        (
            ["--seed", "42", "--seed", "7", "--sweep", "lr=1", "--sweep", "depth=[2,3],4"],
            [
                f"exp_a[lr:1-width:32-depth:{depth}-seed:{seed}]"
                for depth in ("2+3", 4)
                for seed in (42, 7)
            ]
            + ["exp_b[seed:42]", "exp_b[seed:7]"],
        ),
        (
            ["--gpuexp-sweep", "+optim.name=adam", "--gpuexp-seeds=1", "-k", "lr:0.2 or exp_b"],
            [
                "exp_a[lr:0.2-width:32-optim.name:adam-seed:0]",
                "exp_b[optim.name:adam-seed:0]",
            ],
        ),
        (
            ["--gpuexp-filter", "lr == 2e-1 and seed in (0, 5)"],
            ["exp_a[lr:0.2-width:32-seed:0]"],
        ),
    ],
)
def test_the_command_line_replaces_what_a_file_says(
    plain: Path, arguments: list[str], names: list[str]
) -> None:
    ended = sessions.run(plain, "--collect-only", "-q", *arguments)

    assert ended.code == 0, ended.text
    shown = [line.partition("::")[2] for line in ended.text.splitlines() if "::" in line]
    assert shown == names


def test_wrong_options_are_told_all_at_once_with_the_right_names(plain: Path) -> None:
    ended = sessions.run(
        plain,
        *["--sweep", "lr", "--sweep", "width=", "--seed", "x", "--gpuexp-filter", "lr ="],
    )

    assert ended.code == pytest.ExitCode.USAGE_ERROR
    assert (
        "ERROR: pytest-gpuexp options: 4 problems: --seed x: not an int; --sweep lr: no '='"
        in ended.text
    )
    assert not (plain / "results").exists()


def test_names_that_no_handler_has_are_refused_with_those_it_has(plain: Path) -> None:
    ended = sessions.run(plain, "--sweep", "widht=3", "--gpuexp-filter", "lrr < 1 and width < 3")

    assert ended.code == pytest.ExitCode.USAGE_ERROR
    assert "experiments: 2 problems: --sweep widht:" in ended.text
    assert "'widht' is not a parameter; did you mean 'width'? (depth, lr, width)" in ended.text
    assert "to add it to every handler write +widht=..." in ended.text
    assert (
        "--gpuexp-filter: 'lrr' is not a parameter; did you mean 'lr'? (depth, lr, seed, width)"
        in ended.text
    )
    assert not (plain / "results").exists()


def test_a_filter_that_leaves_nothing_runs_nothing(plain: Path) -> None:
    ended = sessions.run(plain, "--gpuexp-filter", "lr == 5")

    assert ended.code == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "--gpuexp-filter leaves out 5 runs" in ended.text
    assert not (plain / "results").exists()


def test_a_filter_that_cannot_be_computed_is_told_without_a_traceback(plain: Path) -> None:
    ended = sessions.run(plain, "--gpuexp-filter", "lr < 'high'")

    assert ended.code == pytest.ExitCode.INTERRUPTED
    assert "\"lr < 'high'\" with lr=0.1: " in ended.text
    assert "Traceback" not in ended.text
    assert "collection.py" not in ended.text


def test_wrong_decorators_are_told_all_at_once(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a="""
            from pytest_gpuexp import cases, grid, paired, seeds, tier
            import pytest

            @seeds(0)
            @grid(lr=[], width=[1, 1], model=[object()])
            def exp_one(runner): ...

            @seeds(2)
            @seeds(3)
            @paired(a=[1, 2], b=[1])
            @cases([{"x": 1}, {"y": 1}])
            @tier("fats")
            def exp_two(runner): ...

            @grid(lr=[1, 2], exclude=lambda learning_rate: True)
            @pytest.mark.parametrize("lr", [1])
            def exp_three(runner): ...

            @pytest.mark.parametrize("lr", [1], indirect=True)
            def exp_four(runner): ...

            @pytest.fixture(params=[1, 2])
            def two(request):
                return request.param

            def exp_five(runner, two): ...
            """,
    )

    ended = sessions.run(tmp_path)

    assert ended.code == pytest.ExitCode.INTERRUPTED
    for problem in (
        "exp_one: seeds:",
        "exp_one: grid: axis 'lr'",
        "exp_one: grid: axis 'width': 1 is given 2 times",
        "exp_one: grid: axis 'model'",
        "exp_two: seeds() is given twice; keep one",
        "exp_two: paired: the axes have different lengths: a has 2, b has 1; give all the same",
        "exp_two: cases[1]: the rows must name the same parameters; this one and the first differ "
        "in x, y",
        "exp_two: tier: 'fats' is not a tier (debug, fast, h100, multi, standard) and not a GPU "
        "such as L40S or H200:4, did you mean 'fast'?",
        "exp_three: 'lr' is given by grid and parametrize; leave one out",
        "exp_three: grid: exclude",
        "exp_four: parametrize: indirect= is not for handlers; let the fixture take the name",
        "exp_five: fixture 'two' is parametrized; a run takes its parameters from grid()",
    ):
        assert problem in ended.text, problem
    assert not (tmp_path / "results").exists()


def test_seeds_and_tier_of_a_module_hold_where_a_handler_has_none(tmp_path: Path) -> None:
    sessions.write(
        tmp_path,
        exp_a="""
            from pytest_gpuexp import experiment, seeds, tier

            pytestmark = [experiment("c1"), seeds(2), tier(timeout="1m")]

            def exp_a(runner): ...

            @seeds([9])
            def exp_b(runner): ...
            """,
    )

    ended = sessions.run(tmp_path, "--collect-only", "-q")

    shown = [line.partition("::")[2] for line in ended.text.splitlines() if "::" in line]
    assert shown == ["exp_a[seed:0]", "exp_a[seed:1]", "exp_b[seed:9]"]
