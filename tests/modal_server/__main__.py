"""Runs a server until SIGTERM, then ends its containers too."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from tests.modal_server import holdings as holding
from tests.modal_server import serving


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.modal_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="gRPC; 0 takes a free one")
    parser.add_argument("--control-port", type=int, default=0, help="faults and blobs, by HTTP")
    parser.add_argument(
        "--root", type=Path, required=True, help="all state; server.json says the ports"
    )
    parser.add_argument("--max-containers", type=int, default=8)
    parser.add_argument("--token-id", default="ak-test")
    parser.add_argument("--token-secret", default="as-test")
    parser.add_argument(
        "--grace", type=float, default=5.0, help="seconds to follow a killed server"
    )
    parser.add_argument("--preemption-grace", type=float, default=30.0, help="seconds to SIGKILL")
    parser.add_argument("--pass-env", action="append", default=[], help="a variable for containers")
    given = vars(parser.parse_args())
    given["root"] = given["root"].resolve()
    given["pass_env"] = tuple(given["pass_env"])
    settings = holding.Settings(**given)
    again = asyncio.run(serve(settings))
    if again:
        words = [
            *sys.argv[1:],
            f"--port={settings.port}",
            f"--control-port={settings.control_port}",
        ]
        os.execv(sys.executable, [sys.executable, "-m", "tests.modal_server", *words])


async def serve(settings: holding.Settings) -> bool:
    """Serve; return whether to begin anew."""
    return await serving.House(settings).run()


if __name__ == "__main__":
    main()
