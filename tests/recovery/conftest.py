"""Tiny models quantized coarsely, by architecture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

import models
from coarse_models import Case, MakeCase


@pytest.fixture
def make_case(tmp_path: Path) -> Iterator[MakeCase]:
    """A case by architecture: "bert", "llama", "gpt2", "albert", "t5" or "mixtral"."""
    torch.set_num_threads(1)
    with ExitStack() as stack:

        def make(name: str) -> Case:
            return Case(getattr(models, f"tiny_{name}")(tmp_path / name), stack, tmp_path / "spool")

        yield make
