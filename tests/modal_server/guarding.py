"""Ends the containers of a server that died and was not followed by another.

``python -m tests.modal_server.guarding ROOT NUMBER GRACE`` reads its standard input, whose other
end the server holds: at its end the server is gone. Where ``ROOT/server.json`` names another server
within ``GRACE`` seconds, the containers are that one's.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tests.modal_server import ending


def main() -> None:
    root, number, grace = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    sys.stdin.buffer.read()
    until = time.monotonic() + grace
    while time.monotonic() < until and any(root.joinpath("pids").glob("*")):
        if _number(root) != number:
            return
        time.sleep(0.05)
    for file in root.joinpath("pids").glob("*"):
        ending.end(int(file.read_text()), file.name)
        file.unlink(missing_ok=True)


def _number(root: Path) -> str:
    try:
        return str(json.loads(root.joinpath("server.json").read_text())["number"])
    except (OSError, ValueError):
        return ""


if __name__ == "__main__":
    main()
