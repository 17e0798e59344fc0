"""Form 4: records of bytes, such as quantized blocks of GGUF: positions in groups, coded alike (docs/format.md 4.1).

Nothing here knows any record: positions join a group when their histograms coded together cost less than apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tersor import _core
from tersor.layouts.base import Context
from tersor.layouts.forms.parts import (
    BYTE_CODECS,
    FORM_FIELDS,
    Bytes,
    Reader,
    Scope,
    decode_bytes,
    encode_plane,
    misfit,
    read_plane_head,
)

MIN_STRIDE, MAX_STRIDE, MAX_GROUPS = 2, 255, 32
SAMPLE_BYTES = 1 << 18


@dataclass(slots=True)
class Group:
    """Byte positions that are coded together, less the record's byte at `reference` (modulo 256) if there is one."""

    positions: list[int]
    reference: int | None = None

    def take(self, records: Bytes) -> Bytes:
        """The group's bytes of all records (records, positions), as they are coded."""
        part: Bytes = records[:, self.positions]
        return part if self.reference is None else part - records[:, self.reference, None]

    def put(self, part: Bytes, records: Bytes) -> None:
        """The reverse of `take`; the reference must be in place."""
        records[:, self.positions] = (
            part if self.reference is None else part + records[:, self.reference, None]
        )


def learn_groups(data: Bytes, stride: int) -> tuple[list[Group], float]:
    """Return groups of byte positions, and the share of the data that they are expected to take.

    Neighbours join first, then any two groups, the pair that saves most before others. Then lone positions, such as
    those of a scale and a minimum, may refer to one another.
    """
    records = data[: len(data) // stride * stride].reshape(-1, stride)
    n_sample = SAMPLE_BYTES // stride
    if len(records) > n_sample:
        first = (len(records) - n_sample) // 2
        records = records[first : first + n_sample]
    scale = len(data) / max(records.size, 1)
    learned, bits = _core.learn_field_groups(np.ascontiguousarray(records), scale)
    groups = [Group(positions, None if reference < 0 else reference) for positions, reference in learned]
    return groups, bits / (8 * max(len(data), 1))


def encode(data: Bytes, stride: int, groups: list[Group], context: Context) -> bytes:
    """Return the block with the positions of each group in the codec that makes them smallest."""
    n_tail = len(data) % stride
    records = data[: len(data) - n_tail].reshape(-1, stride)
    parts = [bytes((FORM_FIELDS, stride, len(groups)))]
    for group in groups:
        reference = stride if group.reference is None else group.reference
        parts.append(bytes((len(group.positions), *group.positions, reference)))
    planes = [
        encode_plane(np.ascontiguousarray(group.take(records)).reshape(-1), BYTE_CODECS, context)
        for group in groups
    ]
    parts += [head for head, _ in planes] + [payload for _, payload in planes]
    return b"".join((*parts, data[len(data) - n_tail :].tobytes()))


def decode(reader: Reader, out: Bytes, scope: Scope) -> None:
    """Fill out. Raises: CorruptError, NewerFormatError."""
    stride = reader.u8()
    if stride < MIN_STRIDE:
        raise misfit(scope.where, f"records of {stride} bytes, needs {MIN_STRIDE} to {MAX_STRIDE}")
    groups = _read_groups(reader, stride, scope.where)
    heads = [read_plane_head(reader, scope) for _ in groups]
    n_tail = len(out) % stride
    records = out[: len(out) - n_tail].reshape(-1, stride)
    for group, (name, length) in zip(groups, heads, strict=True):
        part = np.empty((len(records), len(group.positions)), np.uint8)
        decode_bytes(name, reader.bytes(length), part.reshape(-1), scope.where)
        group.put(part, records)
    out[len(out) - n_tail :] = reader.bytes(n_tail)


def _read_groups(reader: Reader, stride: int, where: str) -> list[Group]:
    n_groups = reader.u8()
    if not 1 <= n_groups <= MAX_GROUPS:
        raise misfit(where, f"{n_groups} groups of byte positions, needs 1 to {MAX_GROUPS}")
    groups: list[Group] = []
    known: set[int] = set()
    for _ in range(n_groups):
        positions = reader.bytes(reader.u8()).tolist()
        reference = reader.u8()
        if not positions or len(set(positions)) != len(positions) or known.intersection(positions):
            raise misfit(where, "a group of byte positions is empty or holds one that another holds")
        if reference != stride and reference not in known:
            raise misfit(where, f"a group refers to byte {reference} of a record, which comes no earlier")
        known.update(positions)
        groups.append(Group(positions, None if reference == stride else reference))
    if known != set(range(stride)):
        raise misfit(where, f"the groups do not hold each position of 0 to {stride - 1}")
    return groups
