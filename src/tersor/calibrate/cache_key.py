"""The name of a cache entry: a hash of everything that statistics depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

import tersor.quant.factor
from tersor.calibrate.text import CalibrationText

_VOLATILE = ("_name_or_path", "name_or_path")


def cache_key(model: nn.Module, text: CalibrationText, settings: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the model (bytes, names, class, configuration), the token ids, the settings and the code."""
    digest = hashlib.sha256()
    for part in (
        type(model).__qualname__,
        _configuration(model),
        text.sha256,
        json.dumps(settings, sort_keys=True),
        torch.__version__,
        transformers.__version__,
        torch.backends.cpu.get_cpu_capability(),
        np.__version__,
        _linear_algebra(),
    ):
        digest.update(part.encode() + b"\0")
    digest.update(_source_hash())
    _add_tensors(digest, model)
    return digest.hexdigest()


def _add_tensors(digest: hashlib._Hash, model: nn.Module) -> None:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        flat = tensor.detach().contiguous().view(-1)
        if flat.numel():
            digest.update(flat.view(torch.uint8).numpy().data)


def _configuration(model: nn.Module) -> str:
    config = getattr(model, "config", None)
    if config is None:
        return ""
    values = {name: value for name, value in config.to_dict().items() if name not in _VOLATILE}
    return json.dumps(values, sort_keys=True, default=str)


def _linear_algebra() -> str:
    """What numpy's Cholesky factors come from: another BLAS or LAPACK differs in the last bits."""
    built: Any = np.show_config(mode="dicts")
    return json.dumps(built["Build Dependencies"], sort_keys=True, default=str)


def _source_hash() -> bytes:
    """Of the code that makes statistics: a new version never takes an old one's entries for its own."""
    sources = [*sorted(Path(__file__).parent.glob("*.py")), Path(tersor.quant.factor.__file__)]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    return digest.digest()
