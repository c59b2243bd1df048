"""Contender: Hydra's multirun with its own launcher, one run after the other in one process."""

from __future__ import annotations

from bench.hydra_app import sweep

if __name__ == "__main__":
    sweep([])
