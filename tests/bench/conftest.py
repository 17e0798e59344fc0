"""Small weights to measure, and coders that misbehave, installed as another package would be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

BROKEN_PEERS = '''
from tersor.bench.peers.memcpy import Memcpy


class Forgetful(Memcpy):
    """Loses the last bit."""

    def decode(self):
        restored = bytearray(self._payload)
        restored[-1] ^= 1
        return [restored]


class Short(Memcpy):
    """Loses the last byte."""

    def decode(self):
        return [self._payload[:-1]]


class Crashing(Memcpy):
    """Fails at its second encoding."""

    def encode(self, data):
        if self.n_bytes:
            raise RuntimeError("no more")
        super().encode(data)


class Absent(Memcpy):
    """Needs a package that nobody has."""

    def __init__(self, job):
        import tersor_test_absent
'''


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return a safetensors file of 40,000 float32 weights in two tensors."""
    rng = np.random.default_rng(0)
    tensors = {
        "a": rng.normal(0, 0.02, (150, 200)).astype(np.float32),
        "b": rng.normal(0, 1, (10000,)).astype(np.float32),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def broken_peers(tmp_path: Path) -> Path:
    """Return a folder for PYTHONPATH whose package adds peers through entry points."""
    folder = tmp_path / "site"
    about = folder / "broken_peers-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "broken_peers.py").write_text(BROKEN_PEERS)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-peers\nVersion: 1.0\n")
    names = ("Forgetful", "Short", "Crashing", "Absent")
    lines = [f"{name.lower()} = broken_peers:{name}" for name in names]
    (about / "entry_points.txt").write_text("\n".join(["[tersor.peers]", *lines, ""]))
    return folder
