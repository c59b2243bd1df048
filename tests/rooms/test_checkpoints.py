"""A checkpoint is whole or absent, the last few are kept, and the right one is restored."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_gpuexp.checkpoints import CONTENT, Checkpoint, Checkpoints, Name, names_in, newest_path
from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.records import Attempt
from tests.rooms.attempts import an_attempt


class Told(list[Mapping[str, str]]):
    """What was told of checkpoints."""

    @property
    def notices(self) -> list[str]:
        return [told["notice"] for told in self if "notice" in told]


def attempt(number: int = 1, **changes: Any) -> Attempt:
    return dataclasses.replace(an_attempt(number), submitted_at=f"at {number}", **changes)


def checkpoints(folder: Path, of: Attempt, told: Told | None = None) -> Checkpoints:
    return Checkpoints(of, folder / "checkpoint", tell=(Told() if told is None else told).append)


def steps(folder: Path) -> list[int]:
    return [name.step for name in sorted(names_in(folder / "checkpoint"))]


def restored(folder: Path, of: Attempt, told: Told | None = None) -> Checkpoint:
    found = checkpoints(folder, of, told).restore()
    assert found is not None
    return found


def test_there_is_nothing_to_restore_at_a_fresh_start(tmp_path: Path) -> None:
    assert checkpoints(tmp_path, attempt()).restore() is None
    assert list(tmp_path.iterdir()) == []


def test_the_newest_comes_back_and_the_last_two_are_kept(tmp_path: Path) -> None:
    told = Told()
    mine = checkpoints(tmp_path, attempt(), told)

    for step in (10, 20, 30):
        mine.save({"loss": step / 10}, step=step, keep=2)

    assert steps(tmp_path) == [20, 30]
    found = mine.restore()
    assert found is not None
    assert (found.step, found.state, found.attempt) == (30, {"loss": 3.0}, 1)
    assert told[-1] == {"checkpoint": "000003.attempt-1.step-30"}
    assert newest_path(tmp_path / "1", "r", 1) == "runs/r/checkpoint/000003.attempt-1.step-30"


def test_without_a_step_the_next_one_is_taken(tmp_path: Path) -> None:
    mine = checkpoints(tmp_path, attempt())

    mine.save({}, step=None, keep=5)
    mine.save({}, step=7, keep=5)
    mine.save({}, step=None, keep=5)

    assert steps(tmp_path) == [0, 7, 8]


def test_a_file_and_a_folder_come_back_as_they_were(tmp_path: Path) -> None:
    source = tmp_path / "saved"
    (source / "deep").mkdir(parents=True)
    (source / "deep/weights.bin").write_bytes(b"weights")
    mine = checkpoints(tmp_path, attempt())

    mine.save(source, step=1, keep=2)
    mine.save(source / "deep/weights.bin", step=2, keep=2)

    newest = restored(tmp_path, attempt())
    assert newest.state is None
    assert (newest.folder / "weights.bin").read_bytes() == b"weights"
    assert (source / "deep/weights.bin").exists()
    older = tmp_path / "checkpoint/000001.attempt-1.step-1" / CONTENT / "deep/weights.bin"
    assert older.read_bytes() == b"weights"


def test_a_later_attempt_goes_on_only_from_those_it_may(tmp_path: Path) -> None:
    checkpoints(tmp_path, attempt(1)).save({"of": 1}, step=5, keep=2)

    assert checkpoints(tmp_path, attempt(2)).restore() is None
    assert restored(tmp_path, attempt(3, restores=[2, 1])).state == {"of": 1}


def test_an_attempt_that_has_an_old_number_begins_anew(tmp_path: Path) -> None:
    checkpoints(tmp_path, attempt(1)).save({}, step=5, keep=2)

    later = dataclasses.replace(attempt(1), submitted_at="after the records were deleted")

    assert checkpoints(tmp_path, later).restore() is None


def test_a_checkpoint_of_other_code_is_told_and_left(tmp_path: Path) -> None:
    old, new = {"model.py": "1"}, {"model.py": "2"}
    checkpoints(tmp_path, attempt(1, fingerprint=old)).save({}, step=5, keep=2)
    told = Told()

    assert checkpoints(tmp_path, attempt(2, restores=[1], fingerprint=new), told).restore() is None
    assert told.notices == [
        "exp_fit[model.lr:0.1-seed:3]: the checkpoint at step 5 of attempt 1 is of other code "
        "(model.py changed), so the run begins anew; --resume --any-code goes on from it"
    ]
    asked = attempt(2, restores=[1], fingerprint=new, any_code=True)
    assert restored(tmp_path, asked).step == 5


@pytest.mark.parametrize("damage", ["manifest.json", "content/state.json"])
def test_where_the_newest_is_damaged_an_older_one_is_taken(tmp_path: Path, damage: str) -> None:
    mine = checkpoints(tmp_path, attempt())
    mine.save({"at": 1}, step=1, keep=2)
    mine.save({"at": 2}, step=2, keep=2)
    (tmp_path / "checkpoint/000002.attempt-1.step-2" / damage).write_text("{")
    told = Told()

    assert restored(tmp_path, attempt(), told).state == {"at": 1}
    assert "000002.attempt-1.step-2 cannot be read, so an older one is tried" in told.notices[0]


def test_what_makes_no_sense_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    mine = checkpoints(tmp_path, attempt())

    for content, step, keep in (
        ({}, -1, 2),
        ({}, True, 2),
        ({}, 1, 0),
        ({"model": object()}, 1, 2),
        (tmp_path / "absent", 1, 2),
    ):
        with pytest.raises(GpuexpError):
            mine.save(content, step=step, keep=keep)

    assert not list(tmp_path.glob("checkpoint/*"))


def test_a_kill_at_any_moment_leaves_whole_checkpoints_alone(tmp_path: Path) -> None:
    payload = {"weights": list(range(2000))}
    before = 0
    for round_number in range(12):
        begun, begins = os.pipe()
        pid = os.fork()
        if not pid:
            mine = checkpoints(tmp_path, attempt())
            for step in range(10_000):
                mine.save({**payload, "at": step}, step=step, keep=2)
                if step == 1:
                    os.write(begins, b".")
            os._exit(0)
        os.close(begins)
        assert os.read(begun, 1) == b"."  # two are saved, however slow the machine
        os.close(begun)
        time.sleep(0.002 * round_number)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

        told = Told()
        found = checkpoints(tmp_path, attempt(), told).restore()

        assert told.notices == []
        assert found is not None
        assert found.state == {**payload, "at": found.step}
        left = len(names_in(tmp_path / "checkpoint"))
        assert left <= max(before, 2) + 1  # each kill leaves one that was saved, and not pruned yet
        before = left

    checkpoints(tmp_path, attempt()).save({}, step=1, keep=2)
    assert all(not name.startswith(".") for name in os.listdir(tmp_path / "checkpoint"))
    assert len(names_in(tmp_path / "checkpoint")) == 2


def test_a_name_says_what_it_is() -> None:
    assert str(Name(number=12, attempt=3, step=400)) == "000012.attempt-3.step-400"
    assert Name(number=2, attempt=1, step=9) > Name(number=1, attempt=5, step=50)
