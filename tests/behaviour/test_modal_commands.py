"""What `gpuexp` does with Modal: deploy, serve, secrets, smoke-test, download-models, results."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import modal
import pytest

import pytest_gpuexp
from tests.behaviour.modal_projects import TIGRIS, WANDB, ModalProject
from tests.modal_server import starting

pytestmark = pytest.mark.timeout(240)
COMMANDS = (
    ["deploy"],
    ["serve"],
    ["secrets"],
    ["smoke-test"],
    ["download-models", "--models=a/b"],
    ["results"],
)
NO_SECRETS = "[tool.gpuexp.modal]\nsecrets = []\n"


@pytest.fixture
def project(server: starting.ModalServer, client: modal.Client, tmp_path: Path) -> ModalProject:
    """Give a project whose Modal has no secrets yet."""
    for secret in modal.Secret.objects.list(client=client):
        modal.Secret.objects.delete(secret.name or "", client=client)
    return ModalProject(folder=tmp_path, server=server)


def keys(server: starting.ModalServer, name: str) -> list[str]:
    """Return the keys of a group as it was seen last."""
    found: list[str] = [e["keys"] for e in server.journal("secret") if e["name"] == name][-1]
    return found


def test_deploy_says_what_is_there_now_also_from_below_the_projects_folder(
    project: ModalProject,
) -> None:
    project.write("pyproject.toml", f'[project]\nname = "below"\nversion = "1"\n{NO_SECRETS}')
    below = ModalProject(folder=project.folder / "experiments", server=project.server)
    below.folder.mkdir()
    before = below.gpuexp("results")

    done = below.gpuexp("deploy")

    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 0, done.stdout
    assert f"Deployed gpuexp-below: Python {python}, pytest-gpuexp " in done.stdout
    assert re.search(r"^  fast +A100-40GB +60 min +modal_execute_task_fast$", done.stdout, re.M)
    assert (before.returncode, before.stdout[:29]) == (0, "no results on the volume yet.")
    assert "  secrets: none\n  volumes: gpuexp-below-results, gpuexp-below-models\n" in done.stdout
    assert project.server.journal("publish")[-1]["name"] == "gpuexp-below"


def test_deploy_names_the_groups_and_keys_that_are_not_there_and_both_ways_out(
    project: ModalProject, client: modal.Client
) -> None:
    modal.Secret.objects.create("tigris-credentials", {"TMGG_TIGRIS_BUCKET": "b"}, client=client)

    done = project.gpuexp("deploy")

    assert done.returncode == 2
    (told,) = done.stdout.splitlines()
    assert told.startswith("gpuexp deploy: secrets not found on Modal: ")
    for part in (
        "group 'tigris-credentials' lacks TMGG_TIGRIS_ACCESS_KEY, TMGG_TIGRIS_SECRET_KEY;",
        "there is no group 'wandb-credentials' (with WANDB_API_KEY).",
        "gpuexp secrets",
        "mise run modal-secrets",
        "secrets = []",
    ):
        assert part in told


def test_the_clients_own_command_tells_the_same_in_one_line(project: ModalProject) -> None:
    done = project.modal("deploy", "-m", "pytest_gpuexp.backends.modal_app")

    assert done.returncode == 1
    assert done.stdout.startswith("secrets not found on Modal: there is no group 'tigris-cred")
    assert "Traceback" not in done.stdout


def test_the_seeds_other_name_of_the_wandb_group_is_found_in_the_environment_of_the_project(
    project: ModalProject, client: modal.Client
) -> None:
    modal.Environment.from_name("dev", create_if_missing=True, client=client).hydrate()
    modal.Secret.objects.create("wandb-api-key", dict(WANDB), environment_name="dev", client=client)
    project.write(
        "pyproject.toml",
        '[tool.gpuexp.modal]\nsecrets = ["wandb-credentials"]\nenvironment = "dev"\n'
        'dependencies = ["tqdm>=4"]\n',
    )

    done = project.gpuexp("deploy")

    assert done.returncode == 0, done.stdout
    assert "secrets: wandb-api-key" in done.stdout
    function = project.server.journal("function")[-1]
    assert function["secrets"] == ["wandb-api-key"]
    assert any(
        "uv pip install" in one and "tqdm>=4" in one for one in function["image"]["commands"]
    )
    assert project.server.journal("publish")[-1]["environment"] == "dev"


def test_secrets_come_from_the_environment_under_either_name_and_are_updated(
    project: ModalProject, client: modal.Client
) -> None:
    made = project.gpuexp("secrets", **TIGRIS, **WANDB)
    own = modal.Secret.from_name("wandb-credentials", client=client).hydrate()
    own.update({"WANDB_ENTITY": "us"})
    again = project.gpuexp(
        "secrets", **TIGRIS, **WANDB, TMGG_TIGRIS_BUCKET="other", AWS_ENDPOINT_URL="http://s3"
    )
    checked = project.gpuexp("secrets", "--check", **TIGRIS, **WANDB)

    assert (made.returncode, again.returncode) == (0, 0), made.stdout + again.stdout
    assert made.stdout.splitlines() == [
        "tigris-credentials created: TMGG_TIGRIS_BUCKET, TMGG_TIGRIS_ACCESS_KEY, "
        "TMGG_TIGRIS_SECRET_KEY",
        "wandb-credentials created: WANDB_API_KEY",
    ]
    assert "tigris-credentials updated: " in again.stdout
    assert "TMGG_TIGRIS_ENDPOINT" in keys(project.server, "tigris-credentials")
    assert keys(project.server, "wandb-credentials") == ["WANDB_API_KEY", "WANDB_ENTITY"]
    assert checked.returncode == 0, checked.stdout
    assert "!" not in checked.stdout


def test_check_says_what_is_missing_here_and_there_and_changes_nothing(
    project: ModalProject, client: modal.Client
) -> None:
    modal.Secret.objects.create("tigris-credentials", {"TMGG_TIGRIS_BUCKET": "b"}, client=client)

    done = project.gpuexp("secrets", "--check", TMGG_S3_BUCKET="b", AWS_ACCESS_KEY_ID="k")

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "! tigris-credentials",
        "    here: the environment lacks TMGG_TIGRIS_SECRET_KEY or AWS_SECRET_ACCESS_KEY",
        "    on Modal: tigris-credentials lacks TMGG_TIGRIS_ACCESS_KEY, TMGG_TIGRIS_SECRET_KEY",
        "! wandb-credentials",
        "    here: the environment lacks WANDB_API_KEY",
        "    on Modal: no such group",
    ]
    assert [one.name for one in modal.Secret.objects.list(client=client)] == ["tigris-credentials"]


def test_a_group_that_cannot_be_filled_stops_no_other_and_is_told(
    project: ModalProject, client: modal.Client
) -> None:
    project.write(
        "pyproject.toml",
        '[tool.gpuexp.modal]\nsecrets = ["tigris-credentials", "wandb-credentials", "hub"]\n',
    )

    first = project.gpuexp("secrets", **WANDB)
    modal.Secret.objects.create("hub", {"HF_TOKEN": "t"}, client=client)
    then = project.gpuexp("secrets", **TIGRIS)

    assert first.returncode == 1
    assert first.stdout.splitlines() == [
        "! tigris-credentials is not written: the environment lacks TMGG_TIGRIS_BUCKET or "
        "TMGG_S3_BUCKET, and TMGG_TIGRIS_ACCESS_KEY or AWS_ACCESS_KEY_ID, and "
        "TMGG_TIGRIS_SECRET_KEY or AWS_SECRET_ACCESS_KEY",
        "wandb-credentials created: WANDB_API_KEY",
        "! hub, which is your own, is not there; make it with: modal secret create",
    ]
    assert then.returncode == 0, then.stdout
    assert "wandb-credentials stays as it is on Modal, as wandb-credentials: " in then.stdout
    assert "hub, which is your own, is there" in then.stdout


def test_no_secret_value_is_printed_logged_or_on_a_command_line(project: ModalProject) -> None:
    with _command_lines() as seen:
        for words in (["secrets"], ["secrets", "--check"], ["deploy"]):
            done = project.gpuexp(*words, **TIGRIS, **WANDB, MODAL_LOGLEVEL="DEBUG")
            assert done.returncode == 0, done.stdout
            seen.append(done.stdout)
    refused = project.gpuexp("secrets", **TIGRIS, **WANDB, MODAL_TOKEN_SECRET="as-wrong")
    seen += [refused.stdout, str(project.server.journal())]
    seen += [path.read_text(errors="replace") for path in project.folder.rglob("*.*")]

    values = [*TIGRIS.values(), *WANDB.values()]
    assert refused.returncode == 2
    assert any("pytest_gpuexp.cli" in text for text in seen), "no command line was seen"
    assert [value for value in values for text in seen if value in text] == []


def test_without_the_client_one_error_names_the_extra(project: ModalProject) -> None:
    told = _each_command(project, before="import sys; sys.modules['modal'] = None")

    assert len(told) == len(COMMANDS)
    for command, line in zip(COMMANDS, told, strict=True):
        assert line == (
            f"gpuexp {command[0]}: Modal's client is not installed. Install it with: "
            "pip install 'pytest-gpuexp[modal]'"
        )


@pytest.mark.parametrize("token", [("ak-test", "as-wrong"), ("", "")], ids=["refused", "missing"])
def test_a_token_that_is_refused_or_missing_is_told_with_the_way_out(
    token: tuple[str, str], project: ModalProject
) -> None:
    told = _each_command(project, MODAL_TOKEN_ID=token[0], MODAL_TOKEN_SECRET=token[1])

    assert len(told) == len(COMMANDS)
    for command, line in zip(COMMANDS, told, strict=True):
        assert line.startswith(f"gpuexp {command[0]}: Modal refused the token, or found none: ")
        assert "modal token new" in line


def test_a_server_that_nobody_reaches_is_told_at_once(project: ModalProject) -> None:
    told = _each_command(project, MODAL_SERVER_URL="http://127.0.0.1:9")

    assert len(told) == len(COMMANDS)
    for command, line in zip(COMMANDS, told, strict=True):
        # The system's own word: the client would have knocked for a minute before it gave up.
        assert re.match(
            rf"gpuexp {command[0]}: Modal cannot be reached at http://127.0.0.1:9: "
            r"\[Errno \d+\] Connection refused\. ",
            line,
        ), line


def test_a_wrong_pyproject_or_conftest_is_told_before_anything_is_deployed(
    project: ModalProject,
) -> None:
    project.write("pyproject.toml", NO_SECRETS)
    project.write(
        "conftest.py", "def pytest_gpuexp_modal_image(image):\n    return image.no_such()\n"
    )
    broken = project.gpuexp("deploy")
    project.write("conftest.py", "def pytest_gpuexp_modal_image(image):\n    return 3\n")
    wrong = project.gpuexp("deploy")
    project.write("pyproject.toml", '[tool.gpuexp.modal]\nsecrets = []\ndependencies = "no.txt"\n')
    absent = project.gpuexp("deploy")

    assert [done.returncode for done in (broken, wrong, absent)] == [2, 2, 2]
    assert "pytest_gpuexp_modal_image: AttributeError: " in broken.stdout
    assert "conftest.py: 1 problem: pytest_gpuexp_modal_image returned 3, which" in wrong.stdout
    assert "modal.dependencies: 'no.txt' is no file in " in absent.stdout


def test_the_smoke_test_needs_nothing_deployed(project: ModalProject) -> None:
    project.write("pyproject.toml", f'{NO_SECRETS}app = "never-deployed"\n')

    done = project.gpuexp("smoke-test")

    assert "PYTEST-GPUEXP SMOKE TEST\nPython: " in done.stdout, done.stdout
    passed = "SMOKE TEST PASSED" in done.stdout
    assert done.returncode == (0 if passed else 1)
    assert project.server.journal("publish")[-1]["state"] == "ephemeral"


def test_a_model_in_a_folder_is_sent_and_a_wrong_path_is_told_first(
    project: ModalProject, client: modal.Client
) -> None:
    project.write("pyproject.toml", f'{NO_SECRETS}models = "cache"\n')
    project.write("models/tiny/config.json", "{}")

    done = project.gpuexp("download-models", "--models", "models/tiny")
    wrong = project.gpuexp("download-models", "--models", "./no-model,")

    assert done.returncode == 0, done.stdout
    assert "models/tiny: 0.00 GB in /models/local/tiny" in done.stdout
    entries = modal.Volume.from_name("cache", client=client).listdir("/", recursive=True)
    assert "local/tiny/config.json" in {entry.path for entry in entries}
    assert wrong.returncode == 2
    assert wrong.stdout == "gpuexp download-models: no folder of a model: ./no-model\n"


def test_what_nobody_fetches_any_more_is_removed_from_the_results_volume(
    project: ModalProject, client: modal.Client
) -> None:
    project.write("pyproject.toml", f'{NO_SECRETS}results = "passing"\n')
    volume = modal.Volume.from_name("passing", create_if_missing=True, client=client)
    names = [".gpuexp/a.tar.gz", ".gpuexp/b.tar.gz", "spool/s/c1/runs/r/1/large.bin"]
    with volume.batch_upload() as batch:
        for name in [*names, "c1/results.yaml"]:
            batch.put_file(io.BytesIO(bytes(2_000_000)), name)
    long_ago = time.time() - 20 * 86400
    (folder,) = {path.parents[1] for path in project.server.root.glob("volumes/*/.gpuexp/a.*")}
    for name in [*names[1:], "c1/results.yaml"]:
        os.utime(folder / name, (long_ago, long_ago))

    soon = project.gpuexp("results", "--prune=7")
    late = project.gpuexp("results", "--prune=30")
    done = project.gpuexp("results", "--prune=14")

    assert soon.returncode == 2
    assert "--prune 7: sessions fetch what is up to 7 days old; say 8 or more" in soon.stdout
    assert late.stdout == "removed 0.0 MB that nobody has changed for 30 days\n"
    assert done.stdout == "removed 4.0 MB that nobody has changed for 14 days\n"
    left = {each.path for each in volume.iterdir("/", recursive=True) if each.type == 1}
    assert left == {".gpuexp/a.tar.gz", "c1/results.yaml"}


def test_serve_puts_the_app_there_anew_when_its_files_change_and_ends_with_ctrl_c(
    project: ModalProject,
) -> None:
    project.write("pyproject.toml", NO_SECRETS)
    source = project.folder / "source"
    here = Path(pytest_gpuexp.__file__).parent
    shutil.copytree(here, source / here.name, ignore=shutil.ignore_patterns("__pycache__"))
    before = len(project.server.journal("publish"))
    program = "from pytest_gpuexp.cli import main; raise SystemExit(main())"
    path = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
    serving = subprocess.Popen(
        [sys.executable, "-c", program, "serve"],
        cwd=project.folder,
        env=project.variables({"PYTHONPATH": path}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        _wait_for_publications(project.server, before + 1, serving)
        changed = source / here.name / "moments.py"
        for _ in range(30):  # the watch may begin a moment after the app is there
            changed.write_text(changed.read_text() + "# changed\n")
            time.sleep(0.5)
            if len(project.server.journal("publish")) > before + 1:
                break
        _wait_for_publications(project.server, before + 2, serving)
    finally:
        os.killpg(serving.pid, signal.SIGINT)  # as a terminal does
        output, _ = serving.communicate(timeout=60)

    assert serving.returncode == 0, output
    assert {each["state"] for each in project.server.journal("publish")[before:]} == {"ephemeral"}


def _each_command(project: ModalProject, before: str = "", **environ: str) -> list[str]:
    """Return what each of ``COMMANDS`` says, one line each, all of them with exit code 2."""
    program = f"""
{before}
from pytest_gpuexp.cli import main
raise SystemExit(any(main(words) != 2 for words in {COMMANDS!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project.folder,
        env=project.variables({**TIGRIS, **WANDB, **environ}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr.splitlines()


def _wait_for_publications(
    server: starting.ModalServer, count: int, process: subprocess.Popen[str]
) -> None:
    deadline = time.monotonic() + 60
    while len(server.journal("publish")) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the app was not put there"
        time.sleep(0.1)


@contextmanager
def _command_lines() -> Iterator[list[str]]:
    """Give the command lines of all processes of this machine, as they come and go."""
    seen: dict[str, None] = {}
    told: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.03):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen[path.read_bytes().decode(errors="replace")] = None
                except OSError:  # it has ended
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield told
    finally:
        ended.set()
        thread.join()
        told.extend(seen)
