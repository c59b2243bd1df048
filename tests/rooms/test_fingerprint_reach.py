"""Code that a handler reaches by ways that its text does not name counts all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_gpuexp.fingerprint import Tracer
from tests.rooms.test_fingerprint import locator

HANDLER = "def exp_a(runner):\n    return {}\n"
MLP = "def mlp():\n    return 1.0\n"
CASES = {
    "re-export, attribute by name": (
        {"models/__init__.py": "from .mlp_ import mlp\n", "models/mlp_.py": MLP},
        "import models\n" + HANDLER.format('getattr(models, "mlp")()'),
        "models/mlp_.py",
    ),
    "re-export, star": (
        {"models/__init__.py": "from .mlp_ import mlp\n", "models/mlp_.py": MLP},
        "from models import *\n" + HANDLER.format("mlp()"),
        "models/mlp_.py",
    ),
    "re-export, imported in the handler": (
        {"models/__init__.py": "from .mlp_ import mlp\n", "models/mlp_.py": MLP},
        "def exp_a(runner):\n    import models\n    return models.mlp()\n",
        "models/mlp_.py",
    ),
    "looked up in globals()": (
        {"models/__init__.py": "from .mlp_ import mlp\n", "models/mlp_.py": MLP},
        "from models import mlp\n" + HANDLER.format('globals()["mlp"]()'),
        "models/mlp_.py",
    ),
    "star over star, as a value": (
        {
            "lib/__init__.py": "from .sub import *\n",
            "lib/sub/__init__.py": "from .deep import mlp\n",
            "lib/sub/deep.py": MLP,
        },
        "import lib as L\n" + HANDLER.format("vars(L)"),
        "lib/sub/deep.py",
    ),
    "stars in a circle": (
        {"one.py": "from two import *\n", "two.py": f"from one import *\n{MLP}"},
        "from one import *\n" + HANDLER.format("mlp()"),
        "two.py",
    ),
    "a submodule of a package that is a value": (
        {"models/__init__.py": "", "models/mlp.py": MLP},
        "import models.mlp\n" + HANDLER.format("getattr(models, runner.kind)"),
        "models/mlp.py",
    ),
    "a name of a package that hides its file": (
        {
            "pkg/__init__.py": "from .impl import model\n",
            "pkg/impl.py": "def model():\n    return 1.0\n",
            "pkg/model.py": "",
        },
        "from pkg import model\n" + HANDLER.format("model()"),
        "pkg/impl.py",
    ),
    "changed after its definition": (
        {"config.py": "class C:\n    lr = 2\nC.lr *= 1.0\n"},
        "from config import C\n" + HANDLER.format("C.lr"),
        "config.py",
    ),
    "registered by a call": (
        {"reg.py": f"REG = {{}}\n{MLP}_ = REG.setdefault('mlp', mlp)\n"},
        "from reg import REG\n" + HANDLER.format('REG["mlp"]()'),
        "reg.py",
    ),
    "registered by its base": (
        {
            "base.py": "REG = {}\nclass Base:\n    def __init_subclass__(cls): REG['a'] = cls\n",
            "plug.py": "from base import Base\nclass A(Base):\n    value = 1.0\n",
        },
        "import plug\nfrom base import REG\n" + HANDLER.format('REG["a"]'),
        "plug.py",
    ),
    "named like itself in a class": (
        {"score.py": "def score():\n    return 1.0\n"},
        "from score import score\nclass M:\n    score = staticmethod(score)\n"
        + HANDLER.format("M.score()"),
        "score.py",
    ),
}


def fingerprint(folder: Path) -> dict[str, str]:
    return Tracer(folder, locator(folder)).fingerprint([(folder / "exp_a.py", "exp_a")])


@pytest.mark.parametrize("case", CASES)
def test_what_is_reached_in_a_roundabout_way_counts(tmp_path: Path, case: str) -> None:
    files, handler, edited = CASES[case]
    for name, text in {**files, "exp_a.py": handler}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = fingerprint(tmp_path)
    path = tmp_path / edited

    path.write_text(path.read_text().replace("1.0", "5.0"))

    assert before[edited] != fingerprint(tmp_path)[edited]


def test_the_order_of_what_is_done_at_import_counts(tmp_path: Path) -> None:
    path = tmp_path / "exp_a.py"
    text = f"import random\nrandom.seed(0)\nDATA = [random.random()]\n{HANDLER.format('DATA')}"
    path.write_text(text)
    before = fingerprint(tmp_path)

    lines = text.splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[2], lines[1], *lines[3:]]))

    assert before != fingerprint(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("at_least(0.5)", "at_least(0.6)"),
        ("assert r", "assert not r"),
        ('"""A text."""', '"""Another."""'),
    ],
)
def test_declarations_of_a_module_that_counts_as_a_whole_do_not(
    tmp_path: Path, old: str, new: str
) -> None:
    text = (
        '"""A text."""\nfrom pytest_gpuexp import at_least, criterion, experiment\n'
        'pytestmark = experiment("a", success_criteria={"m": at_least(0.5)})\n'
        + HANDLER.format('globals()["x"]')
        + "@criterion(exp_a)\ndef crit_a(r):\n    assert r\n"
    )
    (tmp_path / "exp_a.py").write_text(text)
    before = fingerprint(tmp_path)

    (tmp_path / "exp_a.py").write_text(text.replace(old, new))

    assert before == fingerprint(tmp_path)
