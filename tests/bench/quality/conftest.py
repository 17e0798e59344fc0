"""Peers of quality, installed as another package would be."""

from __future__ import annotations

from pathlib import Path

import pytest

PEERS = '''
from tersor.bench.quality.peers import QualityPeer, tensors_of, write_tensor


class Coarse(QualityPeer):
    """Rounds to eighths of the largest weight, 5 bits each."""

    settings = ("5 bits",)
    version = "coarse 1.0"

    def quantize(self, job):
        n_bytes = 0
        for tensor in tensors_of(job):
            step = abs(tensor.values).max() / 16
            write_tensor(job, tensor.number, (tensor.values / step).round() * step if step else tensor.values)
            n_bytes += tensor.values.size * 5 // 8
        return n_bytes


class Crashing(Coarse):
    """Starts, but cannot quantize."""

    def quantize(self, job):
        raise RuntimeError("no more")


class Unstarted(Coarse):
    """Does not start."""

    def __init__(self):
        raise OSError("libpeer.so: undefined symbol")


class Absent(Coarse):
    """Needs a package that nobody has."""

    def __init__(self):
        import tersor_test_absent
'''


@pytest.fixture(scope="session")
def peer_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for PYTHONPATH whose package adds peers through entry points."""
    folder = tmp_path_factory.mktemp("site")
    about = folder / "quality_peers-1.0.dist-info"
    about.mkdir()
    (folder / "quality_peers.py").write_text(PEERS)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: quality-peers\nVersion: 1.0\n")
    names = ("Coarse", "Crashing", "Unstarted", "Absent")
    lines = [f"{name.lower()} = quality_peers:{name}" for name in names]
    (about / "entry_points.txt").write_text("\n".join(["[tersor.quality_peers]", *lines, ""]))
    return folder
