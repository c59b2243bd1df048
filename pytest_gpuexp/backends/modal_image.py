"""The Modal image in which a project's runs execute: the environment, and none of its code."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gpuexp import project
from pytest_gpuexp.backends import modal_names, requirements
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.project import Modal, Project

if TYPE_CHECKING:
    import modal

MODELS = "/models"
RESULTS = "/results"
# What is settled at the deployment, and read again where the app is imported in a container.
PROJECT = "GPUEXP_PROJECT"
_SOURCES = "/root"  # where Modal puts local source, on the import path
_HOOK = "pytest_gpuexp_modal_image"


def make_image(told: Project, root: Path) -> modal.Image:
    """Return the image of the project at ``root``: Python, packages, environment, the plugin.

    The plugin goes in last and as source, so that changing it builds nothing anew.

    Raises:
        UsageProblems: what pyproject.toml names is not there, or conftest.py's hook has failed.
    """
    import modal

    settings = told.modal
    image = modal.Image.debian_slim(python_version=settings.python)
    if settings.apt:
        image = image.apt_install(*settings.apt)
    image = _install(image, settings, root)
    image = image.uv_pip_install(*requirements.of_plugin())
    image = image.env(
        {
            "HF_HOME": f"{MODELS}/huggingface",
            "TORCH_HOME": f"{MODELS}/torch",
            **settings.env,
            PROJECT: json.dumps(project.to_plain(told)),
        }
    )
    return _with_plugin(_asked_of_conftest(image, root))


def _with_plugin(image: modal.Image) -> modal.Image:
    """Return ``image`` with the plugin's source, and what makes pytest find it: its metadata."""
    found = importlib.metadata.distribution(modal_names.DISTRIBUTION)
    image = image.add_local_python_source("pytest_gpuexp")
    # Not removed here: files are sent once the app is deployed.
    folder = Path(tempfile.mkdtemp(prefix="gpuexp-"))
    for name in ("METADATA", "entry_points.txt"):
        (folder / name).write_text(found.read_text(name) or "", "utf-8")
    name = f"{modal_names.DISTRIBUTION.replace('-', '_')}-{found.version}.dist-info"
    return image.add_local_dir(folder, f"{_SOURCES}/{name}")


def _install(image: modal.Image, settings: Modal, root: Path) -> modal.Image:
    wanted = settings.dependencies
    if isinstance(wanted, tuple):
        return image.uv_pip_install(*wanted) if wanted else image
    if wanted == "pyproject":
        listed = requirements.of_pyproject(root, settings.extras)
        return image.uv_pip_install(*listed) if listed else image
    path = root / wanted
    if not path.is_file():
        raise UsageProblems(
            requirements.PLACE, [f"modal.dependencies: {wanted!r} is no file in {root}"]
        )
    if path.name == "uv.lock":
        return image.uv_sync(
            str(path.parent),
            extras=list(settings.extras) or None,
            extra_options=f"--no-install-package {modal_names.DISTRIBUTION}",
        )
    return image.uv_pip_install(requirements=[str(_freed_of_plugin(path))])


def _freed_of_plugin(path: Path) -> Path:
    """Return ``path``, or where it asks for the plugin a copy that does not."""
    text = path.read_text("utf-8")
    kept = requirements.without_plugin(text)
    if kept == text:
        return path
    # Not removed here: the image is built from it once the app is deployed.
    copy = Path(tempfile.mkdtemp(prefix="gpuexp-")) / path.name
    copy.write_text(kept, "utf-8")
    return copy


def _asked_of_conftest(image: modal.Image, root: Path) -> modal.Image:
    """Return ``image`` as the project's conftest.py has it: there is no pytest at a deployment."""
    path = root / "conftest.py"
    if not path.is_file() or _HOOK not in path.read_text("utf-8"):
        return image
    spec = importlib.util.spec_from_file_location("gpuexp_conftest", path)
    assert spec is not None  # it is a .py file that is there
    assert spec.loader is not None
    conftest = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(root))
    try:
        spec.loader.exec_module(conftest)
        hook: Any = getattr(conftest, _HOOK, None)
        changed = None if hook is None else hook(image=image)
    except Exception as error:
        raise UsageProblems(str(path), [f"{_HOOK}: {type(error).__name__}: {error}"]) from error
    finally:
        sys.path.remove(str(root))
    if changed is None:
        return image
    if not isinstance(changed, type(image)):
        raise UsageProblems(str(path), [f"{_HOOK} returned {changed!r}, which is no modal.Image"])
    return changed
