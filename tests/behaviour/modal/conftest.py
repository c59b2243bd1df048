"""A Modal server for the files of this folder, each with one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.behaviour.modal_sessions import PYPROJECT, deploy
from tests.modal_server import starting
from tests.modal_server.starting import ModalServer


@pytest.fixture(scope="module")
def server() -> Iterator[ModalServer]:
    with starting.modal_server("--preemption-grace=5", max_containers=3) as running:
        yield running


@pytest.fixture(scope="module")
def deployed(server: ModalServer, tmp_path_factory: pytest.TempPathFactory) -> ModalServer:
    """Give a server on which the app of a project called ``tried`` is deployed."""
    folder = tmp_path_factory.mktemp("deployed")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    deploy(server, folder)
    return server


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    return tmp_path
