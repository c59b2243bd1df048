"""Every point of a handler: its parameters and seeds, expanded."""

from __future__ import annotations

import copy
import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.expressions import Expression
from pytest_gpuexp.groups import Block, Group, make_block
from pytest_gpuexp.overrides import Overrides
from pytest_gpuexp.records import Plain
from pytest_gpuexp.selections import Rule, make_rule
from pytest_gpuexp.values import MOST_VALUES, read_seeds

_NO_OVERRIDES = Overrides()


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one run of a handler is given.

    ``parameters`` keep the order in which they were written and are shared by the seeds of a
    variant: copy them before writing. ``id`` reads ``lr:0.001-width:32-seed:0``; ``variant`` is
    the same without the seed. Both are "" where there is nothing to tell.
    """

    parameters: Mapping[str, Plain]
    seed: int
    id: str
    variant: str


def expand(
    groups: Sequence[Group],
    seeds: int | Iterable[int] | None,
    *,
    overrides: Overrides = _NO_OVERRIDES,
    accepted: Collection[str] = (),
    subject: str = "sweep",
) -> list[Point]:
    """Return one handler's points: the product of ``groups``, the first slowest, seeds fastest.

    ``seeds`` is a count, the seeds, or None for one run with seed 0 that is not in its id.
    ``accepted`` are the arguments to which ``overrides`` may give an axis. Names in ``overrides``
    that concern other handlers are passed over. The list is empty only where
    ``overrides.filter`` matches no point; whether that is a mistake, the whole session decides.

    Raises:
        UsageProblems: about ``subject``, the handler's node id; all problems found.
    """
    problems = [problem for group in groups for problem in group.problems]
    blocks = _blocks(groups, overrides, accepted)
    names = [name for block in blocks for name in block.names]
    problems += _name_problems(groups, names)
    chosen: tuple[int, ...] = (0,)
    if seeds is not None:
        chosen, found = read_seeds("seeds", seeds)
        problems += found
    if overrides.seeds is not None:
        chosen = overrides.seeds
    rules, found = _rules(groups, names)
    problems += found
    size = math.prod([len(block.rows) for block in blocks]) * len(chosen)
    if size > MOST_VALUES:
        problems.append(f"there are {size:,} points; the most that can be run is {MOST_VALUES:,}")
    if problems:
        raise UsageProblems(subject, problems)
    told = seeds is not None or overrides.seeds is not None
    points, problems = _points(blocks, chosen, rules, seed_in_id=told)
    if not points and not problems:
        labels = " and ".join(rule.label for rule in rules)
        problems.append(f"none of {size} points is left after {labels}; mend that, or the values")
    if problems:
        raise UsageProblems(subject, problems)
    return _filtered(points, overrides.filter) if overrides.filter else points


def nest(parameters: Mapping[str, Plain]) -> dict[str, Plain]:
    """Return a copy of ``parameters`` nested by their dots: ``{"model": {"num_layers": 4}}``.

    Raises:
        UsageProblems: a name stands for a value and, with a dot behind it, for a group of values.
    """
    if problems := _conflicts(parameters):
        raise UsageProblems("parameters", problems)
    nested: dict[str, Plain] = {}
    for name, value in parameters.items():
        *folders, last = name.split(".")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = copy.deepcopy(value)
    return nested


def _blocks(
    groups: Sequence[Group], overrides: Overrides, accepted: Collection[str]
) -> list[Block]:
    """Return the groups' blocks with the command line's axes in the place of those they replace."""
    axes = {**overrides.axes, **overrides.added}
    blocks: list[Block] = []
    for block in (block for group in groups for block in group.blocks):
        replaced = [name for name in block.names if name in axes]
        if not replaced:
            blocks.append(block)
            continue
        kept = [index for index, name in enumerate(block.names) if name not in axes]
        if kept:
            names = [block.names[index] for index in kept]
            blocks.append(make_block(names, [[row[i] for i in kept] for row in block.rows]))
        blocks += [_axis(name, axes[name]) for name in replaced]
    declared = {name for block in blocks for name in block.names}
    new = [name for name in axes if name in overrides.added or name in accepted]
    return blocks + [_axis(name, axes[name]) for name in new if name not in declared]


def _axis(name: str, values: Iterable[Plain]) -> Block:
    return make_block([name], [(value,) for value in values])


def _name_problems(groups: Sequence[Group], names: Sequence[str]) -> list[str]:
    kinds = {
        name: " and ".join(group.kind for group in groups if name in group.names)
        for name, count in Counter(name for group in groups for name in set(group.names)).items()
        if count > 1
    }
    twice = [f"{name!r} is given by {kind}; leave one out" for name, kind in sorted(kinds.items())]
    return twice + _conflicts(names)


def _conflicts(names: Collection[str]) -> list[str]:
    conflicts = []
    for name in names:
        parts = name.split(".")
        for length in range(1, len(parts)):
            if (outer := ".".join(parts[:length])) in names:
                conflicts.append(
                    f"{outer!r} has a value of its own, so {name!r} has no place in it"
                )
    return conflicts


def _rules(groups: Sequence[Group], names: Collection[str]) -> tuple[list[Rule], list[str]]:
    rules: list[Rule] = []
    problems: list[str] = []
    for group in groups:
        for word, written in (("exclude", group.exclude), ("only", group.only)):
            if written is not None:
                label = f"{group.kind}: {word}"
                rule, found = make_rule(label, written, keeps=word == "only", names=names)
                rules.append(rule)
                problems += found
    return rules, problems


def _points(
    blocks: Sequence[Block], seeds: Sequence[int], rules: Sequence[Rule], *, seed_in_id: bool
) -> tuple[list[Point], list[str]]:
    """Return the points that ``rules`` admit, and what the rules ran into, once a rule."""
    failures: dict[Rule, str] = {}
    of_variant = [rule for rule in rules if not rule.needs_seed]
    of_run = [rule for rule in rules if rule.needs_seed]
    entries = [
        [
            (dict(zip(block.names, row, strict=True)), text)
            for row, text in zip(block.rows, block.texts, strict=True)
        ]
        for block in blocks
    ]
    endings = [(seed, f"seed:{seed}" if seed_in_id else "") for seed in seeds]
    points: list[Point] = []
    for combination in itertools.product(*entries):
        parameters: dict[str, Plain] = {}
        for values, _ in combination:
            parameters.update(values)
        variant = "-".join([text for _, text in combination])
        if of_variant and not _admitted(of_variant, parameters, variant, failures):
            continue
        for seed, ending in endings:
            name = f"{variant}-{ending}" if variant and ending else variant or ending
            if of_run and not _admitted(of_run, {**parameters, "seed": seed}, name, failures):
                continue
            points.append(Point(parameters=parameters, seed=seed, id=name, variant=variant))
    return points, list(failures.values())


def _admitted(
    rules: Sequence[Rule], values: Mapping[str, Plain], name: str, failures: dict[Rule, str]
) -> bool:
    for rule in rules:
        try:
            if not rule.admits(values):
                return False
        # The user's own code may raise anything, and is told of it.
        except Exception as error:  # noqa: BLE001
            told = f"{rule.label} raised {type(error).__name__} at {name}: {error}"
            failures.setdefault(rule, told)
    return True


def _filtered(points: Iterable[Point], expression: Expression) -> list[Point]:
    return [
        point for point in points if expression.evaluate({**point.parameters, "seed": point.seed})
    ]
