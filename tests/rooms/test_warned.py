"""The warnings of a run as JSON values, between the processes of a session."""

from __future__ import annotations

import json
import warnings

import pytest

from pytest_gpuexp.warned import warning_from_plain, warning_to_plain


class OddWarning(UserWarning):
    """A category that another process may not know."""


@pytest.mark.parametrize(
    ("category", "told"),
    [
        (UserWarning, "UserWarning: brittle"),
        (DeprecationWarning, "DeprecationWarning: brittle"),
        (OddWarning, "UserWarning: OddWarning: brittle"),
        (Warning, "Warning: brittle"),
    ],
)
def test_a_warning_shows_the_same_in_another_process(category: type[Warning], told: str) -> None:
    given = warnings.WarningMessage(category("brittle"), category, "exp_x.py", 7)

    read = warning_from_plain(json.loads(json.dumps(warning_to_plain(given))))

    shown = warnings.formatwarning(str(read.message), read.category, read.filename, read.lineno, "")
    assert shown == f"exp_x.py:7: {told}\n"
