"""Deploys the example app to a server of a test, in the test's own process."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import modal
import pytest

from tests.modal_server import starting


@contextmanager
def client(server: starting.ModalServer) -> Iterator[modal.Client]:
    """Give a client of ``server``: ``from_env`` keeps one a process, whatever server came first."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environ.items():
            patch.setenv(name, value)
        made = modal.Client.from_credentials("ak-test", "as-test")
        with made:
            yield made


@contextmanager
def example(of: modal.Client) -> Iterator[ModuleType]:
    """Give the example app, deployed by the client ``of``."""
    secrets = modal.Secret.objects
    secrets.create("example-secret", {"EXAMPLE_KEY": "s3cret"}, allow_existing=True, client=of)
    with deployed(Path(__file__).with_name("example_app.py"), of) as module:
        yield module


@contextmanager
def deployed(path: Path, of: modal.Client) -> Iterator[ModuleType]:
    """Give the module in the file ``path``, whose ``app`` is deployed by the client ``of``."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        module.app.deploy(client=of)
        yield module
    finally:
        sys.modules.pop(path.stem, None)
