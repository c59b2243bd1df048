"""How a value reads on a screen: numbers, spreads, times, names."""

from __future__ import annotations

import math
import unicodedata


def number(value: float) -> str:
    """Return ``value`` with four significant digits; whole numbers below ten million whole."""
    if not math.isfinite(value):
        return str(float(value))
    size = abs(value)
    if value == int(value) and size < 1e7:
        return str(int(value))
    if not 1e-4 <= size < 1e7:
        return f"{value:.4g}"
    text = f"{value:.{max(0, 3 - _exponent(size))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def spread(mean: float, std: float, *, plus_minus: str = "±") -> str:
    """Return ``mean ± std``: ``std`` to two significant digits, ``mean`` to the same place.

    A ``std`` that is not finite (one replicate has none) is left out.
    """
    if not (math.isfinite(std) and math.isfinite(mean)):
        return number(mean)
    if std == 0:
        return f"{number(mean)} {plus_minus} 0"
    rounded = float(f"{std:.1e}")  # 0.0996 becomes 0.10, whose place is one higher
    size = max(abs(mean), rounded)
    apart = f"{number(mean)} {plus_minus} {std:.1e}"  # each on its own, where they are far apart
    if not 1e-300 < rounded <= size < 1e300:
        return apart
    place = 1 - _exponent(rounded)
    if 1e-4 <= size < 1e7:
        digits = max(0, place)
        shown = f"{round(mean, place):.{digits}f} {plus_minus} {rounded:.{digits}f}"
        return shown if place <= 8 else apart
    exponent = _exponent(size)
    digits, scale = max(0, place + exponent), 10.0**exponent
    shown = f"({mean / scale:.{digits}f} {plus_minus} {rounded / scale:.{digits}f})e{exponent}"
    return shown if digits <= 8 else apart


def duration(seconds: float) -> str:
    """Return how long a run took, as ``1.3s``, ``2m 05s`` or ``1h 02m``."""
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def elapsed(seconds: float) -> str:
    """Return ``seconds`` as ``h:mm:ss``."""
    whole = max(0, int(seconds))
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def clean(text: str) -> str:
    """Return ``text`` on one line, without characters that could move a terminal's cursor."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in text)


def first_line(text: str) -> str:
    """Return the first line of ``text`` that is not blank, cleaned; "" where there is none."""
    return next((clean(line).strip() for line in text.splitlines() if line.strip()), "")


def cells(text: str) -> int:
    """Return how many columns ``text`` takes in a terminal."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def shorten(text: str, width: int, *, ellipsis: str = "…") -> str:
    """Return ``text`` in at most ``width`` columns; what is cut is cut from the middle."""
    if cells(text) <= width:
        return text
    keep = max(0, width - cells(ellipsis))
    head = _take(text, keep // 2)
    tail = _take(text[::-1], keep - cells(head))[::-1]
    return _take(f"{head}{ellipsis}{tail}", width)


def cut(text: str, width: int, *, ellipsis: str = "…") -> str:
    """Return ``text`` in at most ``width`` columns; what is cut is cut from its end."""
    if cells(text) <= width:
        return text
    return _take(_take(text, max(0, width - cells(ellipsis))) + ellipsis, width)


def pad(text: str, width: int) -> str:
    """Return ``text`` followed by spaces up to ``width`` columns."""
    return text + " " * (width - cells(text))


def fold(text: str, width: int) -> list[str]:
    """Return ``text`` in pieces of at most ``width`` columns, broken after "-" where it can be.

    A wide character may exceed a width of one.
    """
    pieces = []
    while cells(text) > width:
        piece = _take(text, width) or text[:1]
        piece = piece[: piece.rfind("-") + 1] or piece
        pieces.append(piece)
        text = text[len(piece) :]
    return [*pieces, text] if text or not pieces else pieces


def wrap(text: str, width: int) -> list[str]:
    """Return ``text`` in lines of at most ``width`` columns, broken at spaces where it can be."""
    lines = [""]
    for word in text.split():
        for piece in fold(word, width):
            joined = f"{lines[-1]} {piece}" if lines[-1] else piece
            if cells(joined) <= width:
                lines[-1] = joined
            else:
                lines.append(piece)
    return lines


def _take(text: str, width: int) -> str:
    taken = 0
    for index, character in enumerate(text):
        taken += _cells_of(character)
        if taken > width:
            return text[:index]
    return text


def _cells_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("F", "W") else 1


def _exponent(size: float) -> int:
    return int(f"{size:.3e}".partition("e")[2])
