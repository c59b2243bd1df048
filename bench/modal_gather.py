"""Call the bare app N times and print seconds: ``python -m bench.modal_gather HOW N``.

``gather`` and ``map`` keep 64 calls in flight, ``one`` makes one after the other.
"""

from __future__ import annotations

import asyncio
import sys
import time

import modal

_AT_ONCE = 64


async def gather(function: modal.Function[..., int, int], count: int, at_once: int) -> None:
    room = asyncio.Semaphore(at_once)

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
        asyncio.run(gather(function, count, 1 if how == "one" else _AT_ONCE))
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
