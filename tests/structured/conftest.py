"""Tiny models of every family that structured pruning knows, in folders, and a text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from structured_models import VOCABULARY, make_family
from tersor.calibrate import CalibrationText
from tersor.load import load_checked


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by family, made once."""
    torch.set_num_threads(1)
    root, made = tmp_path_factory.mktemp("families"), {}

    def find(family: str) -> Path:
        if family not in made:
            made[family] = root / family
            make_family(family, made[family])
        return made[family]

    return find


@pytest.fixture
def load(folders: Callable[[str], Path]) -> Callable[[str], Any]:
    """A tiny model by family."""
    return lambda family: load_checked(folders(family), dtype="float32")[0]


@pytest.fixture(scope="session")
def text() -> CalibrationText:
    """Random sequences of 8 to 23 tokens."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(8, 24, 24)
    return CalibrationText(
        tuple(tuple(map(int, generator.integers(5, VOCABULARY, n))) for n in lengths), "random"
    )
