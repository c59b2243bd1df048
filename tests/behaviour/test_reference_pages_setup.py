"""The page "Cloud Execution" up to its first experiment, and when something fails: as it stands.

A test is called as the page's heading. The page's project is a clone of this repository.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import modal
import pytest

from tests.behaviour import reference_pages
from tests.behaviour.reference_pages import DOPPLER, Page
from tests.modal_server import starting

pytestmark = pytest.mark.timeout(150)


@pytest.fixture(scope="module")
def page(server: starting.ModalServer, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return reference_pages.clone(server, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def deployed(page: Page) -> subprocess.CompletedProcess[str]:
    """Give what the page's own command for it said."""
    return page.bash("mise run modal-deploy", **DOPPLER)


def test_prerequisites(page: Page, tmp_path: Path) -> None:
    block = """
        modal token new
    """
    file = tmp_path / "modal.toml"

    done = page.bash(
        block, MODAL_TOKEN_ID="", MODAL_TOKEN_SECRET="", MODAL_CONFIG_PATH=str(file), BROWSER="true"
    )

    assert done.returncode == 0, done.stdout
    assert "Token verified successfully" in done.stdout
    assert 'token_id = "ak-test"' in file.read_text()


def test_setting_up_secrets_option_1_via_doppler(page: Page, client: modal.Client) -> None:
    block = """
        mise run modal-secrets
    """

    done = page.bash(block, **DOPPLER)

    assert done.returncode == 0, done.stdout
    groups = {each["name"]: each["keys"] for each in page.journal("secret")}
    assert set(groups["tigris-credentials"]) == {
        "TMGG_TIGRIS_BUCKET",
        "TMGG_TIGRIS_ACCESS_KEY",
        "TMGG_TIGRIS_SECRET_KEY",
    }
    assert groups["wandb-credentials"] == ["WANDB_API_KEY"]
    assert not any(value in done.stdout for value in DOPPLER.values())


def test_setting_up_secrets_option_2_manual_creation(page: Page, client: modal.Client) -> None:
    block = """
        modal secret create tigris-credentials \\
            TMGG_TIGRIS_BUCKET="your-bucket" \\
            TMGG_TIGRIS_ACCESS_KEY="your-key" \\
            TMGG_TIGRIS_SECRET_KEY="your-secret"

        modal secret create wandb-credentials \\
            WANDB_API_KEY="your-wandb-key"
    """
    modal.Environment.from_name("manual", create_if_missing=True, client=client).hydrate()

    done = page.bash(block, MODAL_ENVIRONMENT="manual")
    checked = page.bash("gpuexp secrets --check", MODAL_ENVIRONMENT="manual", **DOPPLER)

    assert done.returncode == 0, done.stdout
    assert checked.returncode == 0, checked.stdout


def test_deployment(page: Page, deployed: subprocess.CompletedProcess[str]) -> None:
    """Run ``mise run modal-deploy``: secrets first, then a function a tier."""
    assert deployed.returncode == 0, deployed.stdout
    told = deployed.stdout
    assert told.index("tigris-credentials") < told.index("Deployed gpuexp-pytest-gpuexp")
    functions = {each["name"]: each["gpu"] for each in page.journal("function")}
    assert functions["modal_execute_task"] == "A10"
    assert functions["modal_execute_task_fast"] == "A100-40GB"


def test_deployment_for_development_with_hot_reload(page: Page) -> None:
    block = """
        mise run modal-serve
    """
    before = len(page.journal("publish"))
    serving = subprocess.Popen(
        ["bash", "-c", block],
        cwd=reference_pages.ROOT,
        env=page.variables(**DOPPLER),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while len(page.journal("publish")) == before and time.monotonic() < deadline:
            assert serving.poll() is None, serving.communicate()[0]
            time.sleep(0.1)
    finally:
        os.killpg(serving.pid, signal.SIGINT)  # as a terminal does
        output, _ = serving.communicate(timeout=60)

    assert [each["state"] for each in page.journal("publish")[before:]] == ["ephemeral"], output


def test_function_not_hydrated(
    deployed: subprocess.CompletedProcess[str], client: modal.Client
) -> None:
    """Verify the deployment as the page does, under this project's name."""
    function = modal.Function.from_name("gpuexp-pytest-gpuexp", "modal_execute_task", client=client)

    assert function.hydrate().object_id


def test_syntax_error_in_modal_container_and_image_build_timeout(
    page: Page, deployed: subprocess.CompletedProcess[str]
) -> None:
    """The image has the Python of this machine, and packages come by uv."""
    (function,) = [
        each for each in page.journal("function") if each["name"] == "modal_execute_task"
    ][:1]
    commands = "\n".join(function["image"]["commands"])

    assert re.search(rf"FROM python:3\.{sys.version_info.minor}\.", commands)
    assert "uv pip install" in commands


def test_secrets_not_found(page: Page, deployed: subprocess.CompletedProcess[str]) -> None:
    verify = """
        modal secret list
    """
    recreate = """
        mise run modal-secrets
    """

    listed = page.bash(verify)
    again = page.bash(recreate, **DOPPLER)

    assert listed.returncode == 0, listed.stdout
    assert "tigris-credentials" in listed.stdout
    assert "wandb-credentials" in listed.stdout
    assert again.returncode == 0, again.stdout
    assert "tigris-credentials updated" in again.stdout
