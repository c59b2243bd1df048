"""Contender: Hydra's multirun with the joblib launcher, two workers that are used again."""

from __future__ import annotations

from bench.hydra_app import sweep

if __name__ == "__main__":
    sweep(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"])
