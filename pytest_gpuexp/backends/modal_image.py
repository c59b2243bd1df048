"""The Modal image in which a project's runs execute: the environment, and none of its code."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

from pytest_gpuexp import project
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.project import Modal, Project

if TYPE_CHECKING:
    import modal

MODELS = "/models"
RESULTS = "/results"
PROJECT = "GPUEXP_PROJECT"
_DISTRIBUTION = "pytest-gpuexp"
_CARRIED = ("tigris",)  # extras of the plugin that a container needs


def make_image(told: Project, root: Path) -> modal.Image:
    """Return the image of the project at ``root``: Python, packages, environment, the plugin.

    The plugin goes in last and as source, so that changing it builds nothing anew.

    Raises:
        UsageProblems: what pyproject.toml names is not there.
    """
    import modal

    settings = told.modal
    image = modal.Image.debian_slim(python_version=settings.python)
    if settings.apt:
        image = image.apt_install(*settings.apt)
    image = _install(image, settings, root)
    image = image.uv_pip_install(*plugin_requirements())
    image = image.env(
        {
            "HF_HOME": f"{MODELS}/huggingface",
            "TORCH_HOME": f"{MODELS}/torch",
            **settings.env,
            PROJECT: json.dumps(project.to_plain(told)),
        }
    )
    image = _asked_of_conftest(image, root)
    return image.add_local_python_source("pytest_gpuexp")


def plugin_requirements() -> list[str]:
    """Return what the plugin itself needs there, pytest at the version that is here.

    Reports of pytest cross between the two, so they must be the same.
    """
    requirements = []
    for text in importlib.metadata.requires(_DISTRIBUTION) or ():
        one = Requirement(text)
        carried = one.marker is None or any(one.marker.evaluate({"extra": e}) for e in _CARRIED)
        if carried and one.name != "pytest":
            one.marker = None
            requirements.append(str(one))
    return [f"pytest=={importlib.metadata.version('pytest')}", *requirements]


def _install(image: modal.Image, settings: Modal, root: Path) -> modal.Image:
    wanted = settings.dependencies
    if isinstance(wanted, tuple):
        return image.uv_pip_install(*wanted) if wanted else image
    if wanted == "pyproject":
        listed = _listed(root, settings)
        return image.uv_pip_install(*listed) if listed else image
    path = root / wanted
    if not path.is_file():
        raise UsageProblems(
            "[tool.gpuexp] of pyproject.toml", [f"modal.dependencies: {wanted!r} is no file here"]
        )
    if path.name == "uv.lock":
        return image.uv_sync(str(path.parent), extras=list(settings.extras) or None)
    return image.uv_pip_install(requirements=[str(path)])


def _listed(root: Path, settings: Modal) -> list[str]:
    packaged = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    optional = packaged.get("optional-dependencies", {})
    missing = [extra for extra in settings.extras if extra not in optional]
    if missing:
        problem = f"modal.extras: {', '.join(missing)} not among {', '.join(optional) or 'none'}"
        raise UsageProblems("[tool.gpuexp] of pyproject.toml", [problem])
    extras = [one for extra in settings.extras for one in optional[extra]]
    return [
        one
        for one in [*packaged.get("dependencies", ()), *extras]
        if Requirement(one).name != _DISTRIBUTION  # it is on no index, and travels as source
    ]


def _asked_of_conftest(image: modal.Image, root: Path) -> modal.Image:
    """Return ``image`` as the project's conftest.py has it: there is no pytest at a deployment."""
    path = root / "conftest.py"
    if not path.is_file():
        return image
    spec = importlib.util.spec_from_file_location("gpuexp_conftest", path)
    if spec is None or spec.loader is None or "pytest_gpuexp_modal_image" not in path.read_text():
        return image
    conftest = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(root))
    try:
        spec.loader.exec_module(conftest)
    finally:
        sys.path.remove(str(root))
    hook: Any = getattr(conftest, "pytest_gpuexp_modal_image", None)
    return image if hook is None else hook(image=image) or image
