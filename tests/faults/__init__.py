"""Real faults, one file a kind: each kills, cuts or fills something, and looks what is left."""

from tests.faults.proxy import Proxy, faulty

__all__ = ["Proxy", "faulty"]
