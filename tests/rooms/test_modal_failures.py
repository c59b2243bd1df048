"""What Modal's errors mean, and the way out of each."""

from __future__ import annotations

import asyncio

import modal.exception as told
import pytest

from pytest_gpuexp.backends import modal_failures
from pytest_gpuexp.backends.modal_calls import is_away


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (
            told.FunctionTimeoutError("Task's current input hit its timeout"),
            "timeout",
            "after 60 s",
        ),
        (told.OutputExpiredError(), "lost", "Modal keeps results for 7 days"),
        (told.NotFoundError("no such call"), "lost", "Run it again"),
        (told.RemoteError("Container was killed: out of memory"), "oom", "larger tier with --gpu"),
        (told.InternalFailure("crash loop"), "failed", "again and again"),
        (told.RemoteError("container crashed"), "failed", "modal app logs"),
        (ImportError("no module named x"), "failed", "no module named x"),
        (asyncio.CancelledError(), "cancelled", "interrupted"),
    ],
)
def test_each_error_of_a_call_has_its_status(error: BaseException, status: str, says: str) -> None:
    found, _, message = modal_failures.ending_of(error, cancelled=False, timeout_seconds=60.0)

    assert found == status
    assert says in message


def test_what_was_cancelled_is_cancelled_whatever_came_of_it() -> None:
    ending = modal_failures.ending_of(
        told.RemoteError("terminated"), cancelled=True, timeout_seconds=None
    )

    assert ending[0] == "cancelled"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (told.AuthError("Token missing"), "modal token new"),
        (
            told.NotFoundError("App 'x'"),
            "Modal app not deployed: there is no 'x' in environment 'e'",
        ),
        (told.VersionError("too old"), "pip install -U modal"),
        (told.PermissionDeniedError("no"), "does not let this token use 'x'"),
        (told.ConnectionError("refused"), "cannot be reached at http://m"),
    ],
)
def test_each_error_before_a_run_says_the_way_out(error: BaseException, says: str) -> None:
    assert says in modal_failures.unusable(error, app="x", environment="e", url="http://m")


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (told.ConnectionError("gone"), True),
        (ConnectionRefusedError(), True),
        (told.ServiceError("unavailable"), True),
        (told.NotFoundError("x"), False),
        (told.FunctionTimeoutError("x"), False),
        (TimeoutError(), False),
        (ValueError("x"), False),
    ],
)
def test_what_is_tried_again_is_what_nobody_heard(error: BaseException, away: bool) -> None:
    assert is_away(error) is away
