"""Short options are taken only where nobody else has them."""

from __future__ import annotations

import pytest
from _pytest.config.argparsing import Parser

from pytest_gpuexp import options

SHORT = (
    *("--backend", "--gpu", "--parallelism", "--run-timeout", "--storage"),
    *("--seed", "--sweep", "--seeds", "--stub-mode", "--dry-run"),
)


def parser(*theirs: str) -> pytest.Parser:
    made = Parser(_ispytest=True)
    for name in theirs:
        made.addoption(name, action="store_true", dest="theirs")
    options.add_options(made)
    return made


def test_all_short_options_are_ours_where_nobody_has_them() -> None:
    assert options.add_short_options(parser()) == []


@pytest.mark.parametrize("name", SHORT)
def test_an_option_of_another_is_left_to_it_and_named(name: str) -> None:
    made = parser(name)

    taken = options.add_short_options(made)

    assert taken == [name]
    assert made.parse([name]).theirs is True


@pytest.mark.parametrize(
    "words",
    [
        ["--backend=modal", "--gpu=fast", "--parallelism=4", "--run-timeout=2h", "--storage=x"],
        ["--seed=1", "--seed=2", "--sweep=lr=1"],
        ["--seeds=5", "--stub-mode", "--dry-run"],
    ],
)
def test_the_short_and_the_long_name_say_the_same(words: list[str]) -> None:
    made = parser()
    options.add_short_options(made)

    short = made.parse(words)
    long = made.parse([word.replace("--", "--gpuexp-", 1) for word in words])

    assert vars(short) == vars(long)


def test_short_and_long_may_be_mixed_where_they_repeat() -> None:
    made = parser()
    options.add_short_options(made)

    parsed = made.parse(["--seed=1", "--gpuexp-seed=2", "--seed=3"])

    assert parsed.gpuexp_seed == ["1", "2", "3"]


def test_a_flag_takes_no_value_that_follows_it() -> None:
    made = parser()
    options.add_short_options(made)

    parsed = made.parse(["--stub-mode", "experiments/", "--dry-run", "more/"])

    assert parsed.file_or_dir == ["experiments/", "more/"]


def test_every_short_option_is_declared_with_its_long_name() -> None:
    made = parser()
    options.add_short_options(made)
    group = made.getgroup("gpuexp")

    names = {name for option in group.options for name in option.names()}

    assert names >= {*SHORT, *(name.replace("--", "--gpuexp-") for name in SHORT)}


def test_a_destination_is_the_name_of_the_ini_value() -> None:
    assert options.destination("run-timeout") == "gpuexp_run_timeout"
