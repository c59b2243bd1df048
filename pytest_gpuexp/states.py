"""How a dict of numbers, arrays and tensors becomes files that hold no code, and comes back."""

from __future__ import annotations

import base64
import json
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_gpuexp.errors import UsageProblems

_STATE, _TENSORS = "state.json", "tensors.pt"
_AS_THEY_ARE = (type(None), bool, int, float, str)


def write_state(state: Mapping[Any, Any], folder: Path) -> None:
    """Write ``state`` into ``folder``, which is empty: ``state.json``, arrays, tensors.

    Dicts with keys of any plain type, lists and tuples may be nested; at their ends are None,
    bools, numbers, text, bytes, numpy's arrays and scalars, other arrays that numpy can read, and
    torch's tensors, which may share memory.

    Raises:
        UsageProblems: other things are in it; all of them are named.
    """
    writer = _Writer(folder)
    tree = writer.encode(state, "state")
    if writer.problems:
        raise UsageProblems("checkpoint", writer.problems)
    if writer.tensors:
        sys.modules["torch"].save(writer.tensors, folder / _TENSORS)
    (folder / _STATE).write_text(json.dumps(tree))


def read_state(folder: Path) -> dict[Any, Any]:
    """Return what ``write_state`` was given; other arrays come as numpy's, tensors on the CPU.

    Nothing in the files is executed: tensors are read by torch with ``weights_only``.

    Raises:
        Exception: the files are damaged; of many types.
    """
    tensors: Mapping[str, Any] = {}
    if (folder / _TENSORS).exists():
        import torch

        tensors = torch.load(folder / _TENSORS, map_location="cpu", weights_only=True)
    state = _decode(json.loads((folder / _STATE).read_text()), folder, tensors)
    return dict(state)


class _Writer:
    """One walk through a state; ``problems`` names what cannot be kept, and where it is."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[str] = []
        self.tensors: dict[str, Any] = {}
        self._folder = folder
        self._arrays = 0

    def encode(self, value: Any, place: str) -> Any:
        """Return ``value`` as JSON: leaves as they are, all else as ``{kind: content}``."""
        if type(value) in _AS_THEY_ARE:
            return value
        if isinstance(value, Mapping):
            return self._mapping(value, place)
        if isinstance(value, tuple | list):
            kind = "tuple" if isinstance(value, tuple) else "list"
            items = enumerate(value)
            return {kind: [self.encode(item, f"{place}[{index}]") for index, item in items]}
        if isinstance(value, bytes | bytearray):
            return {"bytes": base64.b64encode(value).decode()}
        return self._array(value, place)

    def _mapping(self, mapping: Mapping[Any, Any], place: str) -> Any:
        pairs = [
            [self.encode(key, f"{place}: key {key!r}"), self.encode(value, f"{place}[{key!r}]")]
            for key, value in mapping.items()
        ]
        if not isinstance(mapping, OrderedDict):
            return {"dict": pairs}
        # torch keeps the versions of modules beside their parameters.
        beside = self.encode(vars(mapping), f"{place}.__dict__")
        return {"ordered": pairs, "beside": beside}

    def _array(self, value: Any, place: str) -> Any:
        torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
        if torch is not None and isinstance(value, torch.Tensor):
            name = str(len(self.tensors))
            self.tensors[name] = value.detach()
            return {"tensor": name}
        if numpy is None or not hasattr(value, "__array__"):
            self.problems.append(
                f"{place} is a {type(value).__qualname__}; a state holds numbers, text, arrays, "
                "tensors, and dicts and lists of them. Write all else to a folder with your "
                "framework, and give its path"
            )
            return None
        array = numpy.asarray(value)
        if array.dtype.hasobject:
            self.problems.append(f"{place} is an array of Python objects; write a list")
            return None
        self._arrays += 1
        name = f"array-{self._arrays}.npy"
        numpy.save(self._folder / name, array, allow_pickle=False)
        return {"scalar" if isinstance(value, numpy.generic) else "array": name}


def _decode(tree: Any, folder: Path, tensors: Mapping[str, Any]) -> Any:
    if type(tree) in _AS_THEY_ARE:
        return tree
    [kind, content], *more = tree.items()
    if kind in ("list", "tuple"):
        items = [_decode(item, folder, tensors) for item in content]
        return items if kind == "list" else tuple(items)
    if kind in ("dict", "ordered"):
        pairs = [
            (_decode(key, folder, tensors), _decode(value, folder, tensors))
            for key, value in content
        ]
        if kind == "dict":
            return dict(pairs)
        ordered = OrderedDict(pairs)
        vars(ordered).update(_decode(more[0][1], folder, tensors))
        return ordered
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "tensor":
        return tensors[content]
    return _read_array(folder / content, kind)


def _read_array(path: Path, kind: str) -> Any:
    import numpy

    array = numpy.load(path, allow_pickle=False)
    return array[()] if kind == "scalar" else array
