"""What a project's pyproject.toml says of its experiments: ``[tool.gpuexp]``."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_gpuexp.costs import PRICES
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.roots import project_root
from pytest_gpuexp.tiers import TIERS, Tier, find_tier, parse_duration

SECRET_KEYS: Mapping[str, Sequence[str]] = {
    "tigris-credentials": [
        "TMGG_TIGRIS_BUCKET",
        "TMGG_TIGRIS_ACCESS_KEY",
        "TMGG_TIGRIS_SECRET_KEY",
    ],
    "wandb-credentials": ["WANDB_API_KEY"],
    "wandb-api-key": ["WANDB_API_KEY"],
}
_WHERE = "[tool.gpuexp] of pyproject.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Modal:
    """What Modal is asked for.

    ``dependencies`` names what is installed: ``"pyproject"`` (with ``extras``), a lock or
    requirements file relative to the project, or requirements themselves. ``secrets`` are groups by
    name. ``results`` and ``models`` are volumes; ``download_models`` are brought onto the latter.
    ``exclude`` are patterns of files that stay home.
    """

    app: str
    environment: str | None = None
    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"
    dependencies: str | tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    env: Mapping[str, str]
    secrets: tuple[str, ...] = ("tigris-credentials", "wandb-credentials")
    results: str
    models: str
    download_models: tuple[str, ...] = ()
    region: str | None = None
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project's own choices, the tiers as it has them, and dollars a GPU and hour."""

    name: str
    tiers: Mapping[str, Tier]
    prices: Mapping[str, float]
    modal: Modal


def read_project(root: Path) -> Project:
    """Return what ``pyproject.toml`` in ``root`` says; without one, the defaults.

    Raises:
        UsageProblems: it is no TOML, or says what has no meaning here; all problems.
    """
    path = root / "pyproject.toml"
    try:
        document = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise UsageProblems(str(path), [str(error)]) from None
    return project_of(document, fallback=root.name)


def tiers_of(folder: Path) -> Mapping[str, Tier]:
    """Return the tiers of the project that ``folder`` is in.

    Raises:
        UsageProblems: see ``read_project``.
    """
    return read_project(project_root(folder)).tiers


def project_of(document: Mapping[str, Any], *, fallback: str) -> Project:
    """Return what the ``pyproject.toml`` ``document`` says; ``fallback`` names a nameless project.

    Raises:
        UsageProblems: something has no meaning here; all problems.
    """
    told = document.get("project", {}).get("name") or fallback
    name = re.sub(r"[^a-z0-9-]+", "-", str(told).lower()).strip("-") or "project"
    table = document.get("tool", {}).get("gpuexp", {})
    problems: list[str] = []
    problems += _unknown(table, ("tiers", "prices", "modal"), "")
    prices = _prices(table.get("prices", {}), problems)
    tiers = _tiers(table.get("tiers", {}), problems)
    modal = _modal(table.get("modal", {}), name, "project" in document, problems)
    if problems:
        raise UsageProblems(_WHERE, problems)
    return Project(name=name, tiers=tiers, prices=prices, modal=modal)


def _prices(table: Mapping[str, Any], problems: list[str]) -> dict[str, float]:
    prices = dict(PRICES)
    for model, price in table.items():
        if isinstance(price, int | float) and not isinstance(price, bool) and price >= 0:
            prices[model] = float(price)
        else:
            problems.append(f"prices.{model}: {price!r} is not a number of dollars an hour")
    return prices


def _tiers(table: Mapping[str, Any], problems: list[str]) -> dict[str, Tier]:
    tiers = dict(TIERS)
    for name, said in table.items():
        place = f"tiers.{name}"
        if not isinstance(said, Mapping):
            problems.append(f'{place}: {said!r} is not a table such as {{gpu = "L40S"}}')
            continue
        problems += _unknown(said, ("gpu", "timeout"), f"{place}.")
        known = tiers.get(name)
        try:
            gpu = find_tier(said["gpu"]) if "gpu" in said else known
            if gpu is None:
                problems.append(f"{place}: a tier of your own needs a gpu")
                continue
            timeout = known.timeout_seconds if known else None
            if "timeout" in said:
                timeout = parse_duration(said["timeout"])
            tiers[name] = Tier(name=name, gpu=gpu.gpu, gpus=gpu.gpus, timeout_seconds=timeout)
        except UsageProblems as error:
            problems += [f"{place}: {problem}" for problem in error.problems]
    return tiers


def _modal(table: Mapping[str, Any], name: str, packaged: bool, problems: list[str]) -> Modal:
    problems += _unknown(table, list(_MODAL_CHECKS), "modal.")
    taken: dict[str, Any] = {
        "app": f"gpuexp-{name}",
        "results": f"gpuexp-{name}-results",
        "models": f"gpuexp-{name}-models",
        "dependencies": "pyproject" if packaged else (),
        "env": {},
    }
    for key, value in table.items():
        wanted, holds = _MODAL_CHECKS.get(key, ("", lambda value: False))
        if not wanted:
            continue
        if holds(value):
            taken[key] = tuple(value) if isinstance(value, list) else value
        else:
            problems.append(f"modal.{key}: {value!r} is not {wanted}")
    return Modal(**taken)


def _unknown(table: Mapping[str, Any], known: Sequence[str], prefix: str) -> list[str]:
    return [f"{prefix}{key} is not known ({', '.join(known)})" for key in table if key not in known]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_env(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


_Check = tuple[str, Callable[[object], bool]]
_TEXT: _Check = ("a string", _is_text)
_LIST: _Check = ("a list of strings", _is_list)
_MODAL_CHECKS: Mapping[str, _Check] = {
    "app": _TEXT,
    "environment": _TEXT,
    "python": ('"3.11" or newer, in quotes', lambda v: bool(re.fullmatch(r"3\.1[1-9]", str(v)))),
    "dependencies": (
        '"pyproject", the name of a file, or a list of requirements',
        lambda value: _is_text(value) or _is_list(value),
    ),
    "extras": _LIST,
    "apt": _LIST,
    "env": ("a table of strings", _is_env),
    "secrets": _LIST,
    "results": _TEXT,
    "models": _TEXT,
    "download_models": _LIST,
    "region": _TEXT,
    "exclude": _LIST,
}


def to_plain(project: Project) -> dict[str, Any]:
    """Return ``project`` as JSON values."""
    return asdict(project)


def from_plain(data: Mapping[str, Any]) -> Project:
    """Return the project that ``to_plain`` was given."""
    modal: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in data["modal"].items()
    }
    tiers = {name: Tier(**said) for name, said in data["tiers"].items()}
    return Project(name=data["name"], tiers=tiers, prices=data["prices"], modal=Modal(**modal))
