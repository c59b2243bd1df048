"""The names of the backends that there are."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_gpuexp.errors import UsageProblems

BUILT_IN = ("local", "in-process", "modal")


def known_backends(offered: Iterable[object]) -> list[str]:
    """Return the built-in names, then those of ``offered``: what each hook returned.

    Raises:
        UsageProblems: a hook returned something else than a list of names; all are told.
    """
    problems: list[str] = []
    names: list[str] = []
    for answer in offered:
        if isinstance(answer, (list, tuple)) and all(isinstance(one, str) for one in answer):
            names += answer
        else:
            problems.append(f"it returned {answer!r}; return a list of names, as ['slurm']")
    if problems:
        raise UsageProblems("pytest_gpuexp_backend_names", problems)
    return list(dict.fromkeys([*BUILT_IN, *sorted(names)]))


def refusal(name: str, offered: Iterable[object]) -> str:
    """Return why a session that was asked for ``name`` has no backend."""
    try:
        names = known_backends(offered)
    except UsageProblems as error:
        return str(error)
    if name in names:
        return (
            f"backend {name!r} is named by a pytest_gpuexp_backend_names, and no "
            "pytest_gpuexp_make_backend made it."
        )
    *most, last = names
    return (
        f"backend {name!r} is not known here: there are {', '.join(most)} and {last}. Offer "
        "others by the hook pytest_gpuexp_make_backend in a conftest.py or a plugin."
    )
