"""openzl, with the smallest of ten graphs that were tried on MiniLM in each float type.

ratio                                                  BF16    F16    F32
generic                                               .7198  .8542  .8276
bytes apart, each FSE                                 .6682  .8475  .8203
float's parts: both generic                           .6948  .9240  .8355
float's parts: mantissa raw, exponent FSE             .6629 1.0000  .8314
float's parts: mantissa's bytes apart FSE, exponent FSE   -      -  .8177

Huffman and "entropy" in the place of FSE were larger. Other types go through the generic graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tersor.bench.peers.base import DECODE_COLD, ENCODE, Buffer, Job, MemoryPeer
from tersor.bench.peers.words import split_words


class OpenZL(MemoryPeer):
    """One frame of all numbers; the bytes that fill no number are kept beside it and counted."""

    operations = (ENCODE, DECODE_COLD)

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        from importlib.metadata import version

        import openzl.ext as openzl

        self.version = version("openzl")
        self._openzl = openzl
        self._compressor = openzl.Compressor()
        self._compressor.set_parameter(openzl.CParam.FormatVersion, openzl.MAX_FORMAT_VERSION)
        self._compressor.select_starting_graph(_graph(openzl, self._compressor, job.dtype))

    def encode(self, data: bytearray) -> None:
        words, self._tail = split_words(data, self.job.dtype)
        unsigned = words.view(f"u{words.itemsize}")
        context = self._openzl.CCtx()
        context.ref_compressor(self._compressor)
        context.set_parameter(self._openzl.CParam.FormatVersion, self._openzl.MAX_FORMAT_VERSION)
        self._payload = context.compress([self._openzl.Input(self._openzl.Type.Numeric, unsigned)])
        self.n_bytes = len(self._payload) + len(self._tail)

    def decode(self) -> Sequence[Buffer]:
        (output,) = self._openzl.DCtx().decompress(self._payload)
        return [output.content.as_nparray().view("uint8").data, self._tail]


def _graph(openzl: Any, compressor: Any, dtype: str) -> Any:
    """Return the graph for files of an element type."""
    nodes, graphs = openzl.nodes, openzl.graphs
    fse = graphs.Fse()(compressor)
    bytes_apart = nodes.TransposeSplit()(compressor, fse)
    if dtype == "BF16":
        return nodes.BFloat16Deconstruct()(compressor, graphs.Store()(compressor), fse)
    if dtype == "F16":
        return nodes.ConvertNumToStructLE()(compressor, bytes_apart)
    if dtype == "F32":
        return nodes.Float32Deconstruct()(compressor, bytes_apart, fse)
    return graphs.Compress()(compressor)
