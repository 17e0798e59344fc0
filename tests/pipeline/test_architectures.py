"""Models of every shape compress, reload, and hold the archive's values; what cannot is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tersor
from models import tiny_albert, tiny_gpt2, tiny_mixtral, tiny_t5

Make = Callable[[Path], Path]


@pytest.mark.parametrize("make", [tiny_albert, tiny_t5, tiny_gpt2, tiny_mixtral], ids=lambda f: f.__name__)
def test_odd_architecture_meets_its_size_and_reloads(make: Make, text: Path, tmp_path: Path) -> None:
    make(tmp_path / "model")
    result = tersor.compress(tmp_path / "model", tmp_path / "small", size="0.3x", calibration=text)
    assert 0.995 * 0.3 <= result["output"]["ratio"] <= 0.3
    original, loaded = (tersor.load(tmp_path / name).state_dict() for name in ("model", "small"))
    assert original.keys() == loaded.keys()
    for name, value in original.items():
        before, after = value.double().numpy(), loaded[name].double().numpy()
        assert np.square(after - before).sum() <= 0.1 * np.square(before).sum() + 1e-12, name
