"""Call the bare app N times and print seconds: ``python -m bench.modal_gather gather|map N``."""

from __future__ import annotations

import asyncio
import sys
import time

import modal

_AT_ONCE = 64


async def gather(function: modal.Function, count: int) -> None:
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        async with room:
            call = await function.spawn.aio(number)
            assert await call.get.aio() == number

    await asyncio.gather(*(one(number) for number in range(count)))


def main() -> None:
    how, count = sys.argv[1], int(sys.argv[2])
    function = modal.Function.from_name("bare", "nothing")
    function.remote(0)  # the container is warm, as it is for everybody in this comparison
    began = time.perf_counter()
    if how == "map":
        assert len(list(function.map(range(count)))) == count
    else:
        asyncio.run(gather(function, count))
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
