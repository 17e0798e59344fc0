"""What a packer reads of a file when: groups of tensors, releases of pages, the hash beside all else."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tersor.archive.writer import BATCH_BYTES
from tersor.packing.parts import Part, Releases, SourceDigest, groups_of, parts_of
from tersor.sources import open_exact
from tersor.types import TensorSpec


def part_of(n_bytes: int) -> Part:
    return Part(TensorSpec("w", "U8", (n_bytes,)), lambda: np.zeros(n_bytes, np.uint8), lambda: None)


@given(st.lists(st.sampled_from([0, 1, BATCH_BYTES // 3, BATCH_BYTES, 3 * BATCH_BYTES]), max_size=12))
def test_groups_hold_all_parts_in_order_and_no_more_than_a_batch(sizes: list[int]) -> None:
    groups = list(groups_of([part_of(size) for size in sizes]))
    assert [part.spec.n_bytes for group in groups for part in group] == sizes
    for group in groups:
        assert group
        assert len(group) == 1 or sum(part.spec.n_bytes for part in group) <= BATCH_BYTES


def test_releases_come_when_many_bytes_wait_and_at_the_end() -> None:
    called: list[int] = []
    releases = Releases()
    for number in range(5):
        releases.add(lambda number=number: called.append(number), 3 << 20)
    assert called == [0, 1, 2]
    releases.flush()
    assert called == [0, 1, 2, 3, 4]


def test_digest_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": np.arange(3 << 20, dtype=np.int32), "b": np.ones(5, np.float32)}, path)
    with open_exact(path) as source, SourceDigest(source) as digest:
        assert sorted(part.spec.name for part in parts_of(source)) == ["a", "b"]
        assert digest.result() == sha256(path.read_bytes()).digest()


def test_abandoned_digest_ends(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": np.arange(3 << 20, dtype=np.int32)}, path)
    with open_exact(path) as source, pytest.raises(KeyError), SourceDigest(source):
        raise KeyError("stop")
