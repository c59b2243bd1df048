"""The secret groups of a project on Modal: which are there, what they lack, and their writing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gpuexp.errors import BackendUnavailable
from pytest_gpuexp.project import SECRET_KEYS, Modal

# The seeds call the same group by two names; where the first is not there, the second will do.
_OTHERWISE: Mapping[str, str] = {"wandb-credentials": "wandb-api-key"}


def settle(settings: Modal) -> tuple[str, ...]:
    """Return the groups that ``settings`` asks for, by the names under which Modal has them.

    Raises:
        BackendUnavailable: groups or keys are not there; all are named.
    """
    chosen: list[str] = []
    problems: list[str] = []
    for name in settings.secrets:
        found, missing = find(name, settings.environment)
        if missing is None:
            problems.append(f"there is no group {name!r}{_holding(name)}")
        elif missing:
            problems.append(f"group {found!r} lacks {', '.join(missing)}")
        else:
            chosen.append(found)
    if problems:
        raise BackendUnavailable(_absent(problems, settings.environment))
    return tuple(chosen)


def find(name: str, environment: str | None) -> tuple[str, list[str] | None]:
    """Return the name under which Modal has the group ``name``, and which of its keys it lacks.

    The second is None where there is no such group, and [] where nothing is lacking.
    """
    for known in (name, _OTHERWISE.get(name)):
        if known is None:
            continue
        keys = SECRET_KEYS.get(known, ())
        if _is_there(known, keys, environment):
            return known, []
        if _is_there(known, (), environment):
            return known, [key for key in keys if not _is_there(known, (key,), environment)]
    return name, None


def write(name: str, values: Mapping[str, str], environment: str | None) -> bool:
    """Create the group ``name``, or replace those of its keys that are in ``values``.

    Keys that others have added stay. Returns whether it was created.
    """
    import modal

    if _is_there(name, (), environment):
        _secret(name, (), environment).update(dict(values))
        return False
    modal.Secret.objects.create(name, dict(values), environment_name=environment)
    return True


def _is_there(name: str, keys: Sequence[str], environment: str | None) -> bool:
    import modal.exception as told

    try:
        _secret(name, keys, environment).hydrate()
    except (told.NotFoundError, told.InvalidError):
        return False
    return True


def _secret(name: str, keys: Sequence[str], environment: str | None) -> Any:
    import modal

    return modal.Secret.from_name(name, required_keys=list(keys), environment_name=environment)


def _holding(name: str) -> str:
    keys = SECRET_KEYS.get(name)
    return f" (with {', '.join(keys)})" if keys else ""


def _absent(problems: Sequence[str], environment: str | None) -> str:
    where = f" in environment {environment!r}" if environment else ""
    return (
        f"secrets not found on Modal{where}: {'; '.join(problems)}. Create them from your "
        "environment with: gpuexp secrets (or make modal-secrets, or mise run modal-secrets). Or "
        "do without: write secrets = [] under [tool.gpuexp.modal] of pyproject.toml, or name there "
        "the groups that you have."
    )
