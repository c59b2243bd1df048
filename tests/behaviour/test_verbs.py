"""What `make` and `mise run` do about Modal."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.behaviour.modal_projects import TIGRIS, WANDB, ModalProject
from tests.modal_server import starting

ROOT = Path(__file__).parents[2]


def test_make_modal_deploy_puts_secrets_and_the_app_of_this_repository_there() -> None:
    with starting.modal_server() as server:
        project = ModalProject(folder=ROOT, server=server)
        done = subprocess.run(
            # `setup` has been done: this very Python is of its environment.
            ["make", "-o", "setup", f"BIN={Path(sys.executable).parent}", "modal-deploy"],
            cwd=ROOT,
            env=project.variables({**TIGRIS, **WANDB}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        published = server.journal("publish")

    assert done.returncode == 0, done.stdout
    assert [each["name"] for each in published] == ["gpuexp-pytest-gpuexp"]
    assert done.stdout.index("wandb-credentials created") < done.stdout.index("Deployed gpuexp-")
    assert not any(value in done.stdout for value in [*TIGRIS.values(), *WANDB.values()])


def test_every_verb_of_mise_is_one_of_make() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    tasks = tomllib.loads((ROOT / "mise.toml").read_text())["tasks"]

    assert {"modal-secrets", "modal-deploy", "modal-serve"} <= tasks.keys()
    assert [task["run"] for name, task in tasks.items() if task["run"] != f"make {name}"] == []
    assert tasks.keys() <= targets
