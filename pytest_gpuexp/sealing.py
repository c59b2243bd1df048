"""How a record shows that it is whole: its first line promises a last one, with the sha256."""

from __future__ import annotations

import hashlib

from pytest_gpuexp.errors import RecordInvalid

# Comments, so that any reader of YAML takes the file as it is.
HEAD = b"# a record of pytest-gpuexp; its last line is the sha256 of all before\n"
_TAIL = b"# sha256: "
_TAIL_BYTES = len(_TAIL) + 64 + 1


def sealed(record: bytes) -> bytes:
    """Return ``record`` between its two lines."""
    data = HEAD + record
    return data + _TAIL + hashlib.sha256(data).hexdigest().encode() + b"\n"


def check(data: bytes | str, place: str) -> None:
    """Refuse a record that promises a last line and has none, or another one.

    Records of earlier versions promise nothing.

    Raises:
        RecordInvalid: it is truncated, or was changed since it was written.
    """
    content = data.encode() if isinstance(data, str) else data
    if is_sealed(content) is False:
        raise RecordInvalid(
            f"{place}: it does not end with the sha256 of what it holds. The file is truncated or "
            "was edited by hand: mend it there and remove its first line, or delete it."
        )


def is_sealed(data: bytes) -> bool | None:
    """Return whether ``data`` is as it was written; None where it does not promise to tell."""
    if not data.startswith(HEAD):
        return None
    body, tail = data[:-_TAIL_BYTES], data[-_TAIL_BYTES:]
    return tail == _TAIL + hashlib.sha256(body).hexdigest().encode() + b"\n"
