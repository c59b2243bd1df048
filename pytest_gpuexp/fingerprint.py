"""Which code of the project some functions reach, as a digest a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from pytest_gpuexp.parts import Module
from pytest_gpuexp.statements import Chain

Start = tuple[Path, str]  # a file, and a name at its top level; "" for what its import does
Locate = Callable[[str], Path | None]  # the project's file of a module's dotted name


class Tracer:
    """Follows names through the files of one project; each is read once, and none is imported.

    Where it cannot be told what of a module is used, all of it counts.
    """

    def __init__(self, root: Path, locate: Locate) -> None:
        """Name files relative to ``root``; ``locate`` knows those of the project, and no others."""
        self._root = root
        self._locate = locate
        self._modules: dict[Path, Module] = {}

    def fingerprint(self, starts: Iterable[Start]) -> dict[str, str]:
        """Return a digest for each file of which ``starts`` reach something.

        Comments, docstrings and formatting do not count, nor what is not reached.
        """
        walk = _Walk(self._module, self._locate)
        for path, name in starts:
            if name:
                walk.reach(self._module(path), name)
            else:
                walk.enter(self._module(path))
        walk.finish()
        reached = {
            self._name(path): _digest(self._module(path), numbers)
            for path, numbers in walk.reached.items()
            if numbers
        }
        return dict(sorted(reached.items()))

    def _module(self, path: Path) -> Module:
        if path not in self._modules:
            try:
                source = path.read_bytes()
            except OSError:
                source = b""  # it was removed since it was imported
            self._modules[path] = Module(path, source)
        return self._modules[path]

    def _name(self, path: Path) -> str:
        inside = path.is_relative_to(self._root)
        return path.relative_to(self._root).as_posix() if inside else path.as_posix()


class _Walk:
    """One walk to all that some names reach; ``reached`` are the statements of each file."""

    def __init__(self, module: Callable[[Path], Module], locate: Locate) -> None:
        self.reached: dict[Path, set[int]] = {}
        self._module = module
        self._locate = locate
        self._left: list[tuple[Module, int]] = []
        self._asked: set[tuple[Path, Chain]] = set()
        self._whole: set[Path] = set()

    def finish(self) -> None:
        """Follow all that is left to follow."""
        while self._left:
            module, number = self._left.pop()
            part = module.part(number)
            for dotted in part.imports:
                self._follow(module, dotted, ())
            for chain in part.chains:
                self._use(module, chain)
            if part.opaque:
                self._take_whole(module)

    def reach(self, module: Module, name: str, rest: Chain = ()) -> None:
        """Reach ``name`` of ``module``, of which ``rest`` is taken."""
        self.enter(module)
        if name in module.bound:
            self._use(module, (name, *rest))
        else:
            self._take_whole(module)

    def _take_whole(self, module: Module) -> None:
        """Reach all of ``module`` and all that it imports: what is used of it cannot be told."""
        if module.path in self._whole:
            return
        self._whole.add(module.path)
        self._take(module, module.whole)
        for name in module.aliases:
            self._use(module, (name,))
        for dotted in module.stars:
            self._follow(module, dotted, ())

    def _use(self, module: Module, chain: Chain) -> None:
        if (module.path, chain) in self._asked:
            return
        self._asked.add((module.path, chain))
        name, *rest = chain
        self._take(module, module.bound.get(name, ()))
        for dotted in module.aliases.get(name, ()):
            self._follow(module, dotted, tuple(rest))
        if name not in module.bound:  # built in, or one of what is imported without a name
            for dotted in module.stars:
                self._follow(module, dotted, ())

    def enter(self, module: Module) -> None:
        """Reach what the import of ``module`` does, whoever imports it."""
        if module.path in self.reached:
            return
        self.reached[module.path] = set()
        self._take(module, module.effects)
        for dotted in module.imported:
            for _, path in self._files(module, _words(dotted)):
                self.enter(self._module(path))

    def _take(self, module: Module, numbers: Iterable[int]) -> None:
        new = [number for number in numbers if number not in self.reached[module.path]]
        self.reached[module.path].update(new)
        self._left += [(module, number) for number in new]

    def _follow(self, module: Module, dotted: str, rest: Chain) -> None:
        """Reach the attribute ``rest`` of what ``module`` imports as ``dotted``."""
        words = [*_words(dotted), *rest]
        files = self._files(module, words)
        for _, path in files:
            self.enter(self._module(path))
        if not files:
            return
        for length, path in files[:-1]:  # a package may bind a name that one of its files has
            if words[length] in self._module(path).bound:
                self._use(self._module(path), tuple(words[length:]))
        length, path = files[-1]
        found = self._module(path)
        if length == len(words):  # the module is used as a value
            self._take_whole(found)
            for below in module.aliases.get("", ()):  # `import a.b` makes b an attribute of a
                if below.startswith(f"{dotted}."):
                    self._follow(module, below, ())
        else:
            self.reach(found, words[length], tuple(words[length + 1 :]))

    def _files(self, module: Module, words: list[str]) -> list[tuple[int, Path]]:
        """Return the project's files of the packages and the module that begin ``words``."""
        if words[0]:
            lengths = range(1, len(words) + 1)
            found = [(length, self._locate(".".join(words[:length]))) for length in lengths]
            return [(length, path) for length, path in found if path is not None]
        names = [word for word in words if word]
        level = len(words) - len(names)
        folder = module.path.parents[min(level, len(module.path.parents)) - 1]
        candidates = [(level, folder / "__init__.py")]
        for length in range(1, len(names) + 1):
            place = folder.joinpath(*names[:length])
            candidates.append((level + length, place.with_name(f"{place.name}.py")))
            candidates.append((level + length, place / "__init__.py"))
        return [(length, file) for length, file in candidates if file.is_file()]


def _words(dotted: str) -> list[str]:
    """Return ``["", "", "a", "b"]`` for ``..a.b``: an empty word for each leading dot."""
    name = dotted.lstrip(".")
    return [*[""] * (len(dotted) - len(name)), *(name.split(".") if name else [])]


def _digest(module: Module, numbers: Iterable[int]) -> str:
    # Definitions by name, so that they may be moved within their file; all else in its order.
    ordered = sorted(numbers, key=lambda number: (module.defined(number), number))
    text = "\n".join(module.part(number).text for number in ordered)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
