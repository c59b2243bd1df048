from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
