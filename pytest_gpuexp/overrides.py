"""What the command line says of a sweep: its seeds, its axes, its filter."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.expressions import Expression
from pytest_gpuexp.identifiers import name_problem, unknown_name, value_text
from pytest_gpuexp.records import Plain
from pytest_gpuexp.values import NotPlain, make_plain, read_seeds

_INT = re.compile(r"[+-]?(0|[1-9]\d*)")
_FLOAT = re.compile(r"[+-]?(\d+\.\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|\d+[eE][+-]?\d+)")
_NOT_FINITE = re.compile(r"[+-]?(nan|\.nan|inf|\.inf|infinity)", re.IGNORECASE)
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_BRACKETS = {"[": "]", "(": ")", "{": "}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """The command line's part in a sweep; by default it says nothing.

    ``axes`` replace what a handler declares or give an argument that it takes; ``added`` hold for
    every handler, declared or not. Their values are in the order given, without repetitions.
    """

    seeds: tuple[int, ...] | None = None
    axes: Mapping[str, tuple[Plain, ...]] = field(default_factory=dict)
    added: Mapping[str, tuple[Plain, ...]] = field(default_factory=dict)
    filter: Expression | None = None


def parse_overrides(
    seeds_count: str | None, seed: Sequence[str], sweep: Sequence[str], filter_text: str | None
) -> Overrides:
    """Read the options' texts: ``5``, ``["42"]``, ``["lr=1,2", "+model.depth=3"]``, ``lr < 1``.

    Values are numbers, true, false, null, words, quoted strings, lists (``[32,64]``) and dicts in
    Python's syntax; commas within brackets and quotes do not separate.

    Raises:
        UsageProblems: something cannot be read; all that cannot is told.
    """
    problems: list[str] = []
    seeds = _read_seeds(seeds_count, seed, problems)
    axes: dict[str, tuple[Plain, ...]] = {}
    added: dict[str, tuple[Plain, ...]] = {}
    for text in sweep:
        name, found, written = text.partition("=")
        target = added if name.strip().startswith("+") else axes
        name = name.strip().removeprefix("+")
        if not found:
            problems.append(f"--sweep {text}: no '='; write --sweep {name or 'lr'}=1,2")
        elif problem := name_problem(name):
            problems.append(f"--sweep {text}: {problem}")
        elif name in axes or name in added:
            problems.append(
                f"--sweep {text}: {name!r} is given twice; write all values after one ="
            )
        else:
            target[name] = _read_axis(text, written, problems)
    expression = None
    if filter_text is not None:
        try:
            expression = Expression.parse(filter_text)
        except UsageProblems as error:
            problems += [f"{error.subject}: {problem}" for problem in error.problems]
    if problems:
        raise UsageProblems("command line", problems)
    return Overrides(seeds=seeds, axes=axes, added=added, filter=expression)


def unknown_names(overrides: Overrides, known: Collection[str]) -> list[str]:
    """Return a problem for each name that is no parameter of any handler of the session.

    ``known`` are the parameters of all handlers, and the arguments that ``--sweep`` may give.
    """
    problems = [
        f"--sweep {name}: {unknown_name(name, known)}; to add it to every handler write +{name}=..."
        for name in overrides.axes
        if name not in known
    ]
    if overrides.filter:
        right = {*known, *overrides.added, "seed"}
        problems += [
            f"--gpuexp-filter: {unknown_name(name, right)}"
            for name in sorted(overrides.filter.names - right)
        ]
    return problems


def _read_seeds(
    count: str | None, single: Sequence[str], problems: list[str]
) -> tuple[int, ...] | None:
    if count is not None and single:
        problems.append("--seeds and --seed exclude each other; give a count or single seeds")
    problems += [f"--seed {text}: not an int" for text in single if not _INT.fullmatch(text)]
    if count is not None:
        if not _INT.fullmatch(count):
            problems.append(
                f"--seeds {count}: not a count; for single seeds write --seed 0 --seed 7"
            )
            return None
        seeds, found = read_seeds("--seeds", int(count))
    elif single:
        numbers = [int(text) for text in single if _INT.fullmatch(text)]
        seeds, found = read_seeds("--seed", numbers) if numbers else ((), [])
    else:
        return None
    problems += found
    return seeds


def _read_axis(text: str, written: str, problems: list[str]) -> tuple[Plain, ...]:
    values: dict[str, Plain] = {}
    try:
        for part in _split(written):
            value = make_plain(_read_value(part))
            if value_text(value) in values:
                problems.append(f"--sweep {text}: {part} is given twice")
            values[value_text(value)] = value
    except (ValueError, NotPlain) as error:
        problems.append(f"--sweep {text}: {error}")
    return tuple(values.values())


def _read_value(text: str) -> Plain:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number; quote it where a word is meant")
    if text[0] in "[(" and text[-1] == _BRACKETS[text[0]]:
        return [_read_value(part) for part in _split(text[1:-1])] if text[1:-1].strip() else []
    if text[0] not in "{'\"" and not re.search(r"""[\[\](){}'"]""", text):
        return text
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ValueError(
            f"{text} cannot be read; quote strings, and write dicts as {{'key': 1}}"
        ) from None


def _split(text: str) -> list[str]:
    """Split at the commas outside of brackets and quotes.

    Raises:
        ValueError: a part is empty, or a bracket or a quote is not closed.
    """
    parts = [""]
    closing: list[str] = []
    quote = ""
    escaped = False
    for character in text:
        if quote:
            quote = "" if character == quote and not escaped else quote
            escaped = character == "\\" and not escaped
        elif character == "," and not closing:
            parts.append("")
            continue
        elif character in _BRACKETS:
            closing.append(_BRACKETS[character])
        elif character in closing[-1:]:
            closing.pop()
        else:
            quote = character if character in "'\"" else ""
        parts[-1] += character
    if quote or closing:
        raise ValueError(f"{quote or closing[-1]} is missing")
    if not all(part.strip() for part in parts):
        raise ValueError("a value is missing; write --sweep lr=1,2")
    return [part.strip() for part in parts]
