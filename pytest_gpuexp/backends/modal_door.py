"""The door to Modal: is its client installed, is its server there, does it take our token."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from pytest_gpuexp.backends import modal_failures
from pytest_gpuexp.errors import BackendUnavailable
from pytest_gpuexp.project import Modal

_REACH_SECONDS = 5.0
_PORTS: Mapping[str, int] = {"http": 80, "https": 443}


def check_client() -> None:
    """See that Modal's client is installed.

    Raises:
        BackendUnavailable: it is not.
    """
    with contextlib.suppress(ValueError):  # a module without a spec is none that can be used
        if importlib.util.find_spec("modal") is not None:
            return
    raise BackendUnavailable(
        "Modal's client is not installed. Install it with: pip install 'pytest-gpuexp[modal]'"
    )


@contextmanager
def opened(settings: Modal) -> Iterator[None]:
    """See that Modal answers, then say what its errors mean for those who use ``settings``.

    Raises:
        BackendUnavailable: the client is not installed, nobody answers within seconds, the token
            is refused, or what is done within fails for Modal's reasons.
    """
    check_client()
    import modal

    url = os.environ.get("MODAL_SERVER_URL") or modal.config.config["server_url"]
    _reach(url)
    try:
        yield
    except modal.exception.Error as error:
        told = modal_failures.unusable(
            error, app=settings.app, environment=settings.environment, url=url
        )
        raise BackendUnavailable(told) from None


def _reach(url: str) -> None:
    """Knock: a client that finds nobody waits for a minute before it says so."""
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme, 443)
    try:
        socket.create_connection((parts.hostname or "", port), _REACH_SECONDS).close()
    except OSError as error:
        raise BackendUnavailable(
            f"Modal cannot be reached at {url}: {error}. Look at the network, and at "
            "https://status.modal.com."
        ) from None
