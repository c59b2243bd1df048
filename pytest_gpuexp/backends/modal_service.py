"""One session's view of Modal: the app that is deployed, its volume, its functions."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pytest_gpuexp.backends import in_container, modal_failures, modal_names
from pytest_gpuexp.errors import BackendUnavailable
from pytest_gpuexp.project import Project
from pytest_gpuexp.tiers import Tier, find_tier

_REACH_SECONDS = 5.0
_PORTS: Mapping[str, int] = {"http": 80, "https": 443}
DEFAULT_TIER = "standard"


class ModalService:
    """The app of ``project``: deployed, or one that runs for as long as the session."""

    def __init__(self, project: Project, *, root: Path | None = None) -> None:
        """Look at nothing yet; with ``root``, the project's folder, run an app of its own."""
        self.project = project
        self._root = root
        self._running: contextlib.ExitStack | None = None
        self._functions: Mapping[str, Any] = {}
        self._settings = project.modal
        self._bindings: dict[tuple[str, float | None, int | None], Any] = {}
        self._environment = project.modal.environment

    def check(self, tiers: Iterable[str]) -> None:
        """See that the app is there, as this plugin and this Python need it, with all ``tiers``.

        Nothing is called, so nothing is paid for.

        Raises:
            BackendUnavailable: it is not; the error says why and what to do.
        """
        import modal

        url = os.environ.get("MODAL_SERVER_URL") or modal.config.config["server_url"]
        self._reach(url)
        app = self._settings.app
        names = dict.fromkeys(map(modal_names.function, tiers))
        if self._root is not None:
            self._run(self._root)
            return
        try:
            self._function(modal_names.function(DEFAULT_TIER)).hydrate()
            absent = [name for name in names if not self._is_there(name)]
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            fits = self._is_there(modal_names.marker(python))
        except modal.exception.Error as error:
            told = modal_failures.unusable(
                error, app=app, environment=self._settings.environment, url=url
            )
            raise BackendUnavailable(told) from None
        if not fits:
            raise BackendUnavailable(
                f"the deployed app {app!r} is of another pytest-gpuexp or another Python than this "
                f"session's, {modal_names.marker(python)}. Deploy it anew with: gpuexp deploy; or "
                "run pytest with the Python that [tool.gpuexp.modal] of pyproject.toml names."
            )
        if absent:
            raise BackendUnavailable(
                f"the deployed app {app!r} has no function {', '.join(absent)}: the tier was added "
                "after it was deployed. Deploy it anew with: gpuexp deploy"
            )

    def close(self) -> None:
        """End an app of the session's own, and what runs in it."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def send(self, things: Mapping[str, bytes]) -> None:
        """Put ``things`` on the results volume, by name; what is there already stays."""
        volume = self.volume()
        there: set[str] = set()
        import modal

        with contextlib.suppress(modal.exception.NotFoundError, FileNotFoundError):
            there = {Path(one.path).name for one in volume.listdir(in_container.LUGGAGE)}
        missing = {name: data for name, data in things.items() if name not in there}
        if missing:
            with volume.batch_upload(force=True) as batch:
                for name, data in missing.items():
                    batch.put_file(io.BytesIO(data), f"/{in_container.LUGGAGE}/{name}")

    def volume(self) -> Any:
        """Return the results volume."""
        import modal

        return modal.Volume.from_name(
            self._settings.results, create_if_missing=True, environment_name=self._environment
        )

    def claims(self) -> Any:
        """Return the Dict in which calls claim their attempts."""
        import modal

        name = modal_names.claims(self._settings)
        return modal.Dict.from_name(
            name, create_if_missing=True, environment_name=self._environment
        )

    def tier(self, name: str | None) -> Tier:
        """Return the tier of a run that asked for ``name``."""
        return find_tier(name or DEFAULT_TIER, self.project.tiers)

    def binding(
        self, name: str | None, timeout: float | None, *, max_containers: int | None = None
    ) -> Any:
        """Return the function for runs of a tier and a time limit; each is a pool of containers."""
        tier = self.tier(name)
        key = tier.name, timeout, max_containers
        if key not in self._bindings:
            known = tier.name in self.project.tiers
            function = self._function(modal_names.function(tier.name if known else DEFAULT_TIER))
            options: dict[str, Any] = {}
            if max_containers is not None:
                options["max_containers"] = max_containers
            if options or not known or timeout != tier.timeout_seconds:
                options["gpu"] = modal_names.gpu(tier)
                options["timeout"] = modal_names.function_timeout(timeout)
            self._bindings[key] = function.with_options(**options) if options else function
        return self._bindings[key]

    def _run(self, root: Path) -> None:
        """Run the app of the project at ``root``, built from this session's own source."""
        with contextlib.ExitStack() as stack:
            here = os.getcwd()
            os.chdir(root)  # where the app reads pyproject.toml, as at a deployment
            try:
                from pytest_gpuexp.backends import modal_app

                stack.enter_context(modal_app.app.run())
            except Exception as error:
                raise BackendUnavailable(modal_failures.undeployable(error)) from error
            finally:
                os.chdir(here)
            self._functions = modal_app.app.registered_functions
            self._running = stack.pop_all()

    def _function(self, name: str) -> Any:
        import modal

        if name in self._functions:
            return self._functions[name]
        return modal.Function.from_name(
            self._settings.app, name, environment_name=self._environment
        )

    def _is_there(self, name: str) -> bool:
        import modal

        try:
            self._function(name).hydrate()
        except modal.exception.NotFoundError:
            return False
        return True

    def _reach(self, url: str) -> None:
        """Knock at the door: a client that finds nobody waits for a minute."""
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 443)
        try:
            socket.create_connection((parts.hostname or "", port), _REACH_SECONDS).close()
        except OSError as error:
            raise BackendUnavailable(
                f"Modal cannot be reached at {url}: {error}. Look at the network, and at "
                "https://status.modal.com."
            ) from None
