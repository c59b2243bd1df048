"""What Modal's errors mean for an attempt, and what to do about those that stop a session."""

from __future__ import annotations

import asyncio
import re

from pytest_gpuexp.project import SECRET_KEYS
from pytest_gpuexp.records import Status

_KEPT_DAYS = 7


def ending_of(
    error: BaseException, *, cancelled: bool, timeout_seconds: float | None
) -> tuple[Status, str, str]:
    """Return status, type and message of an attempt whose call raised ``error``."""
    import modal.exception as told

    kind, text = type(error).__name__, " ".join(str(error).split())
    if cancelled or isinstance(error, asyncio.CancelledError):
        return "cancelled", "Cancelled", "the session was interrupted"
    if isinstance(error, told.FunctionTimeoutError):
        limit = "its limit" if timeout_seconds is None else f"{timeout_seconds:g} s"
        return "timeout", kind, f"Modal ended the call, which had not ended itself after {limit}"
    if isinstance(error, told.OutputExpiredError):
        return (
            "lost",
            kind,
            (f"Modal keeps results for {_KEPT_DAYS} days, and this one is gone. Run it again."),
        )
    if isinstance(error, told.NotFoundError):
        return "lost", kind, f"Modal does not know the call ({text}). Run it again."
    if re.search(r"(?i)out of memory|\boom\b|memory limit", text):
        return "oom", kind, f"{text}. Ask for more memory, or a larger tier with --gpu."
    if isinstance(error, told.InternalFailure) or "crash" in text.lower():
        return (
            "failed",
            kind,
            (
                f"the container ended again and again before it could reply: {text}. "
                "See its log with: modal app logs"
            ),
        )
    return "failed", kind, f"{text or kind} (raised outside the handler; see the log on Modal)"


def is_final(error: BaseException) -> bool:
    """Return whether ``error`` is how a call ended; all else says that we could not ask.

    A container's own errors come as their replies (``in_container``), or as these.
    """
    import grpclib.exceptions
    import modal.exception as told

    ends = (
        told.FunctionTimeoutError,
        told.OutputExpiredError,
        told.NotFoundError,
        told.RemoteError,
        told.InternalFailure,
        asyncio.CancelledError,
    )
    asked = (told.Error, OSError, grpclib.exceptions.StreamTerminatedError, TimeoutError)
    return isinstance(error, ends) or not isinstance(error, asked)


def is_refusal(error: BaseException) -> bool:
    """Return whether Modal would say the same however often it is asked."""
    import modal.exception as told

    refusals = (
        told.AuthError,
        told.InvalidError,
        told.PermissionDeniedError,
        told.RequestSizeError,
        told.UnimplementedError,
        told.VersionError,
    )
    if isinstance(error, told.ConflictError):  # ABORTED: another request was first
        return False
    # An app that has ended meanwhile has functions that are "not hydrated".
    is_over = isinstance(error, told.ExecutionError) and "hydrated" in str(error)
    return is_over or isinstance(error, refusals)


def unusable(error: BaseException, *, app: str, environment: str | None, url: str) -> str:
    """Return why a session cannot use Modal, and the way out, for an error met before any run."""
    import modal.exception as told

    text = " ".join(str(error).split())
    where = f" in environment {environment!r}" if environment else ""
    if isinstance(error, told.AuthError):
        return (
            f"Modal refused the token, or found none: {text}. Make one with: modal token new, or "
            "set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET."
        )
    if isinstance(error, told.NotFoundError):
        return (
            f"Modal app not deployed: there is no {app!r}{where} ({text}). "
            "Deploy it with: gpuexp deploy (or make modal-deploy, or mise run modal-deploy)"
        )
    if isinstance(error, told.VersionError):
        return f"Modal no longer takes this client: {text}. Upgrade with: pip install -U modal"
    if isinstance(error, told.PermissionDeniedError):
        return f"Modal does not let this token use {app!r}{where}: {text}."
    return (
        f"Modal cannot be reached at {url}: {type(error).__name__}: {text}. Look at the network, "
        "and at https://status.modal.com."
    )


def undeployable(error: BaseException) -> str:
    """Return why an app could not be deployed, and the way out."""
    text = " ".join(str(error).split())
    groups = [name for name in SECRET_KEYS if name in text]
    if groups or "secret" in text.lower():
        told = " and ".join(groups) or "a secret group"
        return (
            f"secrets not found: {text}. Create {told} with: gpuexp secrets, or leave it out with "
            "secrets = [] under [tool.gpuexp.modal] of pyproject.toml."
        )
    return f"the app could not be deployed: {type(error).__name__}: {text}"
