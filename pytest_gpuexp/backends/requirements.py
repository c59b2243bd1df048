"""Which packages the image of a project needs, as its own files say."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_gpuexp.backends.modal_names import DISTRIBUTION
from pytest_gpuexp.errors import UsageProblems

PLACE = "[tool.gpuexp] of pyproject.toml"
_CARRIED = ("tigris",)  # extras of the plugin that a container needs
_HUB = "huggingface_hub"  # by which models come into the cache


def of_plugin() -> list[str]:
    """Return what the plugin itself needs there, pytest at the version that is here.

    Reports of pytest cross between the two, so they must be the same.
    """
    requirements = []
    for text in importlib.metadata.requires(DISTRIBUTION) or ():
        one = Requirement(text)
        carried = one.marker is None or any(one.marker.evaluate({"extra": e}) for e in _CARRIED)
        if carried and one.name != "pytest":
            one.marker = None
            requirements.append(str(one))
    return [f"pytest=={importlib.metadata.version('pytest')}", *requirements, _HUB]


def of_pyproject(root: Path, extras: Sequence[str]) -> list[str]:
    """Return the dependencies that pyproject.toml lists, with those of ``extras``.

    The plugin is left out: it is on no index, and travels as source.

    Raises:
        UsageProblems: they are not listed there, or there is no such extra; all problems.
    """
    path = root / "pyproject.toml"
    document = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    packaged: Mapping[str, Any] = document.get("project", {})
    optional: Mapping[str, Sequence[str]] = packaged.get("optional-dependencies", {})
    problems = [
        f"modal.extras: {extra!r} is none of the project's ({', '.join(optional) or 'it has none'})"
        for extra in extras
        if extra not in optional
    ]
    if not packaged:
        problems.append('modal.dependencies: "pyproject" needs a [project] table')
    if "dependencies" in packaged.get("dynamic", ()):
        problems.append(
            "modal.dependencies: the project's dependencies are dynamic; name the file that has "
            'them, as dependencies = "requirements.txt"'
        )
    if problems:
        raise UsageProblems(PLACE, problems)
    own = canonicalize_name(str(packaged.get("name", "")))
    wanted = [*packaged.get("dependencies", ()), *_expanded(extras, optional, own)]
    return [one for one in dict.fromkeys(wanted) if not _is_of(one, DISTRIBUTION)]


def without_plugin(text: str) -> str:
    """Return the requirements file ``text`` without the line that asks for the plugin."""
    return "".join(one for one in text.splitlines(True) if not _is_of(one, DISTRIBUTION))


def _expanded(
    extras: Sequence[str], optional: Mapping[str, Sequence[str]], own: str
) -> Iterator[str]:
    """Yield what ``extras`` ask for; one that names the project itself stands for its extras."""
    left, seen = list(extras), set(extras)
    while left:
        for one in optional.get(left.pop(0), ()):
            if not _is_of(one, own):
                yield one
                continue
            more = sorted(Requirement(one).extras - seen)
            seen.update(more)
            left += more


def _is_of(text: str, name: str) -> bool:
    try:
        found = Requirement(text.partition(" #")[0].strip()).name
    except InvalidRequirement:  # an option, a path, a comment
        return False
    return canonicalize_name(found) == canonicalize_name(name)
