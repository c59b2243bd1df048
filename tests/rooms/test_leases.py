"""Which run holds which GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pytest_gpuexp.leases import Leases


def test_tokens_are_handed_out_in_order_until_there_are_no_more(tmp_path: Path) -> None:
    leases = Leases(["3", "GPU-8f", "MIG-1/2/0"], tmp_path)

    assert leases.acquire(1) == ("3",)
    assert leases.acquire(2) == ("GPU-8f", "MIG-1/2/0")
    assert leases.acquire(1) is None


def test_too_few_are_not_held_on_to(tmp_path: Path) -> None:
    leases = Leases(["0", "1"], tmp_path)
    leases.acquire(1)

    assert leases.acquire(2) is None
    assert leases.acquire(1) == ("1",)


def test_what_is_given_back_is_handed_out_again(tmp_path: Path) -> None:
    leases = Leases(["0"], tmp_path)

    leases.release(leases.acquire(1) or ())

    assert leases.acquire(1) == ("0",)


def test_no_gpu_needs_no_folder(tmp_path: Path) -> None:
    assert Leases(["0"], tmp_path / "leases").acquire(0) == ()
    assert list(tmp_path.iterdir()) == []


def test_another_session_gets_what_is_left(tmp_path: Path) -> None:
    ours, theirs = Leases(["0", "1"], tmp_path), Leases(["1", "0"], tmp_path)

    first = ours.acquire(1)
    second = theirs.acquire(1)

    assert (first, second) == (("0",), ("1",))
    assert ours.acquire(1) is theirs.acquire(1) is None
    theirs.release(second or ())
    assert ours.acquire(1) == ("1",)


def test_a_lease_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from pytest_gpuexp.leases import Leases\n"
        "leases = Leases(['0'], Path(sys.argv[1])); print(leases.acquire(1), flush=True)\n"
        "time.sleep(60)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    told = holder.stdout.readline()
    leases = Leases(["0"], tmp_path)

    while_held = leases.acquire(1)
    holder.kill()
    holder.wait()
    holder.stdout.close()

    assert told == "('0',)\n"
    assert while_held is None
    assert leases.acquire(1) == ("0",)


def test_a_child_of_the_holder_does_not_keep_what_is_given_back(tmp_path: Path) -> None:
    leases, other = Leases(["0"], tmp_path), Leases(["0"], tmp_path)
    held = leases.acquire(1) or ()
    child = subprocess.Popen(["sleep", "60"], close_fds=False)

    leases.release(held)
    taken = other.acquire(1)
    child.kill()
    child.wait()

    assert taken == ("0",)


def test_the_folder_belongs_to_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    Leases(["0"]).acquire(1)

    folder = tmp_path / f"gpuexp-leases-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700


class TwoSessions(RuleBasedStateMachine):
    """Two sessions that acquire and release in any order."""

    folders: ClassVar[list[Path]] = []

    def __init__(self) -> None:
        super().__init__()
        folder = self.folders[0] / str(len(list(self.folders[0].iterdir())))
        folder.mkdir()
        self.tokens = ("0", "1", "2")
        self.leases = [Leases(self.tokens, folder), Leases(self.tokens[::-1], folder)]
        self.held: list[list[tuple[str, ...]]] = [[], []]

    def taken(self) -> list[str]:
        return [token for side in self.held for lease in side for token in lease]

    @rule(side=st.sampled_from([0, 1]), count=st.integers(min_value=1, max_value=3))
    def acquire(self, side: int, count: int) -> None:
        free = len(self.tokens) - len(self.taken())
        got = self.leases[side].acquire(count)
        assert (got is not None) == (count <= free)
        if got is not None:
            assert len(got) == count
            self.held[side].append(got)

    @precondition(lambda self: bool(self.taken()))
    @rule(side=st.sampled_from([0, 1]))
    def release(self, side: int) -> None:
        if self.held[side]:
            self.leases[side].release(self.held[side].pop())

    @invariant()
    def no_token_has_two_masters(self) -> None:
        assert len(self.taken()) == len(set(self.taken()))

    def teardown(self) -> None:
        for leases, held in zip(self.leases, self.held, strict=True):
            for lease in held:
                leases.release(lease)


def test_in_any_order_no_gpu_is_held_twice_and_none_is_forgotten(tmp_path: Path) -> None:
    TwoSessions.folders = [tmp_path]

    limits = settings(max_examples=30, stateful_step_count=20, deadline=None)

    run_state_machine_as_test(TwoSessions, settings=limits)
