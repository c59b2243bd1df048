"""A config that is resolved once, with marks where values that vary, and the seed, come to."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gpuexp import composition, configs
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import Plain

_OPEN, _CLOSE = "\ue000", "\ue001"  # of Unicode's private use
_EMPTY = ""  # no name of a parameter
_MARK = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")
_COMPUTES = re.compile(r"\$\{[^}]*(:|\$\{)")


def template(
    config: Mapping[str, Any], space: Mapping[str, Sequence[Plain]]
) -> dict[str, Any] | None:
    """Return ``config`` resolved once, with marks where values of ``space`` and the seed come to.

    That is right where interpolations but refer to values, and a value is one word. None where it
    is not, or where it fails: the errors are to tell of real values.
    """
    values = [value for axis in space.values() for value in axis]
    if not all(map(_is_word, values)) or any(map(_computes, _strings(config))):
        return None
    # Beside an empty text a mark would stand alone, as if it were no part of a text.
    begun = _mapped(config, lambda text: text or _mark(_EMPTY))
    marks = {name: _mark(name) for name in space}
    try:
        marked = composition.resolved({**begun, "seed": _mark("seed")}, marks)
    except UsageProblems:
        return None
    del marked["seed"]
    return marked


def places_of(name: str, template: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the dotted names of what ``name`` comes to."""
    mark = _mark(name)
    return tuple(one for one, value in configs.leaves(template) if mark in _texts(value))


def filling(
    template: Mapping[str, Any], folder: Path, problems: list[str]
) -> Callable[[Mapping[str, Plain], int], dict[str, Plain]]:
    """Put values in the place of marks."""
    names = {name: _MARK.findall(_texts(value)) for name, value in configs.leaves(template)}
    leaves = dict(configs.leaves(template))
    fixed = {name: value for name, value in leaves.items() if not names[name]}
    begun: dict[str, Plain] = {
        **dict.fromkeys(leaves),
        **configs.flat_parameters(fixed, folder, problems),
    }
    moving = [
        (name, list(dict.fromkeys(names[name])), _filler(name, value, folder, problems))
        for name, value in leaves.items()
        if names[name]
    ]

    def solve(chosen: Mapping[str, Plain], seed: int) -> dict[str, Plain]:
        given = {**chosen, "seed": seed, _EMPTY: ""}
        parameters = dict(begun)
        for name, needed, fill in moving:
            parameters[name] = fill(*[given[one] for one in needed])
        return parameters

    return solve


def _filler(name: str, value: object, folder: Path, problems: list[str]) -> Callable[..., Plain]:
    """Return what gives the leaf ``name`` for the values of its marks, in their order."""
    needed = list(dict.fromkeys(_MARK.findall(_texts(value))))

    @functools.lru_cache(maxsize=None, typed=True)
    def fill(*values: Plain) -> Plain:
        given = dict(zip(needed, values, strict=True))
        filled = _mapped(value, lambda text: _filled(text, given))
        return configs.flat_parameters({name: filled}, folder, problems).get(name)

    return fill


def _filled(text: str, given: Mapping[str, Plain]) -> Plain:
    if alone := _MARK.fullmatch(text):
        return given[alone[1]]
    return _MARK.sub(lambda found: str(given[found[1]]), text)


def _mapped(value: object, change: Callable[[str], Any]) -> Any:
    """Return ``value`` with each text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(one, change) for key, one in value.items()}
    return [_mapped(one, change) for one in value] if isinstance(value, (list, tuple)) else value


def _is_word(value: Plain) -> bool:
    if isinstance(value, str):
        return value != "???" and "${" not in value and _OPEN not in value
    return value is None or isinstance(value, (bool, int, float))


def _computes(text: str) -> bool:
    """Return whether ``text`` calls a resolver, or makes a reference out of a value."""
    return bool(_COMPUTES.search(text)) or _OPEN in text


def _mark(name: str) -> str:
    return f"{_OPEN}{name}{_CLOSE}"


def _texts(value: object) -> str:
    return "\n".join(_strings(value))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _strings(one)
