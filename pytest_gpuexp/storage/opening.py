"""Which storage an address names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.storage import modal_volume
from pytest_gpuexp.storage.access import SCHEME, split_url
from pytest_gpuexp.storage.local import LocalStorage
from pytest_gpuexp.storage.tigris import TigrisStorage

STUB_FOLDER = ".stub"


def open_storage(
    url: str, *, folder: Path, stub: bool = False, environ: Mapping[str, str] = os.environ
) -> Storage | None:
    """Return the storage of ``s3://bucket/prefix``, ``modal://volume/prefix``, or of a folder.

    Folders are relative to ``folder``. ``stub`` asks for where rehearsals are kept. None says that
    the scheme is not known here.

    Raises:
        StorageError: the bucket's address makes no sense, or ``environ`` lacks something.
    """
    if url.startswith(SCHEME):
        bucket, prefix = split_url(url)
        parts = (prefix, STUB_FOLDER if stub else "")
        return TigrisStorage(bucket, prefix="/".join(filter(None, parts)), environ=environ)
    if url.startswith(modal_volume.SCHEME):
        volume, prefix = modal_volume.split_url(url)
        parts = (prefix, STUB_FOLDER if stub else "")
        return modal_volume.ModalVolumeStorage(volume, prefix="/".join(filter(None, parts)))
    if "://" in url:
        return None
    return LocalStorage(folder / url / STUB_FOLDER if stub else folder / url)
