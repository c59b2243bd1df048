"""One session's view of Modal: the app that is deployed, its volume, its functions."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gpuexp.backends import in_container, modal_door, modal_failures, modal_names
from pytest_gpuexp.errors import BackendUnavailable, GpuexpError
from pytest_gpuexp.project import Project
from pytest_gpuexp.tiers import Tier, find_tier

DEFAULT_TIER = "standard"
_FRESH_SECONDS = 86400.0


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
        names = dict.fromkeys(map(modal_names.function, tiers))
        app = self._settings.app
        with modal_door.opened(self._settings):
            if self._root is not None:
                self._run(self._root)
                return
            self._function(modal_names.function(DEFAULT_TIER)).hydrate()
            absent = [name for name in names if not self._is_there(name)]
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            fits = self._is_there(modal_names.source_marker(python))
            alike = fits or self._is_there(modal_names.marker(python))
        if alike and not fits:
            raise BackendUnavailable(
                f"the deployed app {app!r} is older than the plugin here, or newer: the source of "
                "pytest-gpuexp has changed since, though not its version. Deploy it anew with: "
                "gpuexp deploy"
            )
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
        """Put ``things`` on the results volume, by name; what was put there today stays."""
        volume = self.volume()
        there: set[str] = set()
        import modal

        # What is older is put there anew: nobody is to prune what a session needs.
        since = time.time() - _FRESH_SECONDS
        with contextlib.suppress(modal.exception.NotFoundError, FileNotFoundError):
            listed = volume.listdir(in_container.LUGGAGE)
            there = {Path(one.path).name for one in listed if one.mtime > since}
        missing = {name: data for name, data in things.items() if name not in there}
        if missing:
            with volume.batch_upload(force=True) as batch:
                for name, data in missing.items():
                    batch.put_file(io.BytesIO(data), f"/{in_container.LUGGAGE}/{name}")

    def leave(self, name: str, data: bytes) -> None:
        """Put ``data`` on the results volume as ``name``, in place of what was there."""
        with self.volume().batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(data), f"/{name}")

    def remove(self, names: Iterable[str]) -> None:
        """Remove what has come home from the results volume; what cannot be removed stays."""
        for name in names:
            with contextlib.suppress(Exception):
                self.volume().remove_file(name, recursive=True)

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

    def claimant(self, claim: str, *, otherwise: str) -> str:
        """Return what has ``claim``: ``otherwise`` where nothing had it, which has it then.

        Raises:
            BackendUnavailable: Modal cannot say.
        """
        try:
            claims = self.claims()
            if claims.put(claim, otherwise, skip_if_exists=True):
                return otherwise
            return str(claims.get(claim))
        except Exception as error:
            raise BackendUnavailable(
                f"Modal cannot say whether {claim} has begun: {type(error).__name__}: {error}. "
                "Nothing was run again; try once more."
            ) from error

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

                stack.enter_context(modal_app.app.run(environment_name=self._environment))
            except GpuexpError:
                raise
            except Exception as error:
                raise BackendUnavailable(modal_failures.undeployable(error)) from error
            finally:
                os.chdir(here)
            self._functions = modal_app.TASKS
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
