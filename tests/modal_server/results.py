"""The results that the server itself gives an input."""

from __future__ import annotations

import time

from modal_proto import api_pb2

from tests.modal_server import world

_Status = api_pb2.GenericResult
SUCCESS = _Status.GENERIC_STATUS_SUCCESS
FAILURE = _Status.GENERIC_STATUS_FAILURE
TERMINATED = _Status.GENERIC_STATUS_TERMINATED
TIMEOUT = _Status.GENERIC_STATUS_TIMEOUT
CRASHED = _Status.GENERIC_STATUS_INTERNAL_FAILURE
OUT_OF_MEMORY = _Status.GENERIC_STATUS_KERNEL_OOM_KILL


def cancelled() -> api_pb2.GenericResult:
    """Return the result of an input that was cancelled."""
    return api_pb2.GenericResult(status=TERMINATED, exception="Input was cancelled by user.")


def stopped() -> api_pb2.GenericResult:
    """Return the result of an input whose app was stopped."""
    return api_pb2.GenericResult(status=TERMINATED, exception="The app was stopped.")


def timed_out(each: world.Input, seconds: float) -> api_pb2.GenericResult:
    """Return the result of an input that ran for too long."""
    text = f"Task's current input in {each.input_id} hit its timeout of {seconds:g}s"
    return api_pb2.GenericResult(status=TIMEOUT, exception=text)


def crashed(code: int | None, times: int, last_words: str) -> api_pb2.GenericResult:
    """Return the result of an input whose containers have exited by themselves."""
    text = f"Function container exited {times} times in a row, the last with code {code}"
    text += f", and said last: {last_words.strip() or 'nothing'}"
    return api_pb2.GenericResult(status=CRASHED, exception=text)


def out_of_memory() -> api_pb2.GenericResult:
    """Return the result of an input whose container was killed for its memory."""
    text = "Container was killed by the kernel: it ran out of memory (OOM)."
    return api_pb2.GenericResult(status=OUT_OF_MEMORY, exception=text, exitcode=137)


def item(each: world.Input, result: api_pb2.GenericResult) -> api_pb2.FunctionGetOutputsItem:
    """Return ``result`` in the form in which a client gets it.

    Its retry count is 0: a client ignores what is of another attempt than its own, and the retries
    are the server's.
    """
    return api_pb2.FunctionGetOutputsItem(
        result=result,
        idx=each.idx,
        input_id=each.input_id,
        task_id=each.task_id,
        input_started_at=each.started_at,
        output_created_at=time.time(),
    )
