"""The warnings of a run as JSON values, between the processes of a session."""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Mapping

from pytest_gpuexp.records import Plain


def warning_to_plain(warned: warnings.WarningMessage) -> dict[str, Plain]:
    """Return what is shown of a warning: its message, its place, and Python's own category.

    A category that is not Python's own stands before the message: other processes, those of
    pytest-xdist too, may be unable to import it.
    """
    own = warned.category
    category = next(one for one in own.__mro__ if one.__module__ == builtins.__name__)
    named = "" if category is own else f"{own.__name__}: "
    return {
        "category": category.__name__,
        "message": f"{named}{warned.message}",
        "filename": warned.filename,
        "lineno": warned.lineno,
    }


def warning_from_plain(plain: Mapping[str, Plain]) -> warnings.WarningMessage:
    """Return a warning that shows as the one of ``plain``."""
    category: type[Warning] = getattr(builtins, plain["category"])
    return warnings.WarningMessage(
        category(plain["message"]), category, plain["filename"], plain["lineno"]
    )
