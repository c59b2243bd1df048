"""What the assertions of a run have shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.assertion_log import FREE_EXPLANATIONS, AssertionLog

PATH = "exp_a.py"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def met(log: AssertionLog, line: int, words: str, path: str = PATH) -> bool:
    wanted = log.passing(path, line)
    if wanted:
        log.explain(f"line {line}", words)
    return wanted


def test_a_line_that_is_passed_often_is_one_entry_with_its_first_and_last_words() -> None:
    log = AssertionLog()

    for words in ("1 < 5", "2 < 5", "3 < 5"):
        met(log, 7, words)

    (entry,) = log.entries()
    assert (entry.line, entry.source, entry.count) == (7, "line 7", 3)
    assert (entry.first, entry.last, entry.met) == ("1 < 5", "3 < 5", True)


def test_the_one_that_failed_is_not_met_and_the_others_are() -> None:
    log = AssertionLog()
    met(log, 7, "1 < 5")
    met(log, 9, "2 < 5")

    entries = log.fail(PATH, 9, "x < 5", "assert 6 < 5")

    assert [(entry.line, entry.met, entry.count) for entry in entries] == [
        (7, True, 1),
        (9, False, 2),
    ]
    assert (entries[1].first, entries[1].last) == ("2 < 5", "assert 6 < 5")


def test_a_failure_at_first_sight_is_an_entry_too() -> None:
    (entry,) = AssertionLog().fail(PATH, 9, "x < 5", "assert 6 < 5")

    assert (entry.source, entry.met, entry.count) == ("x < 5", False, 1)


def test_lines_of_different_files_are_told_apart() -> None:
    log = AssertionLog()
    met(log, 7, "a", "exp_a.py")
    met(log, 7, "b", "conftest.py")

    assert [entry.first for entry in log.entries()] == ["b", "a"]


def test_words_that_nobody_asked_for_are_dropped() -> None:
    log = AssertionLog()

    log.explain("x", "from a module of somebody else")

    assert log.entries() == ()


def test_a_loop_pays_for_its_words_now_and_then_only() -> None:
    clock = Clock()
    log = AssertionLog(clock)
    for _ in range(FREE_EXPLANATIONS):
        met(log, 7, "early")

    at_once = [met(log, 7, "late") for _ in range(100)]
    clock.now += 1.0
    later = [met(log, 7, "later still") for _ in range(100)]

    assert sum(at_once) <= 1
    assert sum(later) == 1
    (entry,) = log.entries()
    assert (entry.count, entry.first, entry.last) == (
        FREE_EXPLANATIONS + 200,
        "early",
        "later still",
    )


def test_a_new_run_begins_with_nothing() -> None:
    log = AssertionLog()
    met(log, 7, "a")

    log.clear()

    assert log.entries() == ()


@given(st.lists(st.tuples(st.sampled_from(["a.py", "b.py"]), st.integers(1, 9)), max_size=50))
def test_every_pass_is_counted(passes: list[tuple[str, int]]) -> None:
    log = AssertionLog()

    for path, line in passes:
        met(log, line, "words", path)

    entries = log.entries()
    assert sum(entry.count for entry in entries) == len(passes)
    assert len(entries) == len(set(passes))
