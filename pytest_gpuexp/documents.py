"""How a record is written as YAML and read back."""

from __future__ import annotations

import gc
import io
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, ClassVar

import yaml

from pytest_gpuexp import sealing
from pytest_gpuexp.errors import RecordInvalid
from pytest_gpuexp.plain import plain
from pytest_gpuexp.records import ExperimentResult, Plain
from pytest_gpuexp.schema import record_from_plain, record_to_plain

__all__ = [
    "dump",
    "dump_record",
    "load",
    "plain",
    "read_record",
    "record_from_plain",
    "record_to_plain",
]

# libyaml's classes are five times as fast; PyYAML is installed without them where it was built
# from source and libyaml's headers were absent.
_FAST_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FLOATS = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_STR, _NULL, _BOOL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"

_YAML_1_1: Any = yaml.resolver.Resolver()

_SHORT = 40  # characters, of strings that are likely to come again

# Readers take these for line ends and give back "\n"; only an escape keeps them.
_ODD_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")


def _scalar(text: str) -> yaml.Event:
    """Return the event of a string; one that anybody would misread is quoted."""
    style = _style(text)
    bare = style is None and _read_as(text) == _STR
    return yaml.ScalarEvent(None, None, (bare, True), text, style=style)


_known_scalar = lru_cache(maxsize=4096)(_scalar)  # keys and words come again and again


def _bare(text: str) -> yaml.Event:
    return yaml.ScalarEvent(None, None, (True, False), text)


_NONE, _TRUE, _FALSE = _bare("null"), _bare("true"), _bare("false")
_MAPPING_END, _SEQUENCE_END = yaml.MappingEndEvent(), yaml.SequenceEndEvent()


def _tell(emit: Callable[[yaml.Event], None], data: Plain) -> None:
    """Emit ``data``, which ``plain`` has been over; no aliases, no sorting.

    Event by event: a tree of nodes first would take 3 kB a run of a large results.yaml.
    """
    kind = type(data)
    if kind is str:
        emit((_known_scalar if len(data) < _SHORT else _scalar)(data))
    elif kind is float:
        emit(_bare(_float_text(data)))
    elif kind is dict:
        emit(yaml.MappingStartEvent(None, None, True, flow_style=not data))
        for key, value in data.items():
            emit(_known_scalar(key))
            _tell(emit, value)
        emit(_MAPPING_END)
    elif kind is list:
        on_one_line = not any(isinstance(item, str | list | dict) for item in data)
        emit(yaml.SequenceStartEvent(None, None, True, flow_style=on_one_line))
        for item in data:
            _tell(emit, item)
        emit(_SEQUENCE_END)
    elif data is None or kind is bool:
        emit(_NONE if data is None else _TRUE if data else _FALSE)
    else:
        emit(_bare(str(data)))


class _Loader(_FAST_LOADER):  # type: ignore[misc]
    """Reads the scalars of YAML 1.2: ``1e-05`` is a number, ``no`` and dates are strings."""

    # PyYAML's own table is YAML 1.1's; ours starts empty and is filled below.
    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of ``node``, in which no key may stand twice."""
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            _refuse_duplicates(node)
        return mapping

    def construct_int(self, node: yaml.ScalarNode) -> int:
        """Return the number that Python would read; ``0o17`` and ``0x1F`` included."""
        return int(self.construct_scalar(node), 0)


_Loader.add_implicit_resolver(_FLOAT, _FLOATS, list("-+0123456789."))
_Loader.add_implicit_resolver(
    _INT, re.compile(r"^(?:[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    _BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_constructor(_INT, _Loader.construct_int)


def dump(data: Mapping[str, Any]) -> bytes:
    """Return ``data`` as a YAML document in UTF-8, keys in the order given.

    Anything that ``plain`` takes may stand in it. What ``load`` reads back equals
    ``plain(data)``; NaN and infinities are written as ``.nan`` and ``.inf``.

    Raises:
        UsageProblems: something in ``data`` has no place in YAML; all such keys are named.
    """
    return _emit(plain(data))


def load(data: bytes | str, *, place: str = "YAML") -> Plain:
    """Return what the YAML document ``data`` says; ``place`` names it in errors.

    Scalars are read as YAML 1.2 has them: ``1e-05`` is a float; ``yes``, ``no``, ``on``, ``off``
    and dates are strings.

    Raises:
        RecordInvalid: not UTF-8, not YAML, a key given twice, or a tag that makes objects.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        return yaml.load(text, Loader=_Loader)  # a safe loader, mended
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = error.problem or error.context
    except (yaml.YAMLError, UnicodeError, ValueError, RecursionError) as error:
        where, what = "", str(error)
    raise RecordInvalid(
        f"{place}: {where}{what}. The file is truncated or was edited by hand: mend it there, "
        f"or delete it."
    )


def dump_record(result: ExperimentResult, provenance_text: bytes = b"") -> bytes:
    """Return the record of ``result``, ready to be written.

    ``provenance_text`` is ``dump({"provenance": ...})``, made once a session and appended as it
    is in place of ``result.provenance``: it is long and the same for every run.

    Raises:
        UsageProblems: see ``record_to_plain``.
    """
    record = _emit(record_to_plain(result, with_provenance=not provenance_text))
    return sealing.sealed(record + provenance_text)


def read_record(data: bytes | str, place: str = "record") -> ExperimentResult:
    """Return the result that the record ``data`` speaks of; ``place`` names it in errors.

    Raises:
        RecordInvalid: see ``load`` and ``record_from_plain``.
    """
    result = record_from_plain(load(data, place=place), place=place)
    sealing.check(data, place)  # last: what else is wrong with a record says more
    return result


def _emit(data: Plain) -> bytes:
    text = _emit_with(_FAST_DUMPER, data)
    # libyaml escapes what lies beyond 16 bits, emoji for one; PyYAML's own emitter, which takes
    # ten times as long, writes it as it is.
    if b"\\U000" in text and len(text) < 1 << 20:
        return _emit_with(yaml.SafeDumper, data)
    return text


def _emit_with(dumper_type: Any, data: Plain) -> bytes:
    stream = io.BytesIO()
    # Lines of any width, or findings would be folded and no longer be found by grep.
    dumper = dumper_type(stream, encoding="utf-8", allow_unicode=True, width=1 << 20)
    # Events make no cycles, and a third of the time would go into looking for some.
    collecting = gc.isenabled()
    gc.disable()
    try:
        dumper.open()
        dumper.emit(yaml.DocumentStartEvent(explicit=False))
        _tell(dumper.emit, data)
        dumper.emit(yaml.DocumentEndEvent(explicit=False))
        dumper.close()
    finally:
        dumper.dispose()
        if collecting:
            gc.enable()
    return stream.getvalue()


def _read_as(text: str) -> str:
    """Return the tag that YAML 1.1 gives to ``text`` without quotes, or 1.2 where that is str."""
    tag = _YAML_1_1.resolve(yaml.ScalarNode, text, (True, False))
    return _FLOAT if tag == _STR and _FLOATS.match(text) else str(tag)


def _style(text: str) -> str | None:
    if _ODD_BREAKS.search(text):
        return '"'
    return "|" if "\n" in text else None


def _float_text(number: float) -> str:
    if number != number:
        return ".nan"
    if number in (float("inf"), float("-inf")):
        return ".inf" if number > 0 else "-.inf"
    text = repr(number)
    # YAML 1.1 takes 1e-05 for a string, so a point goes before the exponent.
    return text.replace("e", ".0e", 1) if "." not in text and "e" in text else text


def _refuse_duplicates(node: yaml.MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                problem=f"the key {key.value!r} stands here and on line {seen[key.value] + 1}",
                problem_mark=key.start_mark,
            )
        seen[key.value] = key.start_mark.line
