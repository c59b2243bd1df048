"""Which folder is the project's, for a command that is started in it."""

from __future__ import annotations

from pathlib import Path


def project_root(folder: Path) -> Path:
    """Return the nearest folder from ``folder`` upwards with a pyproject.toml, else ``folder``."""
    here = folder.resolve()
    return next((one for one in (here, *here.parents) if (one / "pyproject.toml").is_file()), here)
