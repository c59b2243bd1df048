"""Which code outside the experiment file `--resume` counts as a run's own."""

from __future__ import annotations

from pathlib import Path

from tests.behaviour import sessions

ORIGINS = {
    "conftest": """
        import functools
        import os
        import pytest
        from making import make, timed

        os.environ["LR"] = "1.0"

        def pytest_runtest_setup(item):
            os.environ["WD"] = "2.0"

        @pytest.fixture
        @functools.cache
        def cached():
            return 3.0

        @pytest.fixture
        @timed
        def wrapped():
            return 4.0

        made = make(5.0)

        def pytest_report_header():
            return "9.0"
    """,
    "making": """
        import functools
        import pytest

        def timed(function):
            @functools.wraps(function)
            def inner():
                return function()
            return inner

        def make(value):
            @pytest.fixture
            def inner():
                return value
            return inner
    """,
    "exp_origins": """
        STATE = {}

        def setup_module():
            STATE["x"] = 6.0

        def exp_origins(runner, cached, wrapped, made):
            assert made
    """,
}


def test_what_conftests_and_setups_do_counts_and_what_they_report_does_not(
    tmp_path: Path,
) -> None:
    sessions.write(tmp_path, **ORIGINS)
    sessions.run(tmp_path)
    told = {}

    for name, number in [("conftest", n) for n in (1, 2, 3, 4, 5, 9)] + [("exp_origins", 6)]:
        path = tmp_path / f"{name}.py"
        text = path.read_text()
        path.write_text(text.replace(f"{number}.0", f"{number}.5"))
        told[number] = sessions.run(tmp_path, "--resume", "--dry-run").text
        path.write_text(text)

    for number in (1, 2, 3, 4, 5):
        assert "1 stale: conftest.py changed" in told[number], number
    assert "1 stale: exp_origins.py changed" in told[6]
    assert "1 of 1 run kept" in told[9]
