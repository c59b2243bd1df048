"""Conditions over parameters, as ``lr == 1e-3 and seed in (0, 1)``, evaluated without ``eval``."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.records import Plain

_SUBJECT = "--gpuexp-filter"
_LONGEST = 2000  # characters; longer ones could exhaust the parser's stack
_WIDEST_POWER = 4096  # bits of the result of **
_Step = Callable[[Mapping[str, Plain]], Plain]
_ALLOWED = (
    "allowed are names, numbers, strings, lists, and, or, not, == != < <= > >=, in, "
    "+ - * / // % **, x[0], abs, len, max, min, round"
)
_SINGLE_EQUALS = re.compile(r"[^=!<>]=[^=]")
_WORDS = {"true": True, "false": False, "null": None}  # as --sweep and YAML write them
_CALLS: dict[str, Callable[..., Plain]] = {
    "abs": abs,
    "len": len,
    "max": max,
    "min": min,
    "round": round,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Plain, Plain], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_UNARY: dict[type[ast.unaryop], Callable[[Plain], Plain]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


class _Absent(Exception):
    """A name of the expression is no parameter of this point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A condition over a point's parameters and its ``seed``; ``names`` are those it asks for."""

    text: str
    names: frozenset[str]
    step: _Step = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Read ``text``, which is Python's syntax, comparisons and arithmetic alone.

        Dotted names are one name: ``model.num_layers``. Tuples and sets count as lists, as they do
        in parameters.

        Raises:
            UsageProblems: it is no expression, or has parts that are not allowed; all are told.
        """
        if len(text) > _LONGEST:
            raise UsageProblems(_SUBJECT, [f"it is longer than {_LONGEST} characters"])
        builder = _Builder(text)
        try:
            step = builder.build(ast.parse(text.strip(), mode="eval").body)
        except SyntaxError as error:
            hint = "; write == to compare" if _SINGLE_EQUALS.search(text) else ""
            raise UsageProblems(_SUBJECT, [f"{text!r} cannot be read: {error.msg}{hint}"]) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise UsageProblems(_SUBJECT, [f"{text!r} cannot be read: {error}"]) from None
        if builder.problems:
            raise UsageProblems(_SUBJECT, [*builder.problems, _ALLOWED])
        return cls(text=text, names=frozenset(builder.names), step=step)

    def evaluate(self, names: Mapping[str, Plain]) -> bool:
        """Return whether the point with these values matches.

        Where a name is absent the answer is what the rest decides (``absent or True`` is True,
        ``absent and False`` False), and False where the rest leaves it open.

        Raises:
            UsageProblems: the values cannot be compared or computed so (``'a' < 1``).
        """
        try:
            return bool(self.step(names))
        except _Absent:
            return False
        except (TypeError, ArithmeticError, LookupError, ValueError, RecursionError) as error:
            values = ", ".join(
                f"{name}={names[name]!r}" for name in sorted(self.names & set(names))
            )
            raise UsageProblems(_SUBJECT, [f"{self.text!r} with {values}: {error}"]) from error


class _Builder:
    """Turns a syntax tree into closures once, so that 10,000 points cost little."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.names: set[str] = set()
        self.problems: list[str] = []

    def build(self, node: ast.expr) -> _Step:
        make = getattr(self, f"_{type(node).__name__}", self._refuse)
        step: _Step = make(node)
        return step

    def _refuse(self, node: ast.AST, why: str = "is not allowed") -> _Step:
        segment = ast.get_source_segment(self.text, node) or type(node).__name__
        self.problems.append(f"{segment!r} {why}")
        return _constant(None)

    def _Constant(self, node: ast.Constant) -> _Step:
        if node.value is None or isinstance(node.value, (bool, int, float, str)):
            return _constant(node.value)
        return self._refuse(node)

    def _Name(self, node: ast.Name) -> _Step:
        return _constant(_WORDS[node.id]) if node.id in _WORDS else self._lookup(node.id)

    def _Attribute(self, node: ast.Attribute) -> _Step:
        parts = [node.attr]
        inner = node.value
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            return self._refuse(node)
        return self._lookup(".".join([inner.id, *reversed(parts)]))

    def _lookup(self, name: str) -> _Step:
        self.names.add(name)

        def look_up(names: Mapping[str, Plain]) -> Plain:
            try:
                return names[name]
            except KeyError:
                raise _Absent from None

        return look_up

    def _List(self, node: ast.List | ast.Tuple | ast.Set) -> _Step:
        steps = [self.build(item) for item in node.elts]
        if all(isinstance(item, ast.Constant) for item in node.elts):
            return _constant([step({}) for step in steps])
        return lambda names: [step(names) for step in steps]

    _Tuple = _List
    _Set = _List

    def _BoolOp(self, node: ast.BoolOp) -> _Step:
        steps = [self.build(value) for value in node.values]
        decisive = isinstance(node.op, ast.Or)

        def decide(names: Mapping[str, Plain]) -> bool:
            absent = False
            for step in steps:
                try:
                    if bool(step(names)) is decisive:
                        return decisive
                except _Absent:
                    absent = True
            if absent:
                raise _Absent
            return not decisive

        return decide

    def _UnaryOp(self, node: ast.UnaryOp) -> _Step:
        inner = self.build(node.operand)
        apply = _UNARY.get(type(node.op))
        return (lambda names: apply(inner(names))) if apply else self._refuse(node)

    def _BinOp(self, node: ast.BinOp) -> _Step:
        left, right = self.build(node.left), self.build(node.right)
        apply = _ARITHMETIC.get(type(node.op))
        return (lambda names: apply(left(names), right(names))) if apply else self._refuse(node)

    def _Compare(self, node: ast.Compare) -> _Step:
        first = self.build(node.left)
        rest: list[tuple[Callable[[Plain, Plain], bool], _Step]] = []
        for op, value in zip(node.ops, node.comparators, strict=True):
            if type(op) not in _COMPARISONS:
                return self._refuse(node, "is not allowed; compare with == or !=")
            rest.append((_COMPARISONS[type(op)], self.build(value)))

        def compare(names: Mapping[str, Plain]) -> bool:
            left = first(names)
            for test, step in rest:
                right = step(names)
                if not test(left, right):
                    return False
                left = right
            return True

        return compare

    def _Subscript(self, node: ast.Subscript) -> _Step:
        value = self.build(node.value)
        if isinstance(node.slice, ast.Slice):
            return self._refuse(node)
        index = self.build(node.slice)
        return lambda names: value(names)[index(names)]

    def _Call(self, node: ast.Call) -> _Step:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        starred = any(isinstance(item, ast.Starred) for item in node.args)
        if name not in _CALLS or node.keywords or starred:
            return self._refuse(node)
        call, steps = _CALLS[name], [self.build(item) for item in node.args]
        return lambda names: call(*[step(names) for step in steps])


def _constant(value: Plain) -> _Step:
    return lambda names: value


def _of_numbers(apply: Callable[[Plain, Plain], Plain]) -> Callable[[Plain, Plain], Plain]:
    """Keep ``*`` and ``%`` from building long strings and lists."""

    def checked(left: Plain, right: Plain) -> Plain:
        if isinstance(left, (int, float)) and isinstance(right, (int, float)):
            return apply(left, right)
        kinds = f"{type(left).__name__} and {type(right).__name__}"
        raise TypeError(f"arithmetic takes numbers, not {kinds}")

    return checked


def _power(base: float, exponent: float) -> Plain:
    if isinstance(base, int) and base.bit_length() * abs(exponent) > _WIDEST_POWER:
        raise OverflowError(f"the result of ** has more than {_WIDEST_POWER} bits")
    return base**exponent


_ARITHMETIC: dict[type[ast.operator], Callable[[Plain, Plain], Plain]] = {
    ast.Add: _of_numbers(operator.add),
    ast.Sub: _of_numbers(operator.sub),
    ast.Mult: _of_numbers(operator.mul),
    ast.Div: _of_numbers(operator.truediv),
    ast.FloorDiv: _of_numbers(operator.floordiv),
    ast.Mod: _of_numbers(operator.mod),
    ast.Pow: _of_numbers(_power),
}
