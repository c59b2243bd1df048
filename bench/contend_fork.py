"""Contender: bare `os.fork`, two children at a time, nothing sent back."""

from __future__ import annotations

import os

from bench.task import Body, from_command_line


def start(work: Body, seed: int) -> None:
    """Fork a child that does one run and leaves; its exit status is all that it says."""
    if os.fork() == 0:
        code = 1
        try:
            work(seed)
            code = 0
        finally:
            os._exit(code)


def reap() -> None:
    """Wait for any child, and stop everything if it failed."""
    _, status = os.wait()
    if status != 0:
        raise SystemExit(f"a child ended with status {status}")


if __name__ == "__main__":
    task = from_command_line()
    body = task.body()
    for number in range(task.runs):
        if number >= 2:
            reap()
        start(body, number)
    for _ in range(min(2, task.runs)):
        reap()
