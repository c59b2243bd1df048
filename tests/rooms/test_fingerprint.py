"""Which code counts for a handler, and which does not."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from pytest_gpuexp.fingerprint import Locate, Tracer

PROJECT: Mapping[str, str] = {
    "exp_a.py": """
        \"\"\"Told.\"\"\"
        import math
        from functools import partial

        import models.gnn
        import tools as t
        from models import mlp
        from pytest_gpuexp import criterion, grid, seeds, tier
        from settings import RATE

        LIMIT = 3
        UNUSED = 4
        small = tier("debug")

        def exp_a(runner, seed):
            \"\"\"Told.\"\"\"
            return models.gnn.fit(LIMIT) + mlp.Net().size + t.shown(RATE)

        @seeds(3)
        @small
        @grid(lr=[1, UNUSED])
        def exp_b(runner):
            import lazily
            return lazily.work()

        @criterion(exp_a)
        def crit_a(replicates):
            assert replicates["x"] > UNUSED
    """,
    "models/__init__.py": "",
    "models/gnn.py": """
        from .layers import depth
        from . import mlp

        def fit(n):
            return depth(n)

        def unused():
            return mlp.Net()
    """,
    "models/layers.py": "def depth(n):\n    return n\n\ndef width(n):\n    return n\n",
    "models/mlp.py": "class Net:\n    size = 1\n\ndef unused():\n    return 1\n",
    "tools.py": "from deep import *\n\ndef shown(x):\n    return starred(x)\n",
    "deep.py": "def starred(x):\n    return x\n\ndef other(x):\n    return x\n",
    "settings.py": "import seeding\n\nRATE = 1e-3\nOTHER = 2\n",
    "seeding.py": "import random\n\ndef unused():\n    return 2\n\nrandom.seed(3)\n",
    "lazily.py": "def work():\n    return 1\n\ndef rest():\n    return 1\n",
}


def written(folder: Path, *, file: str = "", old: str = "", new: str = "") -> Tracer:
    """Write the project with an edit in one file, and return who traces it."""
    for name, source in PROJECT.items():
        text = textwrap.dedent(source)
        if name == file:
            assert old in text
            text = text.replace(old, new)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return Tracer(folder, locator(folder))


def locator(folder: Path) -> Locate:
    def locate(dotted: str) -> Path | None:
        place = folder.joinpath(*dotted.split("."))
        files = (place / "__init__.py", place.with_name(f"{place.name}.py"))
        return next((file for file in files if file.is_file()), None)

    return locate


def of(tracer: Tracer, folder: Path, name: str = "exp_a") -> dict[str, str]:
    return tracer.fingerprint([(folder / "exp_a.py", name)])


def changed(folder: Path, file: str, old: str, new: str, name: str = "exp_a") -> list[str]:
    before = of(written(folder), folder, name)
    after = of(written(folder, file=file, old=old, new=new), folder, name)
    return [one for one in sorted(before | after) if before.get(one) != after.get(one)]


def test_all_files_of_which_something_is_reached_are_named(tmp_path: Path) -> None:
    found = of(written(tmp_path), tmp_path)

    assert list(found) == [
        "deep.py",
        "exp_a.py",
        "models/gnn.py",
        "models/layers.py",
        "models/mlp.py",
        "seeding.py",
        "settings.py",
        "tools.py",
    ]


def test_a_second_handler_has_its_own(tmp_path: Path) -> None:
    assert list(of(written(tmp_path), tmp_path, "exp_b")) == ["exp_a.py", "lazily.py", "seeding.py"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("exp_a.py", '"""Told."""', '"""Told otherwise."""'),
        ("exp_a.py", "LIMIT = 3", "LIMIT    =   3  # as before"),
        ("exp_a.py", "UNUSED = 4", "UNUSED = 5"),
        ("exp_a.py", "> UNUSED", "< UNUSED"),
        ("exp_a.py", "lazily.work()", "lazily.rest()"),
        ("exp_a.py", "import math\n", ""),
        ("models/gnn.py", "return mlp.Net()", "return 1"),
        ("models/layers.py", "def width(n):\n    return n", "def width(n):\n    return 2"),
        ("models/mlp.py", "return 1", "return 2"),
        ("settings.py", "OTHER = 2", "OTHER = 3"),
        ("settings.py", "1e-3", "0.001"),
        ("seeding.py", "return 2", "return 3"),
    ],
)
def test_what_is_not_reached_does_not_count(tmp_path: Path, file: str, old: str, new: str) -> None:
    assert changed(tmp_path, file, old, new) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("exp_a.py", "LIMIT = 3", "LIMIT = 4"),
        ("exp_a.py", ") + mlp", ") - mlp"),
        ("models/gnn.py", "depth(n)", "depth(n) + 1"),
        ("models/layers.py", "def depth(n):\n    return n", "def depth(n):\n    return 2"),
        ("models/mlp.py", "size = 1", "size = 2"),
        ("tools.py", "starred(x)", "starred(x) + 1"),
        ("deep.py", "def starred(x):\n    return x", "def starred(x):\n    return 2"),
        ("settings.py", "RATE = 1e-3", "RATE = 1e-2"),
        ("seeding.py", "seed(3)", "seed(4)"),
    ],
)
def test_what_is_reached_counts_and_is_named(tmp_path: Path, file: str, old: str, new: str) -> None:
    assert changed(tmp_path, file, old, new) == [file]


@pytest.mark.parametrize(
    ("old", "new"),
    [("seeds(3)", "seeds(4)"), ('tier("debug")', 'tier("fast")'), ("lr=[1, ", "lr=[2, ")],
)
def test_declarations_do_not_count(tmp_path: Path, old: str, new: str) -> None:
    assert changed(tmp_path, "exp_a.py", old, new, "exp_b") == []


def test_what_a_handler_imports_itself_counts(tmp_path: Path) -> None:
    assert changed(tmp_path, "lazily.py", "work():\n    return 1", "work():\n    return 2", "exp_b")


@pytest.mark.parametrize(
    "body",
    [
        "return getattr(models.mlp, runner.name)()",
        "return pick(models.mlp)",
        "import importlib; return importlib.import_module('models.mlp')",
        "from models import mlp; return mlp.Net()",
    ],
)
def test_where_it_cannot_be_told_what_is_used_the_whole_module_counts(
    tmp_path: Path, body: str
) -> None:
    old = "import lazily\n    return lazily.work()"
    tracer = written(tmp_path, file="exp_a.py", old=old, new=body)
    before = of(tracer, tmp_path, "exp_b")
    path = tmp_path / "models/mlp.py"
    path.write_text(path.read_text().replace("return 1", "return 9"))

    after = of(Tracer(tmp_path, locator(tmp_path)), tmp_path, "exp_b")

    assert before["models/mlp.py"] != after["models/mlp.py"]


def test_a_handler_that_evaluates_text_counts_with_its_whole_module(tmp_path: Path) -> None:
    old = "return lazily.work()"
    before = of(written(tmp_path, file="exp_a.py", old=old, new="eval(x)"), tmp_path, "exp_b")
    path = tmp_path / "exp_a.py"
    path.write_text(path.read_text().replace("LIMIT = 3", "LIMIT = 4"))

    after = of(Tracer(tmp_path, locator(tmp_path)), tmp_path, "exp_b")

    assert before["exp_a.py"] != after["exp_a.py"]


def test_a_moved_function_and_a_missing_file_and_no_python_are_taken_as_they_are(
    tmp_path: Path,
) -> None:
    file = tmp_path / "exp_a.py"
    file.write_text("def exp_a():\n    return f() + 1\n\n\ndef f():\n    return 1\n")
    before = Tracer(tmp_path, lambda _: None).fingerprint([(file, "exp_a")])
    file.write_text("def f():\n    return 1\n\n\ndef exp_a():\n    return f() + 1\n")
    moved = Tracer(tmp_path, lambda _: None).fingerprint([(file, "exp_a")])
    file.write_text("def exp_a(:\n")
    broken = Tracer(tmp_path, lambda _: None).fingerprint([(file, "exp_a")])
    file.unlink()

    assert before == moved
    assert list(broken) == ["exp_a.py"]
    assert Tracer(tmp_path, lambda _: None).fingerprint([(file, "exp_a")]) == {}


def test_what_registers_itself_counts_as_soon_as_its_module_does(tmp_path: Path) -> None:
    source = """
        from registry import register

        @register("gnn")
        def build():
            return VALUE

        MODELS = {}

        def exp_a():
            return MODELS["gnn"]()
    """
    file = tmp_path / "exp_a.py"
    found = []
    for value in "12":
        file.write_text(textwrap.dedent(source).replace("VALUE", value))
        found.append(Tracer(tmp_path, lambda _: None).fingerprint([(file, "exp_a")]))

    assert found[0] != found[1]


def test_a_local_name_reaches_nothing_of_the_same_name(tmp_path: Path) -> None:
    file = tmp_path / "exp_a.py"
    found = []
    for value in "12":
        file.write_text(
            f"def loss():\n    return {value}\n\ndef exp_a():\n    loss = 1\n    return loss\n"
        )
        found.append(Tracer(tmp_path, lambda _: None).fingerprint([(file, "exp_a")]))

    assert found[0] == found[1]
