"""The launcher ``hydra/launcher=gpuexp`` of Hydra apps."""
