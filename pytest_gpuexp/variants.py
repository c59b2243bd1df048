"""The parameters of each variant of one composed config."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gpuexp import composition, configs, templates
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import Plain

Parameters = dict[str, Plain]
_Solve = Callable[[Mapping[str, Plain], int], Parameters]
_Run = tuple[tuple[Plain, ...], int, Parameters, tuple[str, ...]]
_OfVariant = Callable[[Mapping[str, Plain]], tuple[list[Parameters], tuple[str, ...]]]
_MOST_FAILED = 100  # variants; what each alone cannot be told in a moment, and they are alike


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
    if (template := templates.template(config, space)) is None:
        resolve = _resolving(config, folder, problems)
        if "seed" in repr(written):
            return _comparing(resolve, seeds, problems)
        return _for_each(resolve, seeds, ())
    # What varies is no text with the seed in it here: a name of ``space`` is never among them.
    fill = templates.filling(template, folder, problems)
    return _for_each(fill, seeds, templates.places_of("seed", template))


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


def _prefixes(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:count]) for count in range(1, len(words))]
