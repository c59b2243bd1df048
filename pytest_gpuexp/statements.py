"""What one Python statement binds, and what it imports."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

Chain = tuple[str, ...]  # a name and the attributes that are taken of it


def chain_of(node: ast.AST) -> Chain:
    """Return ``("a", "b", "c")`` for ``a.b.c``, and () for all that is no such thing."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else ()


def single(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, imports with one name each."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (ast.copy_location(ast.Import([name]), node) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                yield ast.copy_location(ast.ImportFrom(node.module, [name], node.level), node)
        else:
            yield node


def imports(node: ast.AST) -> Iterator[tuple[str, str]]:
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


def binds(node: ast.stmt) -> list[str]:
    """Return the names that a statement binds at the top level, each once."""
    names: list[str] = []
    for one in outside_scopes(node):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(one.name)
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            names.append(one.id)
        else:
            names += [name for name, _ in imports(one) if name not in ("", "*")]
    return list(dict.fromkeys(names))


def outside_scopes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is in ``node``, itself first, down to functions and classes and no further."""
    yield node
    if not isinstance(node, SCOPES):
        for child in ast.iter_child_nodes(node):
            yield from outside_scopes(child)


def leaves(targets: Iterable[ast.expr]) -> Iterator[ast.expr]:
    """Yield the single targets of an assignment."""
    for target in targets:
        if isinstance(target, ast.Tuple | ast.List):
            yield from leaves(target.elts)
        elif isinstance(target, ast.Starred):
            yield target.value
        else:
            yield target


def never_taken(node: ast.If) -> bool:
    """Return whether a block is for type checkers, or for a file that is run as a script."""
    return any(name in ast.unparse(node.test) for name in ("TYPE_CHECKING", "__name__"))


def drop_docstrings(node: ast.AST) -> None:
    """Take the docstrings out of ``node``."""
    for one in ast.walk(node):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = one.body[0]
            value = first.value if isinstance(first, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                one.body = one.body[1:] or [ast.Pass()]
