"""A smaller model as a checkpoint folder that `from_pretrained` opens."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tersor.archive.folder import CONFIG_NAME, reduced_quantization_config
from tersor.errors import OutputExistsError, UsageError
from tersor.sources.folder import Checkpoint, scan
from tersor.structured.anatomy import find_anatomy
from tersor.structured.reduction import Reduction
from tersor.types import TensorSpec

WEIGHTS_NAME = "model.safetensors"
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


def save_reduced(reduction: Reduction, source_folder: Path | str, folder: Path | str) -> None:
    """Write the smaller model: config.json rewritten, weights in the source's dtypes, side files copied.

    source_folder: the checkpoint that the original was loaded from. folder: new, or empty.
    If config.json cannot say all shapes, its quantization_config names tersor and says the rest ("tersor_modules"):
    such a folder opens after `import tersor`, and is an error without.
    Raises: UsageError, OutputExistsError.
    """
    source, target = Path(source_folder), Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputExistsError(f"{target}: exists already; give a new folder")
    checkpoint = scan(source)
    config = checkpoint.find(CONFIG_NAME)
    if config is None:
        raise UsageError(f"{source}: no config.json here; needed: the folder that the model was loaded from")
    target.mkdir(parents=True, exist_ok=True)
    for entry in checkpoint.with_role("side"):
        if entry.relative != CONFIG_NAME:
            (target / entry.relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.path, target / entry.relative)
    values = {**json.loads(config.path.read_bytes()), **reduction.config_changes}
    values.pop("quantization_config", None)  # that of a source which is a smaller model already
    if reduction.module_shapes:
        values["quantization_config"] = reduced_quantization_config(reduction.module_shapes)
    (target / CONFIG_NAME).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    save_file(_tensors(reduction, checkpoint), target / WEIGHTS_NAME, metadata={"format": "pt"})


def _tensors(reduction: Reduction, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The model's parameters and saved buffers, tied ones once, under its own names."""
    specs = {spec.name: spec for spec in checkpoint.weight_specs()}
    common = Counter(spec.dtype for spec in specs.values() if spec.dtype in _DTYPES).most_common(1)
    usual = common[0][0] if common else "F32"
    stack = find_anatomy(reduction.model).name
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in reduction.model.state_dict(keep_vars=True).items():
        if id(value) in seen:
            continue
        seen.add(id(value))
        spec = _find(specs, original_name(name, stack, reduction.layers), reduction.model)
        tensor = value.detach()
        if tensor.is_floating_point():
            # A name that the checkpoint spells in another way has the dtype of most others.
            tensor = tensor.to(_DTYPES.get(usual if spec is None else spec.dtype, tensor.dtype))
        tensors[name] = tensor.contiguous()
    return tensors


def original_name(name: str, stack: str, layers: list[int]) -> str:
    """What a parameter is called in the original: its layer has another number there."""
    if not name.startswith(f"{stack}."):
        return name
    number, _, rest = name.removeprefix(f"{stack}.").partition(".")
    return f"{stack}.{layers[int(number)]}.{rest}"


def _find(specs: dict[str, TensorSpec], name: str, model: Any) -> TensorSpec | None:
    """The checkpoint's tensor of this name, with or without the prefix of the model without its head."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    candidates = (name, prefix + name, name.removeprefix(prefix))
    return next((specs[candidate] for candidate in candidates if candidate in specs), None)
