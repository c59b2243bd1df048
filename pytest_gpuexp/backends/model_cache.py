"""The models in the cache volume: fetched from the Hugging Face hub, or sent from this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pytest_gpuexp.errors import GpuexpError

LOCAL = "local"  # on the volume: models that came from a folder


class Volume(Protocol):
    """What is needed of a ``modal.Volume`` in a container."""

    def commit(self) -> None:
        """Let others see what was written here."""


def split(text: str, usual: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Return the models of ``a,b`` that lie in folders of this machine, and those on the hub.

    Where ``text`` is empty the ``usual`` ones are meant.

    Raises:
        GpuexpError: none is named, or a path leads nowhere.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    names = names or list(usual)
    if not names:
        raise GpuexpError(
            "name the models: --models Qwen/Qwen2.5-VL-7B-Instruct,Lightricks/LTX-Video, or the "
            "folder of one; or once as download_models = [...] under [tool.gpuexp.modal] of "
            "pyproject.toml"
        )
    here = [name for name in names if Path(name).is_dir()]
    absent = [name for name in names if name not in here and name.startswith((".", "/", "~"))]
    if absent:
        raise GpuexpError(f"no folder of a model: {', '.join(absent)}")
    return here, [name for name in names if name not in here]


def send(folders: Sequence[str], volume: Any, *, mounted: str) -> dict[str, dict[str, Any]]:
    """Put the models in ``folders`` on ``volume``, below ``local/``; return what came of each.

    ``mounted`` is where containers have the volume.
    """
    told: dict[str, dict[str, Any]] = {}
    with volume.batch_upload(force=True) as batch:
        for folder in folders:
            place = f"/{LOCAL}/{Path(folder).resolve().name}"
            batch.put_directory(folder, place)
            told[folder] = {"place": f"{mounted}{place}", "bytes": _bytes(Path(folder))}
    return told


def fetch(names: Sequence[str], volume: Volume) -> dict[str, dict[str, Any]]:
    """Bring the models ``names`` from the hub into the cache that ``HF_HOME`` names.

    Each has its ``place`` and ``bytes``, or an ``error``; one that cannot be had stops no other,
    and what has come is committed.
    """
    told = {name: _fetched(name) for name in names}
    volume.commit()
    return told


def describe(told: Mapping[str, Mapping[str, Any]]) -> tuple[str, bool]:
    """Return what came of each model, a line each, and whether all are there."""
    lines = [
        f"! {name}: {one['error']}"
        if "error" in one
        else f"{name}: {one['bytes'] / 1e9:.2f} GB in {one['place']}"
        for name, one in told.items()
    ]
    return "\n".join(lines), not any("error" in one for one in told.values())


def _fetched(name: str) -> dict[str, Any]:
    from huggingface_hub import snapshot_download  # type: ignore[import-not-found]

    try:
        place = snapshot_download(name)
    # The hub's errors are many, and it is one model's download that has failed.
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {"place": place, "bytes": _bytes(Path(place))}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
