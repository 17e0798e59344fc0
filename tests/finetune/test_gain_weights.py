"""Factors of rows: codes stay, scales or new scales hold them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from archives import random_grid
from tersor.finetune.gain_weights import RowGains


@pytest.mark.parametrize("group_size", [0, 8])
@pytest.mark.parametrize("transposed", [False, True])
def test_what_is_written_is_the_weight_times_its_factors(group_size: int, transposed: bool) -> None:
    grid = replace(random_grid(12, 16, group_size=group_size), transposed=transposed)
    dense = grid.to_dense()
    gains = RowGains(grid)
    weight = torch.from_numpy(np.ascontiguousarray(dense.T if transposed else dense))
    assert torch.equal(gains(weight), weight)
    with torch.no_grad():
        gains.gain += 0.01 * torch.arange(12.0)[:, None]
    found = gains(weight).detach().numpy()
    written = gains.to_grid()
    np.testing.assert_array_equal(written.codes, grid.codes)
    np.testing.assert_allclose(written.to_dense(), found.T if transposed else found, rtol=1e-3)


def test_factors_of_a_grid_with_scales_cost_nothing_new() -> None:
    grid = random_grid(12, 16, group_size=8)
    written = RowGains(grid).to_grid()
    assert written.group_size == 8
    assert written.group_scales is not None
    assert grid.group_scales is not None
    assert written.group_scales.dtype == grid.group_scales.dtype
