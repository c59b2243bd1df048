"""The top-level statements of a Python file: what each binds, and what it uses."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Decorators that say how often and where a handler runs, and not what it does.
_DECLARING = ("pytest_gpuexp", "pytest.mark")
# Decorators that keep no list of what they decorate. A function that has others may be found by
# code that never names it, so it counts as soon as its module does.
_LISTLESS = {"abc", "contextlib", "dataclasses", "enum", "functools", "pytest", "torch", "typing"}
_OPAQUE = {"eval", "exec", "globals", "__import__", "import_module"}
_COMPOUND = (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.Match)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

Chain = tuple[str, ...]  # a name and the attributes that are taken of it


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
            self._nodes = list(_single(ast.parse(source).body))
        except (SyntaxError, ValueError):
            self._parts[0] = Part(names=(), text=source.decode(errors="replace"))
            self.effects.append(0)
        for node in self._nodes:
            self._note_imports(node)
        for index, node in enumerate(self._nodes):
            for name in _binds(node):
                self.bound.setdefault(name, []).append(index)
            if self._has_effect(node):
                self.effects.append(index)

    def __len__(self) -> int:
        """Return the number of statements."""
        return len(self._nodes) or len(self._parts)

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
        _drop_docstrings(node)
        text = ast.unparse(node)
        uses = _Uses()
        uses.visit(node)
        known = set(_globals(symtable.symtable(text, str(self.path), "exec")))
        return Part(
            names=tuple(_binds(node)),
            text=text,
            chains=frozenset(chain for chain in uses.chains if chain[0] in known),
            imports=frozenset(uses.imports),
            opaque=uses.opaque,
        )

    def _note_imports(self, statement: ast.stmt) -> None:
        for node in _outside_scopes(statement):
            for name, dotted in _imports(node):
                if name == "*":
                    self.stars.append(dotted)
                else:
                    self.aliases.setdefault(name, []).append(dotted)

    def _has_effect(self, node: ast.stmt) -> bool:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return any(map(self._may_list, node.decorator_list))
        if isinstance(node, ast.Expr):
            return not isinstance(node.value, ast.Constant)
        if isinstance(node, _COMPOUND):
            return not (isinstance(node, ast.If) and _never_taken(node))
        if isinstance(node, ast.Assign):
            return any(not isinstance(leaf, ast.Name) for leaf in _leaves(node.targets))
        return isinstance(node, ast.Delete | ast.Assert)

    def _may_list(self, decorator: ast.expr) -> bool:
        if self._declares(decorator):
            return False
        return not any(dotted.split(".")[0] in _LISTLESS for dotted in self._meanings(decorator))

    def _declares(self, decorator: ast.expr, *, depth: int = 3) -> bool:
        """Return whether ``decorator`` is ours or pytest's mark, perhaps by a name of its own."""
        if any(dotted.startswith(_DECLARING) for dotted in self._meanings(decorator)):
            return True
        chain = _chain(decorator.func if isinstance(decorator, ast.Call) else decorator)
        numbers = self.bound.get(chain[0], []) if chain else []
        values = [getattr(self._nodes[number], "value", None) for number in numbers]
        return bool(values and depth) and all(
            isinstance(value, ast.expr) and self._declares(value, depth=depth - 1)
            for value in values
        )

    def _meanings(self, expression: ast.expr) -> list[str]:
        called = expression.func if isinstance(expression, ast.Call) else expression
        chain = _chain(called)
        if not chain:
            return []
        return [".".join([one, *chain[1:]]) for one in self.aliases.get(chain[0], ())]


class _Uses(ast.NodeVisitor):
    """What a statement uses: names with their attributes, and what its functions import."""

    def __init__(self) -> None:
        self.chains: set[Chain] = set()
        self.imports: set[str] = set()
        self.opaque = False
        self._depth = 0

    def visit(self, node: ast.AST) -> None:
        """Look at ``node`` and at what is in it."""
        chain = _chain(node)
        if chain:
            self.chains.add(chain)
            return
        if isinstance(node, ast.Call):
            self._look_at_call(node)
        scope = isinstance(node, _SCOPES)
        self._depth += scope
        if self._depth:
            for name, dotted in _imports(node):
                self.imports.add(dotted.removesuffix(".*") if name == "*" else dotted)
        self.generic_visit(node)
        self._depth -= scope

    def _look_at_call(self, node: ast.Call) -> None:
        chain = _chain(node.func)
        if not chain or chain[-1] not in _OPAQUE:
            return
        named = [one.value for one in node.args[:1] if isinstance(one, ast.Constant)]
        if named and isinstance(named[0], str) and chain[-1] in ("__import__", "import_module"):
            self.imports.add(named[0])
        else:
            self.opaque = True


def _chain(node: ast.AST) -> Chain:
    """Return ``("a", "b", "c")`` for ``a.b.c``, and () for all that is no such thing."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else ()


def _single(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, imports with one name each."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (ast.copy_location(ast.Import([name]), node) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                yield ast.copy_location(ast.ImportFrom(node.module, [name], node.level), node)
        else:
            yield node


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that an import binds, with the dotted names that they stand for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.partition(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (first, first)
            if not alias.asname and alias.name != first:
                yield "", alias.name  # bound to no name, and imported all the same
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        joint = "" if base.endswith(".") else "."
        for alias in node.names:
            if alias.name == "*":
                yield "*", base
            else:
                yield alias.asname or alias.name, f"{base}{joint}{alias.name}"


def _binds(node: ast.stmt) -> list[str]:
    """Return the names that a statement binds at the top level, each once."""
    names: list[str] = []
    for one in _outside_scopes(node):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(one.name)
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            names.append(one.id)
        else:
            names += [name for name, _ in _imports(one) if name not in ("", "*")]
    return list(dict.fromkeys(names))


def _outside_scopes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, _SCOPES):
        for child in ast.iter_child_nodes(node):
            yield from _outside_scopes(child)


def _leaves(targets: Iterable[ast.expr]) -> Iterator[ast.expr]:
    for target in targets:
        if isinstance(target, ast.Tuple | ast.List):
            yield from _leaves(target.elts)
        elif isinstance(target, ast.Starred):
            yield target.value
        else:
            yield target


def _never_taken(node: ast.If) -> bool:
    """Return whether a block is for type checkers, or for a file that is run as a script."""
    return any(name in ast.unparse(node.test) for name in ("TYPE_CHECKING", "__name__"))


def _drop_docstrings(node: ast.AST) -> None:
    for one in ast.walk(node):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = one.body[0]
            value = first.value if isinstance(first, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                one.body = one.body[1:] or [ast.Pass()]


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """Yield the names of the module that some scope of a statement uses."""
    at_top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() if at_top else symbol.is_global():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)
