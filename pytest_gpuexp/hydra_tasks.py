"""Functions that are the task of a Hydra app, as handlers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pytest_gpuexp import composition, returns

NAMES = ("config", "cfg")  # the arguments that get the whole config
RETURN_VALUE = "return_value"  # the metric for a number that a task returns
_TASK = "__gpuexp_hydra_task__"
_RUNNER: ContextVar[Any] = ContextVar("gpuexp_runner", default=None)


def unwrapped(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function beneath ``@hydra.main``, which would read this process's arguments."""
    if getattr(handler, "__globals__", {}).get("__name__") != "hydra.main":
        return handler
    task: Callable[..., Any] = inspect.unwrap(handler)
    setattr(task, _TASK, True)
    return task


def configs(handler: Callable[..., Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole config by the names that it goes by, for a task one of OmegaConf's."""
    if _is_task(handler):
        made = composition.as_omegaconf(config)
        first = next(iter(inspect.signature(handler).parameters), NAMES[0])
        return {**dict.fromkeys(NAMES, made), first: made}
    return dict.fromkeys(NAMES, config)


def returned(handler: Callable[..., Any], value: Any) -> Any:
    """Return what a handler would have returned: of a task, a number is a metric."""
    if not _is_task(handler) or isinstance(value, Mapping):
        return value
    number = returns.plain_scalar(value)
    return None if number is None else {"metrics": {RETURN_VALUE: number}}


@contextmanager
def running(handler: Callable[..., Any], runner: object) -> Iterator[None]:
    """Let what a task calls find the ``runner`` of its run; a handler is given its own."""
    token = _RUNNER.set(runner if _is_task(handler) else None)
    try:
        yield
    finally:
        _RUNNER.reset(token)


def current_runner() -> Any:
    """Return the runner of the run whose task this is called in; None outside of any."""
    return _RUNNER.get()


def _is_task(handler: Callable[..., Any]) -> bool:
    return bool(getattr(handler, _TASK, False))
