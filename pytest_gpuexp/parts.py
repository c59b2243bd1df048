"""The top-level statements of a Python file: what each binds, and what it uses."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_gpuexp import statements
from pytest_gpuexp.statements import Chain

# Decorators that say how often and where a handler runs, and not what it does.
_DECLARING = ("pytest_gpuexp", "pytest.mark")
# Decorators that keep no list of what they decorate. A function that has others may be found by
# code that never names it, so it counts as soon as its module does.
_LISTLESS = {"abc", "contextlib", "dataclasses", "enum", "functools", "pytest", "torch", "typing"}
_OPAQUE = {"eval", "exec", "globals", "__import__", "import_module"}
_COMPOUND = (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.Match)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One statement, normalised: ``text`` has no comments, docstrings and formatting.

    ``chains`` are the names of the module that it uses, ``imports`` the dotted names that its
    functions import. What an ``opaque`` one uses cannot be told.
    """

    names: tuple[str, ...]
    text: str
    chains: frozenset[Chain] = frozenset()
    imports: frozenset[str] = frozenset()
    opaque: bool = False


class Module:
    """A file, its statements by number.

    Attributes:
        bound: the numbers of the statements that bind a name.
        effects: the numbers of those that do something when the module is imported.
        aliases: names that imports bind, with the dotted names that they stand for; a relative one
            begins with its dots.
        stars: the modules of which everything is imported.
    """

    def __init__(self, path: Path, source: bytes) -> None:
        """Read ``source``; where it is no Python, all of it is one statement without names."""
        self.path = path
        self.bound: dict[str, list[int]] = {}
        self.effects: list[int] = []
        self.aliases: dict[str, list[str]] = {}
        self.stars: list[str] = []
        self._parts: dict[int, Part] = {}
        self._nodes: list[ast.stmt] = []
        try:
            self._nodes = list(statements.single(ast.parse(source).body))
        except (SyntaxError, ValueError):
            self._parts[0] = Part(names=(), text=source.decode(errors="replace"))
            self.effects.append(0)
        for node in self._nodes:
            self._note_imports(node)
        for index, node in enumerate(self._nodes):
            for name in statements.binds(node):
                self.bound.setdefault(name, []).append(index)
            if self._has_effect(node):
                self.effects.append(index)

    def __len__(self) -> int:
        """Return the number of statements."""
        return len(self._nodes) or len(self._parts)

    @property
    def whole(self) -> list[int]:
        """The numbers of all statements but declarations: thresholds, criteria, docstrings."""
        if not self._nodes:
            return list(self._parts)
        return [n for n, node in enumerate(self._nodes) if not self._only_declares(node)]

    def defined(self, index: int) -> str:
        """Return the name of the function or class that statement ``index`` is, or ""."""
        node = self._nodes[index] if self._nodes else None
        return node.name if isinstance(node, statements.SCOPES[:3]) else ""

    @property
    def imported(self) -> Iterator[str]:
        """The dotted names of all that is imported at the top level."""
        yield from self.stars
        for dotted in self.aliases.values():
            yield from dotted

    def part(self, index: int) -> Part:
        """Return statement ``index``, normalised at the first call."""
        if index not in self._parts:
            self._parts[index] = self._make_part(self._nodes[index])
        return self._parts[index]

    def _make_part(self, node: ast.stmt) -> Part:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.decorator_list = [one for one in node.decorator_list if not self._declares(one)]
        statements.drop_docstrings(node)
        text = ast.unparse(node)
        uses = _Uses()
        uses.visit(node)
        known = set(_globals(symtable.symtable(text, str(self.path), "exec")))
        return Part(
            names=tuple(statements.binds(node)),
            text=text,
            chains=frozenset(chain for chain in uses.chains if chain[0] in known),
            imports=frozenset(uses.imports),
            opaque=uses.opaque,
        )

    def _note_imports(self, statement: ast.stmt) -> None:
        for node in statements.outside_scopes(statement):
            for name, dotted in statements.imports(node):
                if name == "*":
                    self.stars.append(dotted)
                else:
                    self.aliases.setdefault(name, []).append(dotted)

    def _has_effect(self, node: ast.stmt) -> bool:
        if isinstance(node, ast.ClassDef):  # a base may keep a list of its subclasses
            above = [*node.decorator_list, *node.bases, *(word.value for word in node.keywords)]
            return any(map(self._may_list, above))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return any(map(self._may_list, node.decorator_list))
        if isinstance(node, ast.Expr):
            return not isinstance(node.value, ast.Constant)
        if isinstance(node, _COMPOUND):
            return not (isinstance(node, ast.If) and statements.never_taken(node))
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            called = isinstance(node.value, ast.Call) and self._may_list(node.value)
            return called or any(
                not isinstance(leaf, ast.Name) for leaf in statements.leaves(targets)
            )
        return isinstance(node, ast.Delete | ast.Assert | ast.AugAssign)

    def _only_declares(self, node: ast.stmt) -> bool:
        if isinstance(node, ast.Expr):
            return isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Assign):
            value = node.value
            values = value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
            return bool(values) and all(map(self._declares, values))
        decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
        return any("pytest_gpuexp.criterion" in self._meanings(one) for one in decorators)

    def _may_list(self, decorator: ast.expr) -> bool:
        chain = statements.chain_of(
            decorator.func if isinstance(decorator, ast.Call) else decorator
        )
        built_in = bool(chain) and chain[0] not in self.bound and hasattr(builtins, chain[0])
        if built_in or self._declares(decorator):
            return False
        return not any(dotted.split(".")[0] in _LISTLESS for dotted in self._meanings(decorator))

    def _declares(self, decorator: ast.expr, *, depth: int = 3) -> bool:
        """Return whether ``decorator`` is ours or pytest's mark, perhaps by a name of its own."""
        if any(dotted.startswith(_DECLARING) for dotted in self._meanings(decorator)):
            return True
        chain = statements.chain_of(
            decorator.func if isinstance(decorator, ast.Call) else decorator
        )
        numbers = self.bound.get(chain[0], []) if chain else []
        values = [getattr(self._nodes[number], "value", None) for number in numbers]
        return bool(values and depth) and all(
            isinstance(value, ast.expr) and self._declares(value, depth=depth - 1)
            for value in values
        )

    def _meanings(self, expression: ast.expr) -> list[str]:
        chain = statements.chain_of(_called(expression))
        if not chain:
            return []
        return [".".join([one, *chain[1:]]) for one in self.aliases.get(chain[0], ())]


def _called(expression: ast.expr) -> ast.expr:
    return expression.func if isinstance(expression, ast.Call) else expression


class _Uses(ast.NodeVisitor):
    """What a statement uses: names with their attributes, and what its functions import."""

    def __init__(self) -> None:
        self.chains: set[Chain] = set()
        self.imports: set[str] = set()
        self.opaque = False
        self._depth = 0

    def visit(self, node: ast.AST) -> None:
        """Look at ``node`` and at what is in it."""
        chain = statements.chain_of(node)
        if chain:
            self.chains.add(chain)
            return
        if isinstance(node, ast.Call):
            self._look_at_call(node)
        scope = isinstance(node, statements.SCOPES)
        self._depth += scope
        if self._depth:
            for name, dotted in statements.imports(node):
                self.imports.add(dotted.removesuffix(".*") if name == "*" else dotted)
        self.generic_visit(node)
        self._depth -= scope

    def _look_at_call(self, node: ast.Call) -> None:
        chain = statements.chain_of(node.func)
        if not chain or chain[-1] not in _OPAQUE:
            return
        named = [one.value for one in node.args[:1] if isinstance(one, ast.Constant)]
        if named and isinstance(named[0], str) and chain[-1] in ("__import__", "import_module"):
            self.imports.add(named[0])
        else:
            self.opaque = True


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """Yield the names of the module that some scope of a statement uses."""
    # A class may take for a name of its own what it has found in the module: `score = f(score)`.
    at_top = table.get_type() in ("module", "class")
    for symbol in table.get_symbols():
        if symbol.is_referenced() if at_top else symbol.is_global():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)
