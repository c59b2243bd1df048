from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from pytest_gpuexp import composition
from pytest_gpuexp.errors import UsageProblems


def test_a_plain_config_stays_the_same_object() -> None:
    config = {"a": {"b": [1, "x"]}}

    assert composition.to_plain(config) is config


def test_omegaconfs_configs_become_plain_and_resolved() -> None:
    config = OmegaConf.create({"a": 1, "b": {"c": "${a}"}, "d": ["${b.c}"]})

    assert composition.to_plain(config) == {"a": 1, "b": {"c": 1}, "d": [1]}


def test_the_overrides_are_hydras_grammar() -> None:
    words = ["run_on_modal=true", "lr=1e-4,1e-3", "+depth=range(1,4)", "w=choice(a,b)", "n='x y'"]

    assert composition.parse_overrides(words) == [
        ("run_on_modal", [True]),
        ("lr", [1e-4, 1e-3]),
        ("depth", [1, 2, 3]),
        ("w", ["a", "b"]),
        ("n", ["x y"]),
    ]


def test_wrong_overrides_are_told_all_at_once() -> None:
    with pytest.raises(UsageProblems, match=r"overrides: 2 problems: lr=\[1: .*; ~lr: "):
        composition.parse_overrides(["lr=[1", "a=1", "~lr"])


def test_an_app_of_the_users_keeps_its_own_hydra(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/a.yaml").write_text("x: 1\n")

    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        composed = composition.compose(tmp_path, [("model", "m/a")], {"y": 2})

        assert GlobalHydra.instance().is_initialized()
        assert hydra.compose(overrides=["+m=a"]) == {"m": {"x": 1}}
    assert composed == {"y": 2, "model": {"x": 1}}


@pytest.mark.parametrize("base", [{"y": 2, "model": {"x": 0, "w": "${y}"}}, {}, "config"])
def test_composing_many_comes_to_what_composing_each_does(
    tmp_path: Path, base: dict[str, Any] | str
) -> None:
    files = {
        "config": "y: 3\nmodel: {x: 0, v: 1}\n",
        "m/a": "x: 1\nz: ${data.n}\n",
        "m/b": "# @package _global_\nmodel: {x: 4}\ny: 5\n",
        "m/c": "defaults: [a, _self_]\nx: 6\n",
        "d/8": "n: 1\n",
        "d/two": "n: [1, {k: '${model.x}'}]\nempty: {}\n",
    }
    for name, text in files.items():
        file = tmp_path / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    composer = composition.Composer(tmp_path, base)

    for model, data in itertools.product(["m/a", "m/b", "m/c"], ["d/8", "d/two"]):
        choices = [("model", model), ("data", data)]
        expected = composition.compose(tmp_path, choices, base)
        assert composer.compose(choices) == expected
        assert composer.compose(choices[:1]) == composition.compose(tmp_path, choices[:1], base)
    with pytest.raises(UsageProblems, match=r"2 problems: 'm/z' is no config there.*'d/z' is no"):
        composer.compose([("model", "m/z"), ("data", "d/z")])


def test_without_the_extra_plain_configs_work_and_groups_name_it(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['hydra'] = sys.modules['omegaconf'] = None\n"
        "import importlib.util as u; found = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n in ('hydra', 'omegaconf') else found(n, *a)\n"
        "from pathlib import Path\n"
        "from pytest_gpuexp import StageConfig\n"
        "from pytest_gpuexp.expansion import expand\n"
        "Path('t.py').write_text('def f(lr): pass')\n"
        "Path('g').mkdir(); Path('g/a.yaml').write_text('x: 1')\n"
        "stage = dict(name='s', handler='t.py::f', architectures=['a'])\n"
        "here = Path.cwd()\n"
        "order = expand(StageConfig(**stage), {'lr': 1}, groups=None, folder=here)\n"
        "print(dict(order.requests[0].parameters))\n"
        "try: expand(StageConfig(**stage), {}, groups=here / 'g', folder=here)\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "{'lr': 1, 'architecture': 'a'}" in done.stdout, done.stderr
    assert "pip install 'pytest-gpuexp[hydra]'" in done.stdout


WRONG = {
    "m/list": (b"- 1\n", "m/list.yaml: it holds a list, not a mapping"),
    "m/five": (b"5\n", "m/five.yaml: Invalid loaded object type: int"),
    "m/broken": (b"a: [1\n", "m/broken.yaml: while parsing a flow sequence in"),
    "m/latin": (b"a: \xe9\n", "m/latin.yaml: it is not UTF-8 (invalid continuation byte, byte 3)"),
    "m/typo": (b"a: {b: '${x'}\n", "m/typo.yaml: a.b: no viable alternative at input '${x'"),
    "m/far": (b"defaults: [../n/typo]\n", "token recognition error|no viable alternative at"),
}


@pytest.mark.parametrize("base", [{}, {"y": 1}, "config"], ids=["none", "mapping", "name"])
@pytest.mark.parametrize("choice", WRONG)
def test_a_group_file_that_cannot_be_read_is_told_with_its_name_and_key(
    tmp_path: Path, choice: str, base: object
) -> None:
    written = {"config": b"y: 2\n", "n/typo": b"a: '${x'\n", "m/good": b"a: 1\n"}
    for name, content in {**written, choice: WRONG[choice][0]}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_bytes(content)

    for compose in (
        composition.Composer(tmp_path, base).compose,
        lambda choices: composition.compose(tmp_path, choices, base),
    ):
        with pytest.raises(UsageProblems) as caught:
            compose([("model", "m/good"), ("other", choice)])
        [told] = caught.value.problems
        assert any(text in told for text in WRONG[choice][1].split("|"))


@pytest.mark.parametrize("text", ["${b", "${seed", "${.}"])
def test_a_misspelt_interpolation_is_told_with_its_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/a.yaml").write_text("x: 1\n")
    (tmp_path / "config.yaml").write_text(f"a: {{b: '{text}'}}\n")
    config = {"a": {"b": text}}
    ways: list[Callable[[], object]] = [
        lambda: composition.to_plain(config),
        lambda: composition.resolved(config, {}),
        lambda: composition.resolved({"a": {"b": 1}}, {"a.b": text}),
        lambda: composition.compose(tmp_path, [("model", "m/a")], config),
        lambda: composition.compose(tmp_path, [("model", "m/a")], "config"),
        lambda: composition.Composer(tmp_path, config).compose([("model", "m/a")]),
        lambda: composition.Composer(tmp_path, config).compose([]),
    ]

    for way in ways:
        with pytest.raises(UsageProblems, match=r"a\.b: (no viable|extraneous input)"):
            way()
