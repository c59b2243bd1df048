"""The parameters of each variant of one composed config."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gpuexp import composition, configs
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import Plain

Parameters = dict[str, Plain]
_Solve = Callable[[Mapping[str, Plain], int], Parameters]
_Run = tuple[tuple[Plain, ...], int, Parameters, tuple[str, ...]]
_OfVariant = Callable[[Mapping[str, Plain]], tuple[list[Parameters], tuple[str, ...]]]
_MOST_FAILED = 100  # variants; what each alone cannot be told in a moment, and they are alike
_OPEN, _CLOSE = "\ue000", "\ue001"  # of Unicode's private use
_EMPTY = ""  # no name of a parameter
_MARK = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")
_COMPUTES = re.compile(r"\$\{[^}]*(:|\$\{)")


def variants(
    config: Mapping[str, Any],
    space: Mapping[str, Sequence[Plain]],
    seeds: Sequence[int],
    folder: Path,
    problems: list[str],
) -> Iterator[_Run]:
    """Yield the values of ``space``, the seed, and all parameters of each run; seeds fastest.

    Last are the names of the parameters that are made of the seed in this variant. ``config`` may
    have interpolations; they see the values and ``${seed}``. Runs that differ in the seed alone
    share their parameters' dict where no interpolation asks for the seed.
    ``folder`` is the project's. ``problems`` gets what no worker could be given.
    """
    problems += _inside_of_values(config, space)
    failed = 0
    of_variant = _way(config, space, seeds, folder, problems)
    for values in itertools.product(*space.values()):
        before = len(problems)
        found, seeded = of_variant(dict(zip(space, values, strict=True)))
        for seed, parameters in zip(seeds, found, strict=True):
            yield values, seed, parameters, seeded
        failed += len(problems) > before
        if failed == _MOST_FAILED:
            return


def _way(
    config: Mapping[str, Any],
    space: Mapping[str, Sequence[Plain]],
    seeds: Sequence[int],
    folder: Path,
    problems: list[str],
) -> _OfVariant:
    """Return what gives the parameters of a variant, a seed each, and those that seeds change."""
    written = [config, *space.values()]
    if not composition.interpolates(written):
        _check(space, folder, problems)
        return _for_each(_overriding(config, folder, problems), seeds, ())
    if (marked := _marked(config, space)) is None:
        resolve = _resolving(config, folder, problems)
        if "seed" in repr(written):
            return _comparing(resolve, seeds, problems)
        return _for_each(resolve, seeds, ())
    # What varies is no text with the seed in it here: a name of ``space`` is never among them.
    seeded = [name for name, value in configs.leaves(marked) if _mark("seed") in _texts(value)]
    return _for_each(_filling(marked, folder, problems), seeds, tuple(seeded))


def _for_each(solve: _Solve, seeds: Sequence[int], seeded: tuple[str, ...]) -> _OfVariant:
    """Solve a variant for each seed, or once where no seed changes anything."""

    def of_variant(chosen: Mapping[str, Plain]) -> tuple[list[Parameters], tuple[str, ...]]:
        if not seeded:
            return [solve(chosen, seeds[0])] * len(seeds), ()
        return [solve(chosen, seed) for seed in seeds], seeded

    return of_variant


def _comparing(solve: _Solve, seeds: Sequence[int], problems: list[str]) -> _OfVariant:
    """Find out in each variant what seeds change; one seed is compared with another one."""

    def of_variant(chosen: Mapping[str, Plain]) -> tuple[list[Parameters], tuple[str, ...]]:
        found = [solve(chosen, seed) for seed in seeds]
        known = len(problems)
        more = found if len(seeds) > 1 else [*found, solve(chosen, seeds[0] ^ 1)]
        del problems[known:]  # of a seed that nobody asked for
        first, *others = [one for one in more if one] or [{}]  # one that failed has none
        names = dict.fromkeys(name for one in (first, *others) for name in one)
        # A name that some seed lacks has moved, too; no parameter is "???".
        moved = [
            n for n in names if any(first.get(n, "???") != one.get(n, "???") for one in others)
        ]
        return found, tuple(moved)

    return of_variant


def _inside_of_values(config: Mapping[str, Any], space: Mapping[str, Sequence[Plain]]) -> list[str]:
    """Return a problem for each name of ``space`` that would be inside of a single value."""
    leaves = dict(configs.leaves(config))
    return [
        f"{name}: {group} is {leaves[group]!r}, which has nothing in it"
        for name in space
        for group in _prefixes(name)
        if group in leaves and leaves[group] != {}
    ]


def _check(space: Mapping[str, Sequence[Plain]], folder: Path, problems: list[str]) -> None:
    for name, values in space.items():
        for value in values:
            configs.flat_parameters({name: value}, folder, problems)


def _overriding(config: Mapping[str, Any], folder: Path, problems: list[str]) -> _Solve:
    fixed = configs.flat_parameters(config, folder, problems)

    def solve(chosen: Mapping[str, Plain], _: int) -> Parameters:
        merged = dict(fixed)
        for name, value in chosen.items():
            if name not in merged:
                for inside in [one for one in merged if one.startswith(f"{name}.")]:
                    del merged[inside]
            merged[name] = value
        return merged

    return solve


def _resolving(config: Mapping[str, Any], folder: Path, problems: list[str]) -> _Solve:
    """Let OmegaConf resolve each variant alone: right for all, and a millisecond or more each."""

    def solve(chosen: Mapping[str, Plain], seed: int) -> Parameters:
        try:
            made = composition.resolved({**config, "seed": seed}, chosen)
        except UsageProblems as error:
            problems.extend(error.problems)
            return {}
        made.pop("seed", None)
        return configs.flat_parameters(made, folder, problems)

    return solve


def _marked(
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


def _filling(marked: Mapping[str, Any], folder: Path, problems: list[str]) -> _Solve:
    """Put values in the place of marks."""
    names = {name: _MARK.findall(_texts(value)) for name, value in configs.leaves(marked)}
    leaves = dict(configs.leaves(marked))
    fixed = {name: value for name, value in leaves.items() if not names[name]}
    begun: Parameters = {
        **dict.fromkeys(leaves),
        **configs.flat_parameters(fixed, folder, problems),
    }
    moving = [
        (name, list(dict.fromkeys(names[name])), _filler(name, value, folder, problems))
        for name, value in leaves.items()
        if names[name]
    ]

    def solve(chosen: Mapping[str, Plain], seed: int) -> Parameters:
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


def _prefixes(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:count]) for count in range(1, len(words))]
