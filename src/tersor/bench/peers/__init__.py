"""The coders that are measured side by side, one module each. A new one is one line in `PEERS`."""

from __future__ import annotations

from tersor.bench.peers.base import Peer
from tersor.registry import Registry

PEERS: Registry[type[Peer]] = Registry(
    "peer",
    {
        "memcpy": "tersor.bench.peers.memcpy:Memcpy",
        "tersor": "tersor.bench.peers.own:Tersor",
        "zstd": "tersor.bench.peers.zstd:Zstd",
        "zipnn": "tersor.bench.peers.zipnn:ZipNN",
        "pcodec": "tersor.bench.peers.pcodec:Pcodec",
        "openzl": "tersor.bench.peers.openzl:OpenZL",
        "lmzip": "tersor.bench.peers.lmzip:Lmzip",
    },
)

__all__ = ["PEERS", "Peer"]
