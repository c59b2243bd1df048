"""What libraries import only when it is first used."""

from __future__ import annotations

import pytest

from pytest_gpuexp.put_off import foreseen


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ndef exp_a(m): torch.optim.Adam(m)\n",
        "import torch as t\ndef exp_a(m): t.optim.Adam(m)\n",
        "from torch import nn, optim\n",
        "from torch import optim as o\n",
        "from torch.optim import Adam\n",
        "from torch.optim.lr_scheduler import StepLR\n",
        "import torch.optim as o\n",
        "from models import *\ndef exp_a(m): optim.Adam(m)\n",
    ],
)
def test_code_that_takes_an_optimizer_of_torch_foresees_its_import(source: str) -> None:
    assert foreseen(source, {"torch"}) == ["torch._dynamo"]
    assert foreseen(source, {"torch", "torch._dynamo"}) == []
    assert foreseen(source, set()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch\n# torch.optim is slow\n",
        '"""Without torch.optim: from torch import optim."""\nimport torch\n',
        "def exp_a(config): return config['optim'], config.optimizer\n",
        "def exp_a(:\n  (",
        "\0",
    ],
)
def test_what_only_speaks_of_optimizers_or_cannot_be_read_foresees_nothing(source: str) -> None:
    assert foreseen(source, {"torch"}) == []
