"""Configs of OmegaConf and Hydra as plain values; the one room that imports the two."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from yaml import YAMLError

from pytest_gpuexp.errors import UsageProblems

_ADVICE = "Install it with: pip install 'pytest-gpuexp[hydra]'"
_HEADER = "# @package"
_DEFAULTS = re.compile(r"^[\"']?defaults\b", re.MULTILINE)


def to_plain(config: object) -> Any:
    """Return ``config`` as plain dicts and lists, its interpolations resolved.

    Raises:
        UsageProblems: an interpolation cannot be resolved, or asks the environment.
    """
    raw = unresolved(config)
    if not interpolates(raw):
        return raw
    if problems := environment_problems(raw):
        raise UsageProblems("config", problems)
    return _resolved(raw if raw is config else config)


def unresolved(config: object) -> Any:
    """Return ``config`` as plain dicts and lists, its interpolations as they are written."""
    if type(config).__module__.partition(".")[0] == "omegaconf":
        return _omegaconf().to_container(config, resolve=False)
    return config


def resolved(config: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain ``config`` with the values of ``chosen`` at their dotted keys, all resolved.

    Raises:
        UsageProblems: see ``to_plain``.
    """
    omegaconf = _omegaconf()
    with _telling("config"):
        made = omegaconf.create(dict(config))
        for name, value in chosen.items():
            omegaconf.update(made, name, value, merge=False)
    return cast(dict[str, Any], to_plain(made))


def as_omegaconf(config: Mapping[str, Any]) -> Any:
    """Return ``config`` as one of OmegaConf's."""
    return _omegaconf().create(dict(config))


def starting_folder() -> Path:
    """Return where the program was started: a Hydra app may have moved elsewhere."""
    if "hydra" in sys.modules:
        from hydra.core.hydra_config import HydraConfig

        if HydraConfig.initialized():
            return Path(str(HydraConfig.get().runtime.cwd))
    return Path.cwd()


def interpolates(value: object) -> bool:
    """Return whether ``${...}`` stands anywhere in ``value``."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Mapping):
        return any(interpolates(one) for one in value.values())
    return isinstance(value, (list, tuple)) and any(interpolates(one) for one in value)


def environment_problems(config: object, place: str = "") -> list[str]:
    """Return a problem for each value of ``config`` that asks the environment for something."""
    if isinstance(config, Mapping):
        inside = [(f"{place}.{key}" if place else str(key), one) for key, one in config.items()]
    elif isinstance(config, (list, tuple)):
        inside = [(f"{place}[{index}]", one) for index, one in enumerate(config)]
    elif isinstance(config, str) and _asks_environment(config):
        return [
            f"{place}: {config!r} asks the environment, and that of a worker is another one; "
            "write the value, or read os.environ in the handler"
        ]
    else:
        return []
    return [problem for name, one in inside for problem in environment_problems(one, name)]


def compose(folder: Path, choices: Sequence[tuple[str, str]], base: object) -> dict[str, Any]:
    """Return ``base`` with the group files of ``choices`` composed over it, not yet resolved.

    ``folder`` holds Hydra's config groups; a choice is a package and a file below ``folder``
    without its ending: ``("model", "models/gnn/standard")``. A file that says ``# @package`` itself
    goes where it says. ``base`` is a mapping, or the name of a config in ``folder``.

    Raises:
        UsageProblems: hydra-core is not installed, or the configs cannot be composed.
    """
    _need("hydra", "config groups")
    problems = [problem for _, one in choices for problem in _choice_problems(folder, one)]
    if isinstance(base, str) and (folder / f"{base}.yaml").is_file():
        problems += _file_problems(folder, base)
    if not folder.is_dir():
        problems = [f"there is no folder {folder}"]
    if problems:
        raise UsageProblems(f"base_config_path {folder}", problems)
    name = base if isinstance(base, str) else None
    overrides = [_override(folder, package, choice) for package, choice in choices]
    composed = _compose(folder, name, overrides)
    if name is None and base:
        with _telling("base_config"):
            composed = _omegaconf().merge(base, composed)
    return cast(dict[str, Any], _omegaconf().to_container(composed, resolve=False))


class Composer:
    """Composes many choices over one base, each file but once where that comes to the same.

    It does where files have no defaults list of their own, and the base is a mapping: then what
    a file brings does not depend on the others, and Hydra merges one after the other.
    """

    def __init__(self, folder: Path, base: object) -> None:
        """Compose over ``base``, as ``compose`` does."""
        self._folder, self._base = folder, base
        self._parts: dict[tuple[str, str], dict[str, Any]] = {}
        self._depends = functools.cache(self._depends_on_others)

    def compose(self, choices: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Return what ``compose`` returns for ``choices``."""
        # Wrong choices are told by one call, all of them.
        if isinstance(self._base, str) or any(self._depends(one) for _, one in choices):
            return compose(self._folder, choices, self._base)
        for choice in choices:
            if choice not in self._parts:
                self._parts[choice] = compose(self._folder, [choice], {})
        with _telling("base_config"):
            merged = _omegaconf().merge(self._base, *(self._parts[choice] for choice in choices))
        return cast(dict[str, Any], _omegaconf().to_container(merged, resolve=False))

    def _depends_on_others(self, choice: str) -> bool:
        """Return whether the file of ``choice`` is not as it should be, or names others."""
        file = self._folder / f"{choice}.yaml"
        if _choice_problems(self._folder, choice):
            return True
        return _DEFAULTS.search(file.read_text("utf-8")) is not None


def parse_overrides(words: Sequence[str]) -> list[tuple[str, list[Any]]]:
    """Return key and values of each of ``words``, in Hydra's override grammar.

    ``lr=1e-4,1e-3``, ``depth=range(1,4)`` and ``choice(...)`` give several values. A ``+`` before
    the key is left out.

    Raises:
        UsageProblems: hydra-core is not installed, or some words are not in the grammar; all told.
    """
    _need("hydra", "overrides in Hydra's grammar")
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser, read, problems = OverridesParser.create(), [], []
    for word in words:
        try:
            (override,) = parser.parse_overrides([word])
            if override.is_delete():
                raise HydraException("~ takes a key away, which a stage cannot do")
            values = (
                list(override.sweep_iterator(lambda value: value))
                if override.is_sweep_override()
                else [override.value()]
            )
            read.append((override.get_key_element().lstrip("+"), [_unquoted(v) for v in values]))
        except HydraException as error:
            problems.append(f"{word}: {str(error).splitlines()[0]}")
    if problems:
        raise UsageProblems("overrides", problems)
    return read


def is_installed() -> bool:
    """Return whether hydra-core is here."""
    return importlib.util.find_spec("hydra") is not None


def _resolved(config: object) -> Any:
    omegaconf = _omegaconf()
    with _telling("config"):
        made = config if omegaconf.is_config(config) else omegaconf.create(config)
        return omegaconf.to_container(made, resolve=True, throw_on_missing=False)


@contextmanager
def _telling(subject: str) -> Iterator[None]:
    """Make what OmegaConf refuses a problem of ``subject``, with its key."""
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except OmegaConfBaseException as error:
        raise UsageProblems(subject, [_sentence(error)]) from None


def _sentence(error: Exception) -> str:
    return f"{getattr(error, 'full_key', None) or 'config'}: {str(error).splitlines()[0]}"


def _compose(folder: Path, name: str | None, overrides: list[str]) -> Any:
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with _cleared(), hydra.initialize_config_dir(str(folder.resolve()), version_base="1.3"):
            return hydra.compose(config_name=name, overrides=overrides)
    except (HydraException, OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        # Hydra has no words of its own for a file that cannot be read.
        told = str(error) or str(error.__cause__ or error.__context__ or type(error).__name__)
        raise UsageProblems(f"base_config_path {folder}", [" ".join(told.split())]) from None


@contextmanager
def _cleared() -> Iterator[None]:
    """Give Hydra a state of our own, and the user's Hydra app its own back."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton

    state = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        Singleton.set_state(state)


def _choice_problems(folder: Path, choice: str) -> list[str]:
    if (folder / f"{choice}.yaml").is_file():
        if "/" in choice:
            return _file_problems(folder, choice)
        return [f"{choice!r} is of no group; put it into a folder there, as models/{choice}"]
    found = sorted(
        path.relative_to(folder).with_suffix("").as_posix()
        for path in (folder / choice).parent.glob("*.yaml")
    )
    return [f"{choice!r} is no config there; beside it are: {', '.join(found) or 'none'}"]


def _file_problems(folder: Path, name: str) -> list[str]:
    """Return what keeps the config ``name`` in ``folder`` from being composed, by its file."""
    from omegaconf.errors import OmegaConfBaseException

    file, omegaconf = f"{name}.yaml", _omegaconf()
    try:
        loaded = omegaconf.load(folder / file)
    except UnicodeDecodeError as error:
        return [f"{file}: it is not UTF-8 ({error.reason}, byte {error.start})"]
    except OmegaConfBaseException as error:
        return [f"{file}: {_sentence(error)}"]
    except (YAMLError, OSError) as error:
        return [f"{file}: {' '.join(str(error).split())}"]
    return [] if omegaconf.is_dict(loaded) else [f"{file}: it holds a list, not a mapping"]


def _override(folder: Path, package: str, choice: str) -> str:
    group, _, option = choice.rpartition("/")
    text = (folder / f"{choice}.yaml").read_text("utf-8")
    own = any(line.startswith(_HEADER) for line in text.splitlines())
    quoted = "'" + option.replace("'", "\\'") + "'"  # 8 and true are names here, no values
    return f"+{group}={quoted}" if own else f"+{group}@{package}={quoted}"


def _asks_environment(text: str) -> bool:
    words = text.replace(" ", "")
    return "${oc.env:" in words or "${env:" in words


def _unquoted(value: Any) -> Any:
    text = getattr(value, "text", None)  # what stood in quotes
    return value if text is None else text


def _omegaconf() -> Any:
    _need("omegaconf", "interpolations and OmegaConf's configs")
    from omegaconf import OmegaConf

    return OmegaConf


def _need(module: str, what: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UsageProblems(what, [f"{what} need the extra 'hydra'. {_ADVICE}"])
