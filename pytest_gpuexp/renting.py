"""What a session asks of Modal, and what is refused before anything is paid for."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import pytest

from pytest_gpuexp import costs
from pytest_gpuexp.backends import modal_door
from pytest_gpuexp.backends.modal_service import DEFAULT_TIER
from pytest_gpuexp.backends.on_modal import ModalBackend
from pytest_gpuexp.errors import BackendUnavailable
from pytest_gpuexp.greeting import make_greeting
from pytest_gpuexp.project import read_project
from pytest_gpuexp.protocols import Storage
from pytest_gpuexp.records import RunSpec
from pytest_gpuexp.settings import Settings
from pytest_gpuexp.storage.local import LocalStorage


def rent(
    config: pytest.Config,
    settings: Settings,
    *,
    workplace: LocalStorage,
    storage: Storage,
    parallelism: int,
) -> ModalBackend:
    """Return the backend, which has asked for nothing yet.

    ``workplace`` takes what comes back: ``storage`` itself, or its spool.

    Raises:
        pytest.UsageError: the modal client is not installed.
    """
    try:
        modal_door.check_client()
    except BackendUnavailable as error:
        raise pytest.UsageError(str(error)) from None
    return ModalBackend(
        project=read_project(settings.root),
        root=settings.root,
        greeting=make_greeting(config, settings, storage=workplace.folder, parallelism=1),
        storage=workplace,
        storage_url=_anywhere(storage),
        spooled=storage is not workplace,
        at_home=[workplace.folder.parent if settings.stub else workplace.folder],
        ephemeral=settings.modal_ephemeral,
        max_containers=parallelism if settings.detach else None,
    )


def check(backend: ModalBackend, specs: Iterable[RunSpec]) -> None:
    """Refuse runs that Modal cannot take.

    Raises:
        pytest.UsageError: it cannot be reached, or its app is not there as they need it.
    """
    try:
        backend.check(specs)
    except BackendUnavailable as error:
        raise pytest.UsageError(str(error)) from None


def check_budget(settings: Settings, specs: Iterable[RunSpec]) -> None:
    """Refuse runs that may cost more than ``--budget`` allows.

    Raises:
        pytest.UsageError: they may.
        UsageProblems: the price of a GPU is not known.
    """
    if settings.budget is None:
        return
    prices = read_project(settings.root).prices
    cost = costs.worst_case(specs, tiers=settings.tiers, default=DEFAULT_TIER, prices=prices)
    if cost > settings.budget:
        raise pytest.UsageError(
            f"these runs may cost ${cost:,.2f}, each at its time limit (GPUs alone), and "
            f"--budget allows ${settings.budget:,.2f}. Run fewer, shorten them with "
            "--run-timeout, choose a smaller --gpu, or allow more."
        )


def _anywhere(storage: Storage) -> str:
    """Return what names ``storage`` among those of all machines."""
    local = isinstance(storage, LocalStorage)
    return f"{socket.gethostname()}:{storage.url}" if local else storage.url
