"""What the value of a parameter or of a seed may be."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import islice
from pathlib import PurePath

from pytest_gpuexp.errors import GpuexpError
from pytest_gpuexp.records import Plain

MOST_VALUES = 1_000_000  # of an axis, and of points in a sweep; an endless iterator stops here
_DEEPEST = 32
_WIDEST_INT = 1024  # bits; Python refuses to print integers of more than 4300 digits
_SMALL = 2**63
_SEED_LIMIT = 2**32  # numpy.random.seed takes no more


class NotPlain(GpuexpError):
    """A value that no record could hold; the message says why, and what to write instead."""


def make_plain(value: object) -> Plain:
    """Return ``value`` as None, bool, int, float, str, or a list or str-keyed dict of these.

    Tuples become lists; numpy scalars and tensors of shape () become Python's numbers.

    Raises:
        NotPlain: it is something else, NaN included, which is not equal even to itself.
    """
    return _plain(value, 0)


def describe(value: object) -> str:
    """Return ``value`` for an error message: its repr on one short line, and its type."""
    text = " ".join(reprlib.repr(value).split())
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def read_values(label: str, written: object) -> tuple[list[Plain], list[str]]:
    """Return the plain values of an axis, in order, and the problems found in them.

    ``label`` names the axis in the problems. A value that is refused leaves None in its place, so
    that lengths stay comparable.
    """
    items, problem = read_items(written)
    if problem:
        return [], [f"{label} {problem}"]
    problems: list[str] = []
    return [read_value(label, item, problems) for item in items], problems


def read_value(label: str, written: object, problems: list[str]) -> Plain:
    """Return ``written`` made plain; where it is refused None, and one of ``problems`` more."""
    try:
        return _plain(written, 0)
    except NotPlain as refused:
        problems.append(f"{label}: value {describe(written)} cannot be a parameter: {refused}")
        return None


def read_seeds(label: str, written: object) -> tuple[tuple[int, ...], list[str]]:
    """Return the seeds that ``written`` means, a count or the seeds themselves, and the problems.

    A count ``n`` means 0 .. n-1. Seeds are integers from 0 to 2**32 - 1, which is what numpy takes.
    """
    count = _int(written)
    if count is not None:
        if 1 <= count <= MOST_VALUES:
            return tuple(range(count)), []
        return (), [f"{label}: {count} is no count of seeds; write 1 to {MOST_VALUES:,}"]
    items, problem = read_items(written)
    if problem:
        return (), [f"{label} {problem}"]
    seeds: dict[int, None] = {}
    problems = []
    for item in items:
        seed = _int(item)
        if seed is None:
            problems.append(f"{label}: {describe(item)} is not an int")
        elif not 0 <= seed < _SEED_LIMIT:
            problems.append(f"{label}: {seed} is out of range; numpy takes 0 to 2**32 - 1")
        elif seed in seeds:
            problems.append(f"{label}: {seed} is given twice")
        else:
            seeds[seed] = None
    return tuple(seeds), problems


def read_items(written: object) -> tuple[list[object], str | None]:
    """Return the members of a list, or why it is none, as the end of a sentence."""
    if isinstance(written, (set, frozenset)):
        return [], f"is {describe(written)}, which has no order; write a list"
    if isinstance(written, (str, bytes, Mapping)) or not isinstance(written, Iterable):
        return [], f"is {describe(written)}, not a list of values; write [{reprlib.repr(written)}]"
    try:
        items = list(islice(written, MOST_VALUES + 1))
    except TypeError:  # numpy arrays and tensors of shape () look iterable and are not
        return [], f"is {describe(written)}, not a list of values; write [{reprlib.repr(written)}]"
    if not items:
        return [], "is empty; give it at least one value, or leave it out"
    if len(items) > MOST_VALUES:
        return [], f"has more than {MOST_VALUES:,} values; is it endless?"
    return items, None


def _int(value: object) -> int | None:
    try:
        plain = _plain(value, 0)
    except NotPlain:
        return None
    return plain if type(plain) is int else None


def _plain(value: Plain, depth: int) -> Plain:
    kind = type(value)
    if kind is bool or value is None or (kind is int and -_SMALL < value < _SMALL):
        return value
    if kind is int or kind is float or kind is str:
        return _scalar(value)
    if depth > _DEEPEST:
        raise NotPlain(f"it is nested more than {_DEEPEST} deep")
    if getattr(value, "shape", None) == () and hasattr(value, "dtype"):
        return _plain(_unboxed(value), depth + 1)
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (int, float, str)) and not isinstance(value, Enum):
        return _scalar(_without_subclass(value))
    raise NotPlain(_advice(value))


def _unboxed(value: Plain) -> object:
    """Return the Python number in a numpy scalar, or in an array or a tensor of shape ()."""
    item: object = value.item()
    if type(item) is type(value):  # numpy.longdouble gives itself, for ever
        raise NotPlain("Python has no number as wide; write float(...)")
    return item


def _scalar(value: float | str) -> Plain:
    if isinstance(value, float):
        if math.isnan(value):
            raise NotPlain("NaN is not equal even to itself; write None where nothing is meant")
    elif isinstance(value, int):
        if value.bit_length() > _WIDEST_INT:
            raise NotPlain(f"it is wider than {_WIDEST_INT} bits; write it as a str")
    elif not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotPlain("it is not valid Unicode, so no file could hold it") from None
    return value


def _key(key: object) -> str:
    if type(key) is not str:
        raise NotPlain(f"the key {describe(key)} is not a str; write str keys")
    return str(_scalar(key))


def _without_subclass(value: float | str) -> float | str:
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str.__str__(str(value))


def _advice(value: object) -> str:
    if isinstance(value, (set, frozenset)):
        return "a set has no order; write a list"
    if isinstance(value, PurePath):
        return "paths differ between machines; write str(path)"
    if isinstance(value, Enum):
        return "write its .value or .name"
    if isinstance(value, (bytes, bytearray)):
        return "write a str"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return "arrays do not fit into a report; write .tolist(), or a name to load it by"
    if callable(value):
        return "code does not fit into a report; write a name, and look it up in the handler"
    return "write None, bool, int, float, str, or lists and dicts of these"
