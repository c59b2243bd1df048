"""A project in a folder of its own, whose Modal is the server of a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.modal_server import starting

_SECONDS = 100
_PROGRAM = "from pytest_gpuexp.cli import main; raise SystemExit(main())"
_OURS = ("AWS_", "DOPPLER_", "GPUEXP_", "HF_", "MODAL_", "TMGG_", "WANDB_")
TIGRIS = {
    "TMGG_S3_BUCKET": "a-bucket-4711",
    "AWS_ACCESS_KEY_ID": "an-access-key-4712",
    "AWS_SECRET_ACCESS_KEY": "a-secret-key-4713",
}
WANDB = {"WANDB_API_KEY": "a-wandb-key-4714"}

# In a container of Modal's the plugin is what travelled; here it is installed beside everything.
_NOT_INSTALLED = """
import importlib.metadata as metadata

all_of_them = metadata.distributions

def travelled(one):
    return one.metadata["Name"] != "pytest-gpuexp" or str(one.locate_file("")) == "/root"

def distributions(**context):
    return filter(travelled, all_of_them(**context))

def distribution(name):
    for one in distributions(name=name):
        return one
    raise metadata.PackageNotFoundError(name)

metadata.distribution, metadata.distributions = distribution, distributions
"""
# Stands for the hub's client, which brings a snapshot into the cache that HF_HOME names.
_HUB = """
import os
from pathlib import Path

def snapshot_download(repo_id):
    if repo_id != "tiny/model":
        raise ValueError(f"no repository {repo_id} on the hub")
    folder = Path(os.environ["HF_HOME"], "hub", "models--" + repo_id.replace("/", "--"))
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(4000))
    return str(folder)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalProject:
    """A project's folder, and the server that its commands talk to."""

    folder: Path
    server: starting.ModalServer
    environ: Mapping[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def gpuexp(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run ``gpuexp``; its output is what it wrote to both streams."""
        return self._run("-c", _PROGRAM, *words, environ=environ)

    def modal(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the client's own command."""
        return self._run("-m", "modal", *words, environ=environ)

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a command: nothing of the caller's that we look at."""
        kept = {name: one for name, one in os.environ.items() if not name.startswith(_OURS)}
        wide = {"COLUMNS": "200", "NO_COLOR": "1"}
        return {**kept, **wide, **self.server.environ, **self.environ, **environ}

    def _run(self, *words: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.variables(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )


def as_on_modal(folder: Path) -> str:
    """Return a PYTHONPATH for containers that see of the plugin what they would see on Modal."""
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(_NOT_INSTALLED)
    (folder / "huggingface_hub.py").write_text(_HUB)
    return f"/root:{folder}"
