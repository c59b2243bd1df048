"""A Modal server for the files of this folder that ask for one: each gets one of its own."""

from __future__ import annotations

from collections.abc import Iterator

import modal
import pytest

from tests.modal_server import deploying, starting


@pytest.fixture(scope="module")
def server() -> Iterator[starting.ModalServer]:
    with starting.modal_server(max_containers=4) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: starting.ModalServer) -> Iterator[modal.Client]:
    with deploying.client(server) as made:
        yield made
