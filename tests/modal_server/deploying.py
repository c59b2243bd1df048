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
    """Give a client of ``server``; ``from_env`` keeps one a process, for whatever server came first."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environ.items():
            patch.setenv(name, value)
        made = modal.Client.from_credentials("ak-test", "as-test")
        with made:
            yield made


@contextmanager
def example(of: modal.Client) -> Iterator[ModuleType]:
    """Give the example app, deployed by the client ``of``."""
    path = Path(__file__).with_name("example_app.py")
    spec = importlib.util.spec_from_file_location("example_app", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["example_app"] = module
    try:
        spec.loader.exec_module(module)
        secrets = modal.Secret.objects
        secrets.create("example-secret", {"EXAMPLE_KEY": "s3cret"}, allow_existing=True, client=of)
        module.app.deploy(client=of)
        yield module
    finally:
        sys.modules.pop("example_app", None)
