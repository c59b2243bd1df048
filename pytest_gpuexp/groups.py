"""What a handler's ``grid``, ``paired``, ``cases`` or ``parametrize`` says, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_gpuexp.identifiers import name_problem, row_text, value_text
from pytest_gpuexp.records import Plain
from pytest_gpuexp.values import describe, read_items, read_value, read_values

Kind = Literal["grid", "paired", "cases", "parametrize"]
Condition = Callable[..., object] | Mapping[str, object]
Conditions = Condition | Sequence[Condition]
_MOST_TOLD = 5  # repetitions told one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Parameters that vary together.

    A row holds one value a name, in the order of ``names``; ``texts`` holds the rows' parts of
    ids, in the order of ``rows``.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[Plain, ...], ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One decorator of a handler; its points are the product of ``blocks``, the first slowest.

    A grid has a block an axis, the other kinds one block in all. ``exclude`` drops points,
    ``only`` keeps them. ``problems`` are told when the handler is expanded, not at import.
    """

    kind: Kind
    blocks: tuple[Block, ...]
    exclude: Conditions | None = None
    only: Conditions | None = None
    problems: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all parameters, as written."""
        return tuple(name for block in self.blocks for name in block.names)


def make_block(names: Sequence[str], rows: Iterable[Sequence[Plain]]) -> Block:
    """Make a block of ``rows`` as they are, repetitions dropped."""
    by_text = {row_text(names, row): tuple(row) for row in rows}
    return Block(names=tuple(names), rows=tuple(by_text.values()), texts=tuple(by_text))


def grid_group(
    axes: Mapping[str, Iterable[object]],
    *,
    exclude: Conditions | None = None,
    only: Conditions | None = None,
) -> Group:
    """Make the product of ``axes``, the first slowest."""
    problems = [] if axes else ["grid() has no axes; write grid(lr=[0.1, 0.01])"]
    blocks = []
    for name, written in axes.items():
        label = f"grid: axis {name!r}"
        values, refused = read_values(label, written)
        problems += _name_problems("grid", [name]) + refused
        block = make_block([name], [(value,) for value in values])
        if not refused and len(block.rows) < len(values):
            problems += _repetitions(label, [value_text(value) for value in values])
        blocks.append(block)
    return Group(
        kind="grid", blocks=tuple(blocks), exclude=exclude, only=only, problems=tuple(problems)
    )


def paired_group(
    axes: Mapping[str, Iterable[object]],
    *,
    exclude: Conditions | None = None,
    only: Conditions | None = None,
) -> Group:
    """Make one point of the first values of all ``axes``, one of the second, and so on."""
    problems = (
        [] if axes else ["paired() has no axes; write paired(lr=[0.1, 0.01], steps=[10, 100])"]
    )
    problems += _name_problems("paired", axes)
    columns = []
    for name, written in axes.items():
        values, refused = read_values(f"paired: axis {name!r}", written)
        problems += refused
        columns.append(values)
    lengths = {name: len(values) for name, values in zip(axes, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        problems.append(f"paired: the axes have different lengths: {told}; give all the same")
    # Unequal lengths are told above, so nothing cut off here goes unnoticed.
    rows = list(zip(*columns, strict=False))
    return _one_block("paired", list(axes), rows, problems, exclude=exclude, only=only)


def cases_group(
    rows: Iterable[object],
    *,
    exclude: Conditions | None = None,
    only: Conditions | None = None,
) -> Group:
    """Make one point of each of ``rows``, which name the same parameters, in any order."""
    items, problem = read_items(rows)
    problems = [f"cases {problem}"] if problem else []
    written: list[Mapping[str, object]] = []
    for number, row in enumerate(items):
        if isinstance(row, Mapping) and row:
            written.append(row)
        else:
            problems.append(f"cases[{number}]: {describe(row)} is not a mapping of names to values")
    names = list(written[0]) if written else []
    problems += _name_problems("cases", names)
    plain_rows = []
    for number, row in enumerate(written):
        if row.keys() != set(names):
            odd = ", ".join(sorted(map(str, row.keys() ^ set(names))))
            problems.append(
                f"cases[{number}]: the rows must name the same parameters; this one and the first "
                f"differ in {odd}"
            )
            continue
        plain_rows.append(_row(f"cases[{number}]", names, [row[name] for name in names], problems))
    return _one_block("cases", names, plain_rows, problems, exclude=exclude, only=only)


def parametrize_group(argnames: str | Sequence[str], argvalues: Iterable[object]) -> Group:
    """Make the points of a ``pytest.mark.parametrize``, whose rules for its arguments hold here.

    Where ``argnames`` is a str with one name, ``argvalues`` are that name's values; else each is a
    sequence with one value a name. ``pytest.param`` is taken apart by the caller.
    """
    single = False
    if isinstance(argnames, str):
        argnames = [name.strip() for name in argnames.split(",") if name.strip()]
        single = len(argnames) == 1
    problems = _name_problems("parametrize", argnames)
    problems += [
        f"parametrize: {name!r} is named twice"
        for name, count in Counter(argnames).items()
        if count > 1
    ]
    items, problem = read_items(argvalues)
    problems += [f"parametrize {problem}"] if problem else []
    rows = []
    for number, written in enumerate(items):
        row: object = (written,) if single else written
        label = f"parametrize[{number}]"
        if isinstance(row, (list, tuple)) and len(row) == len(argnames):
            rows.append(_row(label, argnames, row, problems))
        else:
            told = ", ".join(argnames)
            problems.append(f"{label}: {describe(written)} does not hold one value each for {told}")
    return _one_block("parametrize", argnames, rows, problems)


def _row(
    label: str, names: Sequence[str], written: Sequence[object], problems: list[str]
) -> list[Plain]:
    return [
        read_value(f"{label}: {name!r}", value, problems)
        for name, value in zip(names, written, strict=True)
    ]


def _one_block(
    kind: Kind,
    names: Sequence[str],
    rows: Sequence[Sequence[Plain]],
    problems: list[str],
    *,
    exclude: Conditions | None = None,
    only: Conditions | None = None,
) -> Group:
    block = make_block(names, rows)
    if not problems and len(block.rows) < len(rows):
        problems = _repetitions(f"{kind}: point", [row_text(names, row) for row in rows])
    return Group(kind=kind, blocks=(block,), exclude=exclude, only=only, problems=tuple(problems))


def _name_problems(label: str, names: Iterable[object]) -> list[str]:
    return [f"{label}: {problem}" for name in names if (problem := name_problem(name))]


def _repetitions(label: str, texts: Sequence[str]) -> list[str]:
    repeated = [(text, count) for text, count in Counter(texts).items() if count > 1]
    told = [f"{label}: {text} is given {count} times" for text, count in repeated[:_MOST_TOLD]]
    if len(repeated) > _MOST_TOLD:
        told.append(f"{label}: {len(repeated) - _MOST_TOLD} more are given several times")
    return told
