"""What may go of a volume, and what stays."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gpuexp.backends import volume_contents


@dataclass
class Entry:
    """As Modal's client lists it; ``type`` 1 is a file, 2 a folder."""

    path: str
    mtime: int
    size: int = 10
    type: int = 1


def stale(*entries: Entry) -> tuple[list[str], int]:
    return volume_contents.stale(entries, before=100.0)


def test_a_folder_in_which_all_is_old_goes_as_one() -> None:
    found = stale(
        Entry("spool", 1, type=2),
        Entry("spool/s/c1/runs/a/1/large.bin", 50),
        Entry("spool/s/c1/runs/a/1/log.txt", 60),
        Entry("spool/s/c1/runs/b/1/large.bin", 150),
    )

    assert found == (["spool/s/c1/runs/a"], 20)


def test_what_was_sent_ahead_goes_file_by_file_while_some_is_new() -> None:
    found = stale(Entry(".gpuexp/old.tar.gz", 50), Entry(".gpuexp/new.tar.gz", 150))

    assert found == ([".gpuexp/old.tar.gz"], 10)


def test_reports_and_a_storage_on_the_same_volume_stay() -> None:
    found = stale(Entry("c1/results.yaml", 1), Entry("sweeps/c1/records/a.yaml", 1))

    assert found == ([], 0)
