"""What may go of a volume, and what stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_gpuexp.backends import volume_contents


@dataclass
class Entry:
    """As Modal's client lists it; ``type`` 1 is a file, 2 a folder."""

    path: str
    mtime: int
    size: int = 10
    type: int = 1


class Volume:
    """Holds ``entries``; a session puts ``sent`` there when the long listing has been given."""

    def __init__(self, *entries: Entry, sent: Sequence[Entry] = ()) -> None:
        self.held = {entry.path: entry for entry in entries}
        self.removed: list[str] = []
        self._sent = sent

    def list(self, name: str) -> Iterator[Entry]:
        yield from [one for path, one in self.held.items() if self._is_below(path, name)]
        if name == "":
            self.held.update({one.path: one for one in self._sent})

    def remove(self, name: str) -> None:
        self.removed.append(name)
        self.held = {p: one for p, one in self.held.items() if not self._is_below(p, name)}

    def prune(self) -> int:
        return volume_contents.remove_stale(self.list, self.remove, before=100.0)

    def _is_below(self, path: str, name: str) -> bool:
        return not name or path == name or path.startswith(f"{name}/")


def test_an_attempt_in_which_all_is_old_goes_as_one() -> None:
    volume = Volume(
        Entry("spool", 1, type=2),
        Entry("spool/s/c1/runs/a/1/large.bin", 50),
        Entry("spool/s/c1/runs/a/1/artifacts/deep/b.bin", 60),
        Entry("spool/s/c1/runs/a/2/large.bin", 70),
        Entry("spool/s/c1/runs/b/1/large.bin", 150),
        Entry("spool/s/c1/runs/b/1/log.txt", 80),
    )

    assert volume.prune() == 40
    assert volume.removed == [
        "spool/s/c1/runs/a/1",
        "spool/s/c1/runs/a/2",
        "spool/s/c1/runs/b/1/log.txt",
    ]


def test_where_all_is_old_the_folders_that_sessions_share_stay() -> None:
    volume = Volume(
        Entry(".gpuexp/old.tar.gz", 50),
        Entry("spool/s/c1/records/r.1.yaml", 50),
        Entry("spool/s/c1/runs/a/1/large.bin", 50),
    )

    assert volume.prune() == 30
    assert volume.removed == [
        ".gpuexp/old.tar.gz",
        "spool/s/c1/records/r.1.yaml",
        "spool/s/c1/runs/a/1",
    ]


def test_what_a_session_sends_while_the_volume_is_listed_stays() -> None:
    old = [
        Entry(".gpuexp/again.tar.gz", 50),
        Entry(".gpuexp/old.tar.gz", 50),
        Entry("spool/s/c1/runs/a/1/large.bin", 50),
    ]
    sent = [
        Entry(".gpuexp/again.tar.gz", 150),
        Entry(".gpuexp/new.tar.gz", 150),
        Entry("spool/s/c1/runs/a/1/log.txt", 150),
    ]
    volume = Volume(*old, sent=sent)

    assert volume.prune() == 10
    assert volume.removed == [".gpuexp/old.tar.gz"]
    assert sent[0] in volume.held.values()


def test_what_another_has_removed_meanwhile_is_no_trouble() -> None:
    volume = Volume(Entry(".gpuexp/old.tar.gz", 50))

    def vanish(name: str) -> None:
        raise FileNotFoundError(name)

    assert volume_contents.remove_stale(volume.list, vanish, before=100.0) == 0


def test_reports_and_a_storage_on_the_same_volume_stay() -> None:
    volume = Volume(Entry("c1/results.yaml", 1), Entry("sweeps/c1/records/a.yaml", 1))

    assert volume.prune() == 0
    assert volume.removed == []
