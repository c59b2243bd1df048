"""Starts containers: the client's own runtime, as a subprocess of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

from modal_proto import api_pb2

from tests.modal_server import (
    answering,
    apps,
    definitions,
    ending,
    images,
    mounts,
    private_root,
    volumes,
    wires,
    world,
)
from tests.modal_server import holdings as holding

HOME = "/root"
_PASSED = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
_PASSED_PREFIXES = ("COVERAGE_", "PYTEST_GPUEXP_TEST_")


class Launcher:
    """Makes a container's folder, then its process."""

    def __init__(self, holdings: holding.Holdings, known: volumes.Volumes) -> None:
        """Start containers of the functions of ``holdings``."""
        self._holdings = holdings
        self._volumes = known

    def prepare(self, container: world.Container) -> None:
        """Write all that the container finds when it starts: mounts, volumes, arguments, plan."""
        folder, holdings = Path(container.folder), self._holdings
        function = holdings.functions[container.function_id]
        definition = definitions.effective(holdings, function)
        layers = images.layers(holdings, definition.image_id)
        tree = folder / "tree"
        (tree / HOME[1:]).mkdir(parents=True)
        for mount_id, below in layers.copies:
            mounts.place(holdings, mount_id, tree, below)
        for mount_id in dict.fromkeys(definition.mount_ids):
            mounts.place(holdings, mount_id, tree)
        binds = [*_binds(tree), *_needed_below(HOME)]
        for mount in definition.volume_mounts:
            copy = folder / "volumes" / mount.volume_id
            self._volumes.give(mount.volume_id, copy)
            container.volumes[mount.volume_id] = str(copy)
            shown = copy / mount.sub_path.strip("/")
            shown.mkdir(parents=True, exist_ok=True)
            binds.append((str(shown), str(PurePosixPath(mount.mount_path))))
        arguments = folder / "arguments"
        arguments.write_bytes(self._arguments(container, function, definition))
        (folder / "mnt").mkdir()
        plan = {
            "root": str(folder / "mnt"),
            "binds": binds,
            "workdir": layers.workdir,
            "words": [sys.executable, "-m", "modal._container_entrypoint"],
            "environ": self._environ(container, definition, layers, arguments),
        }
        (folder / "plan.json").write_text(json.dumps(plan))

    def start(self, container: world.Container) -> subprocess.Popen[bytes]:
        """Start the process, in a group of its own, its output in pipes that outlive the server."""
        folder = Path(container.folder)
        words = [sys.executable, "-I", "-S", private_root.__file__, str(folder / "plan.json")]
        outputs = []
        for fd in (1, 2):
            os.mkfifo(wires.pipe(container, fd))
            # For reading too, so that a container does not end with the server that reads.
            outputs.append(os.open(wires.pipe(container, fd), os.O_RDWR))
        process = subprocess.Popen(
            words,
            env=self._passed() | {ending.MARK: container.task_id},
            stdin=subprocess.DEVNULL,
            stdout=outputs[0],
            stderr=outputs[1],
            start_new_session=True,
        )
        for each in outputs:
            os.close(each)
        container.pid, container.born = process.pid, ending.born(process.pid)
        (self._holdings.folder("pids") / container.task_id).write_text(str(process.pid))
        return process

    def _arguments(
        self, container: world.Container, function: world.Function, definition: api_pb2.Function
    ) -> bytes:
        app = self._holdings.apps[container.app_id]
        arguments = api_pb2.ContainerArguments(
            task_id=container.task_id,
            function_id=container.function_id,
            app_id=container.app_id,
            function_def=definition,
            serialized_params=function.params,
            environment_name=app.environment,
            app_layout=apps.layout(self._holdings, app),
        )
        return bytes(arguments.SerializeToString())

    def _environ(
        self,
        container: world.Container,
        definition: api_pb2.Function,
        layers: images.Layers,
        arguments: Path,
    ) -> dict[str, str]:
        app, settings = self._holdings.apps[container.app_id], self._holdings.settings
        secrets: dict[str, str] = {}
        for secret_id in definition.secret_ids:
            secrets |= self._holdings.secrets[secret_id].values
        return {
            **self._passed(),
            "HOME": HOME,
            "PYTHONPATH": HOME,
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **layers.environ,
            **secrets,
            ending.MARK: container.task_id,
            "MODAL_IS_REMOTE": "1",
            "MODAL_SERVER_URL": f"http://127.0.0.1:{settings.port}",
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            "MODAL_OVERRIDE_HEADERS": f"{answering.TASK_HEADER}:{container.task_id}",
            "MODAL_CONFIG_PATH": "/nonexistent/modal.toml",
            "MODAL_ENVIRONMENT": app.environment,
            "MODAL_IMAGE_ID": definition.image_id,
            "MODAL_REGION": "test-1",
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_LOCAL",
        }

    def _passed(self) -> dict[str, str]:
        names = {*_PASSED, *self._holdings.settings.pass_env}
        return {
            name: value
            for name, value in os.environ.items()
            if name in names or name.startswith(_PASSED_PREFIXES)
        }


def _binds(tree: Path) -> list[tuple[str, str]]:
    """Return what to show of ``tree``, as whole as it can be without hiding the machine's own."""
    found: list[tuple[str, str]] = []
    for path in sorted(tree.iterdir()):
        found += _binds_below(path, PurePosixPath("/", path.name))
    return found


def _binds_below(path: Path, target: PurePosixPath) -> list[tuple[str, str]]:
    if str(target) == HOME or path.is_file() or not os.path.isdir(target):
        return [(str(path), str(target))]
    return [
        pair for each in sorted(path.iterdir()) for pair in _binds_below(each, target / each.name)
    ]


def _needed_below(folder: str) -> list[tuple[str, str]]:
    """Return what of ``folder`` is Python itself: it is seen where the folder is hidden."""
    needed = dict.fromkeys((sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)))
    return [(each, each) for each in needed if PurePosixPath(each).is_relative_to(folder)]
