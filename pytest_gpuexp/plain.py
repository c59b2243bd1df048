"""What a value becomes where only None, bools, numbers, strings, lists and mappings may stand."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any, cast

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import Plain

_AS_THEY_ARE: frozenset[type] = frozenset({int, float, bool, type(None)})


def plain(value: Any, *, place: str = "") -> Plain:
    """Return ``value`` made of None, bool, int, float, str, and lists and str-keyed dicts of these.

    Takes scalars of numpy and torch (shape ``()``), paths, enums (their value), tuples,
    dataclasses and mappings too. A lone surrogate, which UTF-8 cannot hold, becomes its escape.
    ``place`` is the path under which problems are named, as ``config.model``.

    Raises:
        UsageProblems: there are other types in it; every place is named.
    """
    problems: list[str] = []
    result = _plain(value, place, problems)
    if problems:
        raise UsageProblems("what is to be written", problems)
    return result


def _plain(value: Any, place: str, problems: list[str]) -> Plain:
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is str:
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if kind is list or kind is tuple:
        return [_plain(item, f"{place}[{index}]", problems) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return _plain_mapping(value, place, problems)
    for applies, convert in _CONVERSIONS:
        if applies(value):
            return _plain(convert(value), place, problems)
    problems.append(f"{place or 'top level'}: {_refusal(value)}")
    return None


def _plain_mapping(mapping: Mapping[Any, Any], place: str, problems: list[str]) -> dict[str, Plain]:
    result: dict[str, Plain] = {}
    for key, value in mapping.items():
        name = key.value if isinstance(key, Enum) else key
        if not isinstance(name, str):
            problems.append(f"{place or 'top level'}: the key {key!r} is not a str")
            continue
        name = _plain(name, place, problems)
        result[name] = _plain(value, f"{place}.{name}" if place else name, problems)
    return result


def _refusal(value: Any) -> str:
    kind = type(value).__qualname__
    if getattr(value, "shape", None):
        return f"{kind} of shape {tuple(value.shape)} is not a scalar; save it as an artifact"
    if isinstance(value, set | frozenset):
        return f"a {kind} has no order; write sorted(...)"
    return f"{kind} is not a str, a number, a bool, None, or a list or dict of these"


def _is_scalar(value: Any) -> bool:
    return getattr(value, "shape", None) == () and callable(getattr(value, "item", None))


def _item(value: Any) -> Any:
    item = value.item()
    # numpy's long double is its own item.
    return float(value) if type(item) is type(value) else item


def _is_record(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def _attributes(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _names(cast(Hashable, type(record)))}


@cache
def _names(record: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cast(Any, record)))


_CONVERSIONS: Sequence[tuple[Callable[[Any], bool], Callable[[Any], Any]]] = (
    (_is_record, _attributes),
    (lambda value: isinstance(value, Enum), lambda value: value.value),
    (lambda value: isinstance(value, str), str.__str__),
    (lambda value: isinstance(value, int), int.__int__),
    (lambda value: isinstance(value, float), float.__float__),
    (lambda value: isinstance(value, PurePath), str),
    (lambda value: isinstance(value, list | tuple), list),
    (_is_scalar, _item),
)
