"""The names by which parameters, values and runs are told apart, the same in every process."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence

from pytest_gpuexp.records import Plain

RESERVED = {
    "seed": "write @seeds(...) or --seed",
    "runner": "it is the fixture that every handler may take",
    "request": "it is a fixture of pytest",
}
_LONGEST = 48  # characters of one value in an id
_UNCLEAN = re.compile(r"[^\w.\-]+")
_UNCLEAN_KEY = re.compile(r"[^\w.]+")
_LIKE_ANOTHER_TYPE = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?|-?inf|None|True|False")
_FOLDER = re.compile(r"[A-Za-z0-9][\w.-]*")
_NUMBERED = re.compile(r"e\d+_\d+(?=_)")
_TAGS = ("str", "list")
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def name_problem(name: object) -> str | None:
    """Return what is wrong with ``name`` as a parameter's name, or None."""
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        return f"{name!r} cannot name a parameter; use letters, digits and _, nested by dots"
    if name in RESERVED or name.startswith("seed."):
        reserved = name.partition(".")[0]
        return f"{name!r} cannot name a parameter; {RESERVED[reserved]}"
    return None


def unknown_name(name: str, known: Collection[str]) -> str:
    """Return the sentence that ``name`` is none of ``known``, with those that are right."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{name!r} is not a parameter{hint} ({', '.join(sorted(known)) or 'there are none'})"


def folder_problem(experiment_id: object) -> str | None:
    """Return why an experiment's id cannot name its folder, or None."""
    if isinstance(experiment_id, str) and _FOLDER.fullmatch(experiment_id):
        return None
    return f"experiment id {experiment_id!r} names a folder: letters, digits, '-', '_' and '.'"


def handler_id(name: str) -> str:
    """Return ``e1_1`` for ``e1_1_latent_visualization``, and any other name as it is."""
    match = _NUMBERED.match(name)
    return match[0] if match else name


def row_text(names: Sequence[str], values: Sequence[Plain]) -> str:
    """Return ``lr:0.001-width:32``; different values give different texts."""
    if len(names) == 1:
        return f"{names[0]}:{value_text(values[0])}"
    return "-".join(
        [f"{name}:{value_text(value)}" for name, value in zip(names, values, strict=True)]
    )


def value_text(value: Plain) -> str:
    """Return a plain value as a part of an id, in characters that pytest's ``-k`` takes.

    A function of the value alone, so that an id stays when its neighbours change. Where cleaning
    or cutting would make two values look alike, a short sha256 keeps them apart; a str that looks
    like another type is marked (``str:1``), a list of one as well (``list:32``).
    """
    kind = type(value)
    if kind is float or kind is bool:
        return repr(value)
    if kind is str:
        text = _string_text(value)
    elif kind is list:
        text = _list_text(value)
    elif kind is dict:
        text = _dict_text(value)
    else:
        text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 9]}-{_digest(value)}"


def run_id(experiment_id: str, handler: str, parameters: Mapping[str, Plain], seed: int) -> str:
    """Return ``<handler>-<16 hex digits>``, whatever the order of ``parameters``; 1 is not 1.0."""
    content = _encode([experiment_id, handler, parameters, seed])
    return f"{handler}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _string_text(value: str) -> str:
    if _LIKE_ANOTHER_TYPE.fullmatch(value):
        return f"str:{value}"
    cleaned = _UNCLEAN.sub("_", value)
    return value if value and cleaned == value else f"{cleaned or 'empty'}-{_digest(value)}"


def _list_text(value: list[Plain]) -> str:
    parts = [value_text(item) for item in value]
    text = "+".join(parts)
    if not parts or any(map(_is_container, value)) or any("+" in part for part in parts):
        return f"{text or 'empty'}-{_digest(value)}"
    return text if len(parts) > 1 else f"list:{text}"


def _dict_text(value: dict[str, Plain]) -> str:
    keys = sorted(value)
    parts = [value_text(value[key]) for key in keys]
    cleaned = [_UNCLEAN_KEY.sub("_", key) for key in keys]
    text = "+".join([f"{key}:{part}" for key, part in zip(cleaned, parts, strict=True)])
    ambiguous = (
        not keys
        or cleaned != keys
        or any(map(_is_container, value.values()))
        or any("+" in part or ":" in part for part in parts)
        or any(key in _TAGS or not key for key in keys)
    )
    return f"{text or 'empty'}-{_digest(value)}" if ambiguous else text


def _is_container(value: Plain) -> bool:
    return isinstance(value, (list, dict))


def _digest(value: Plain) -> str:
    return hashlib.sha256(_encode(value).encode()).hexdigest()[:8]
