"""What Modal's errors mean, and the way out of each."""

from __future__ import annotations

import asyncio

import modal.exception as told
import pytest

from pytest_gpuexp.backends import modal_failures


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
    ("error", "final"),
    [
        (told.ConnectionError("gone"), False),
        (ConnectionRefusedError(), False),
        (told.ServiceError("unavailable"), False),
        (told.ResourceExhaustedError("slow down"), False),
        (told.ExecutionError("Request failed with status 500"), False),
        (told.InternalError("x"), False),
        (told.AuthError("x"), False),
        (TimeoutError(), False),
        (told.NotFoundError("x"), True),
        (told.FunctionTimeoutError("x"), True),
        (told.RemoteError("x"), True),
        (ValueError("raised while the container imported the app"), True),
    ],
)
def test_a_call_has_ended_only_where_modal_says_so(error: BaseException, final: bool) -> None:
    assert modal_failures.is_final(error) is final


def test_what_modal_refuses_once_it_is_not_asked_again() -> None:
    assert modal_failures.is_refusal(told.AuthError("Token revoked"))
    assert modal_failures.is_refusal(told.InvalidError("Function has no such option"))
    assert modal_failures.is_refusal(told.ExecutionError("Function has not been hydrated with"))
    assert not modal_failures.is_refusal(told.ExecutionError("Request failed with status 500"))
    assert not modal_failures.is_refusal(OSError("the cable was not hydrated"))
    assert not modal_failures.is_refusal(told.ConflictError("another request was first"))
    assert not modal_failures.is_refusal(told.ResourceExhaustedError("slow down"))


@pytest.mark.parametrize("text", ["Classroom full", "BloomForCausalLM failed"])
def test_a_word_that_holds_oom_is_no_memory_error(text: str) -> None:
    ending = modal_failures.ending_of(told.RemoteError(text), cancelled=False, timeout_seconds=None)

    assert ending[0] == "failed"
