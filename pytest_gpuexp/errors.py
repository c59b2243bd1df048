"""Every error that a user can meet: what happened, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class GpuexpError(Exception):
    """The root of all errors that this package raises on purpose."""


class UsageProblems(GpuexpError):
    """What the user wrote cannot be run; every problem found is told at once."""

    def __init__(self, subject: str, problems: Sequence[str]) -> None:
        """Join ``problems`` under ``subject``, the place to mend (a node id, an option)."""
        self.subject = subject
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{subject}: {count}: " + "; ".join(self.problems))


class BackendUnavailable(GpuexpError):
    """The backend cannot take runs at all; nothing was submitted."""


class StorageError(GpuexpError):
    """The storage refused or lost a write, or holds something that cannot be read."""


class ObjectDamaged(StorageError):
    """What the storage holds under a name is not what was sent there."""


class NameRefused(StorageError):
    """A worker sent a file whose name leads out of the folder of its attempt."""


class RecordExists(StorageError):
    """Another writer has already committed this record; the first one stands."""


class RecordInvalid(StorageError):
    """A record file is truncated, of an unknown version, or has unknown keys."""


class HandlerReturnInvalid(GpuexpError):
    """A handler returned something that the report has no place for; what was valid is kept."""


class WorkerMayNotDispatch(GpuexpError):
    """A worker was about to start workers of its own, which would never end."""
