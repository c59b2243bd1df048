"""Which points ``exclude`` drops, which ones ``only`` keeps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from pytest_gpuexp.identifiers import unknown_name
from pytest_gpuexp.records import Plain
from pytest_gpuexp.values import NotPlain, describe, make_plain

_ANY_NUMBER = inspect.Parameter.VAR_POSITIONAL
_Test = Callable[[Mapping[str, Plain]], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One ``exclude`` or ``only``; ``test`` may raise whatever the user's predicate raises."""

    label: str
    keeps: bool
    test: _Test
    needs_seed: bool

    def admits(self, values: Mapping[str, Plain]) -> bool:
        """Return whether the point with ``values`` stays; they hold ``seed`` if it is needed."""
        return self.test(values) is self.keeps


def make_rule(
    label: str, written: object, *, keeps: bool, names: Collection[str]
) -> tuple[Rule, list[str]]:
    """Return the rule that ``written`` means, and what is wrong with it.

    ``written`` is a predicate, a mapping, or a list of these, of which one must match. A predicate
    is called with the values that it takes by name, all of them for ``**values``. A mapping
    matches where each value is equal, or is one of a list. ``names`` are the parameters of the
    handler; ``seed`` may be named too.
    """
    known = {*names, "seed"}
    conditions = list(written) if isinstance(written, (list, tuple)) else [written]
    problems: list[str] = []
    needs_seed = False
    tests: list[_Test] = []
    for condition in conditions:
        if isinstance(condition, Mapping):
            test, taken = _mapping_test(label, condition, known, problems)
        elif callable(condition):
            test, taken = _predicate_test(label, condition, known, problems)
        else:
            problems.append(
                f"{label}: {describe(condition)} is neither a function nor a mapping of names to "
                "values"
            )
            continue
        needs_seed = needs_seed or "seed" in taken
        tests.append(test)
    whole = tests[0] if len(tests) == 1 else _any_of(tests)
    return Rule(label=label, keeps=keeps, test=whole, needs_seed=needs_seed), problems


def _any_of(tests: Sequence[_Test]) -> _Test:
    return lambda values: any(test(values) for test in tests)


def _mapping_test(
    label: str, condition: Mapping[str, object], known: set[str], problems: list[str]
) -> tuple[_Test, set[str]]:
    wanted: list[tuple[str, list[Plain]]] = []
    for name, written in condition.items():
        if name not in known:
            problems.append(f"{label}: {unknown_name(str(name), known)}")
        try:
            value = make_plain(written)
        except NotPlain as refused:
            problems.append(f"{label}: {name!r} never equals {describe(written)}: {refused}")
            continue
        # A list may be meant as a value or as the values to choose from: both match.
        wanted.append((name, [value, *value] if isinstance(value, list) else [value]))

    def test(values: Mapping[str, Plain]) -> bool:
        return all(values[name] in choices for name, choices in wanted)

    return test, set(condition)


def _predicate_test(
    label: str, predicate: Callable[..., object], known: set[str], problems: list[str]
) -> tuple[_Test, set[str]]:
    taken: list[str] = []
    try:
        parameters = inspect.signature(predicate).parameters.values()
    except (TypeError, ValueError):
        problems.append(f"{label}: {describe(predicate)} does not tell its arguments; use a lambda")
        return predicate, known  # type: ignore[return-value]  # never called
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return (lambda values: bool(predicate(**values))), known
    hint = "; for dotted names take **values" if any("." in name for name in known) else ""
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            problems.append(f"{label}: {parameter.name!r} cannot be given by name; leave out the /")
        elif parameter.name in known:
            taken.append(parameter.name)
        elif parameter.default is parameter.empty and parameter.kind is not _ANY_NUMBER:
            problems.append(f"{label}: {unknown_name(parameter.name, known)}{hint}")

    def test(values: Mapping[str, Plain]) -> bool:
        return bool(predicate(**{name: values[name] for name in taken}))

    return test, set(taken)
