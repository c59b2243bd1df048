"""An app that does what the tests of the server want to see; it stands alone, as a user's does."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import modal

image = (
    modal.Image.debian_slim()
    .apt_install("git")
    .uv_pip_install("numpy")
    .env({"TIER": "fast one", "EMPTY": ""})
)
app = modal.App("example", image=image)
volume = modal.Volume.from_name("example-results", create_if_missing=True)
secret = modal.Secret.from_name("example-secret", required_keys=["EXAMPLE_KEY"])


@app.function(gpu="A10", region="us-east", retries=modal.Retries(max_retries=2, initial_delay=0.0))
def double(number: int) -> int:
    print(f"doubling {number}")
    return 2 * number


@app.function()
def nap(seconds: float, mark: str = "") -> str:
    if mark:
        with open(mark, "a") as file:
            file.write(f"{os.environ['MODAL_TASK_ID']}\n")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.02)
    return os.environ["MODAL_TASK_ID"]


@app.function(timeout=1)
def overrun() -> None:
    time.sleep(30)


@app.function(secrets=[secret, modal.Secret.from_dict({"PLAIN": "value"})])
def environment() -> dict[str, str]:
    return dict(os.environ)


@app.function(volumes={"/results": volume})
def write(name: str, text: str, *, commit: bool) -> str:
    Path("/results", name).write_text(text)
    if commit:
        volume.commit()
    return os.environ["MODAL_TASK_ID"]


@app.function(volumes={"/results": volume})
def read(name: str, *, reload: bool) -> str | None:
    if reload:
        volume.reload()
    path = Path("/results", name)
    return path.read_text() if path.exists() else None


@app.function()
def look(folder: str) -> list[str]:
    return sorted(str(path) for path in Path(folder).iterdir())


@app.function(retries=modal.Retries(max_retries=3, initial_delay=0.0))
def flaky(mark: str, failures: int) -> int:
    with open(mark, "a") as file:
        file.write("once\n")
    times = len(Path(mark).read_text().splitlines())
    if times <= failures:
        raise ValueError(f"attempt {times} fails")
    return times


@app.function()
def die(code: int) -> None:
    print(f"leaving with {code}")
    os._exit(code)


@app.function()
def detach(mark: str) -> None:
    """Start a process that leaves the container's group, and stay."""
    words = ["sh", "-c", f"echo $$ > {mark}; exec sleep 60"]
    subprocess.Popen(words, start_new_session=True)
    time.sleep(60)


@app.function()
def carry_on(mark: str, seconds: float) -> str:
    """Say in a file that it began; an interrupt is noted there before it is obeyed."""
    path = Path(mark)
    if path.exists():
        return path.read_text()
    path.write_text("begun")
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.01)
    except KeyboardInterrupt:
        path.write_text("interrupted")
        raise
    return "never interrupted"


@app.function()
def inflate(size: int, padding: bytes = b"") -> bytes:
    return b"x" * (size + len(padding))


@app.function()
def count(number: int) -> Iterator[int]:
    yield from range(number)


@app.function(max_containers=2, scaledown_window=2)
@modal.concurrent(max_inputs=5)
async def together(seconds: float) -> str:
    import asyncio

    await asyncio.sleep(seconds)
    return os.environ["MODAL_TASK_ID"]


@app.function()
def exchange(queue: modal.Queue, table: modal.Dict) -> int:
    taken: int = queue.get(timeout=10) or 0
    table["taken"] = taken
    queue.put(taken + 1)
    return taken


@app.local_entrypoint()
def main(number: int = 3) -> None:
    print(f"the double of {number} is {double.remote(number)}")
