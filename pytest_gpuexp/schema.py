"""Which keys a record has, and what each may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any, get_args

from pytest_gpuexp.errors import RecordInvalid
from pytest_gpuexp.plain import plain
from pytest_gpuexp.records import Artifact, Assertion, ExperimentResult, Plain, Status, Verdict

VERSION = 1

# The keys of a record in their order, and whether they stand there even when they hold nothing.
_RESULT_KEYS = tuple(
    (field.name, field.default is MISSING and field.default_factory is MISSING)
    for field in fields(ExperimentResult)
)


def record_to_plain(result: ExperimentResult, *, with_provenance: bool = True) -> dict[str, Plain]:
    """Return ``result`` as its record has it: ``version`` first, ``provenance`` last.

    Optional keys that hold nothing (None, or an empty string, list or mapping) are left out.

    Raises:
        UsageProblems: ``config``, ``parameters`` or ``provenance`` hold what YAML has no place for.
    """
    record: dict[str, Any] = {"version": VERSION}
    for name, required in _RESULT_KEYS:
        if name == "provenance" and not with_provenance:
            continue
        value = getattr(result, name)
        if required or value or isinstance(value, bool | int | float):
            record[name] = value
    return dict(plain(record))


def record_from_plain(data: Plain, *, place: str = "record") -> ExperimentResult:
    """Return the result that a record speaks of; ``place`` names the record in errors.

    Raises:
        RecordInvalid: another version, unknown or missing keys, values of the wrong type; all told.
    """
    if not isinstance(data, Mapping) or "version" not in data:
        raise RecordInvalid(f"{place}: not a record: it does not start with version: {VERSION}.")
    if data["version"] != VERSION:
        raise RecordInvalid(
            f"{place}: version {data['version']!r} is unknown; this pytest-gpuexp reads version "
            f"{VERSION}. Read it with the pytest-gpuexp that wrote it, or upgrade."
        )
    content = {key: value for key, value in data.items() if key != "version"}
    problems = list(_problems(ExperimentResult, content, ""))
    for key, record in (("assertions", Assertion), ("artifacts", Artifact)):
        entries = content.get(key, ())
        if isinstance(entries, list):
            for index, entry in enumerate(entries):
                problems += _problems(record, entry, f"{key}[{index}]")
    if problems:
        raise RecordInvalid(f"{place}: " + "; ".join(problems) + ".")
    content["assertions"] = tuple(Assertion(**entry) for entry in content.get("assertions", ()))
    content["artifacts"] = tuple(Artifact(**entry) for entry in content.get("artifacts", ()))
    content["non_finite"] = tuple(content.get("non_finite", ()))
    content["seeded"] = tuple(content.get("seeded", ()))
    return ExperimentResult(**content)


def _is_number(value: Plain) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool))


# What the annotations of a record ask of the values in its file.
_CHECKS: Mapping[str, tuple[str, Callable[[Plain], bool]]] = {
    "str": ("a str", lambda value: isinstance(value, str)),
    "str | None": ("a str", lambda value: value is None or isinstance(value, str)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("an int", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "int | None": ("an int", lambda value: value is None or type(value) is int),
    "float": ("a number", _is_number),
    "Status": ("one of " + ", ".join(get_args(Status)), lambda value: value in get_args(Status)),
    "Verdict": ("one of " + ", ".join(get_args(Verdict)), lambda value: value in get_args(Verdict)),
    "Mapping[str, Plain]": ("a mapping", lambda value: isinstance(value, dict)),
    "Mapping[str, str]": (
        "a mapping to str",
        lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
    ),
    "Mapping[str, float]": (
        "a mapping to numbers",
        lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
    ),
    "Sequence[str]": (
        "a list of str",
        lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    ),
    "Sequence[Assertion]": ("a list", lambda value: isinstance(value, list)),
    "Sequence[Artifact]": ("a list", lambda value: isinstance(value, list)),
}


def _problems(record: type, content: Plain, place: str) -> Iterator[str]:
    """Yield what stops ``content`` from becoming a ``record``."""
    if not isinstance(content, dict):
        yield f"{place}: {content!r} is not a mapping"
        return
    prefix = f"{place}." if place else ""
    known = {field.name: field for field in fields(record)}
    for key in [key for key in content if key not in known]:
        yield f"{prefix}{key} is not known ({', '.join(known)})"
    for key, field in known.items():
        if key not in content:
            if field.default is MISSING and field.default_factory is MISSING:
                yield f"{prefix}{key} is missing"
            continue
        wanted, holds = _CHECKS[str(field.type)]
        if not holds(content[key]):
            yield f"{prefix}{key}: {content[key]!r} is not {wanted}"
