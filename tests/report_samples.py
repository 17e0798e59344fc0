"""Archives with histories for the tests of reports: made at once, nothing calibrated or trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archives import context_for, random_array, random_grid
from tersor.archive.index import FolderRecord
from tersor.archive.writer import ArchiveWriter
from tersor.history import FILE_NAME
from tersor.layouts import Alias, Dense, Grid
from tersor.types import TensorSpec

N_LAYERS = 3
ROLES = ("attention.self.query", "attention.output.dense", "intermediate.dense")
RECIPE = {"size": "0.1x", "method": "two_sided", "seed": 0}
Value = Dense | Grid | Alias


def small_model(prefix: str = "") -> dict[TensorSpec, Value]:
    """Grids of three layers and of an embedding, a plain vector, and a tied head. prefix: before every name."""
    tensors: dict[TensorSpec, Value] = {}
    names = [f"encoder.layer.{layer}.{role}.weight" for layer in range(N_LAYERS) for role in ROLES]
    for seed, name in enumerate(["embeddings.word.weight", *names]):
        shape = (96, 32) if seed == 0 else (32, 32)
        tensors[TensorSpec(prefix + name, "F32", shape)] = random_grid(*shape, seed=seed)
    norm = TensorSpec(prefix + "embeddings.norm.weight", "F32", (32,))
    tensors[norm] = Dense(random_array(norm))
    tensors[TensorSpec(prefix + "head.weight", "F32", (96, 32))] = Alias(prefix + "embeddings.word.weight")
    return tensors


def write_model(
    folder: Path, history: Sequence[dict[str, Any]] = (), *, prefix: str = "", **provenance: Any
) -> Path:
    """An archive folder of `small_model`. history: its entries, no file for none."""
    folder.mkdir(parents=True)
    tensors = small_model(prefix)
    facts = {"command": "compress", "recipe": RECIPE, "tool": "tersor 0", "source": "bert", **provenance}
    with ArchiveWriter(folder / "model.tersor.safetensors", context_for(tensors), producer="tests") as writer:
        for spec, value in tensors.items():
            writer.add(spec, value)
        writer.finish([], facts, FolderRecord(False, [], [], [], False))
    if history:
        (folder / FILE_NAME).write_text(json.dumps(list(history)), encoding="utf-8")
    return folder


def compress_entry(prefix: str = "") -> dict[str, Any]:
    """Errors and sensitivities of every grid, curves of two, and two measured steps."""
    names = [spec.name for spec, value in small_model(prefix).items() if isinstance(value, Grid)]
    return {
        "kind": "compress",
        "recipe": RECIPE,
        "tensors": [{"name": name, "error": 0.01 * (1 + place)} for place, name in enumerate(names)],
        "sensitivity": {name: 0.1 / (1 + place) for place, name in enumerate(names)},
        "curves": {name: [[bits, 4.0**-bits] for bits in (2, 3, 4)] for name in names[:2]},
        "steps": [
            {"step": {"prune": {"sparsity": 0.5}}, "metric": "kl", "value": 0.02, "stderr": 0.001, "n": 64},
            {"step": {"quantize": {}}, "metric": "kl", "value": 0.03, "stderr": 0.001, "n": 64},
        ],
    }


def finetune_entry() -> dict[str, Any]:
    """Five quantities over six steps, one of them of the machine."""
    log = [
        {"step": step, "epoch": step / 40, "loss": 1 / step, "eval_f1": 80 + step / 10, "eval_runtime": 1.5}
        for step in range(10, 70, 10)
    ]
    return {
        "kind": "finetune",
        "task": "ner",
        "stage": "tune",
        "settings": {"learning_rate": 1e-3, "epochs": 2, "nested": {"no": 1}},
        "log": log,
        "metrics": [{"split": "test", "name": "f1", "value": 86.2}],
    }


def ner_entry(original: str, archive: str, n_bytes: int) -> dict[str, Any]:
    """What `evaluate --task ner --record` writes: two models, two figures, entities and tags."""
    models = [_measured(original, 90_000, 86.6, None), _measured(archive, n_bytes, 86.4, -0.2)]
    return {"kind": "evaluate", "task": "ner", "data": "eng.testb", "seed": 0, "models": models}


def _measured(path: str, n_bytes: int, f1: float, change: float | None) -> dict[str, Any]:
    figure = {
        "value": f1,
        "unit": "%",
        "n": 3453,
        "stderr": 0.4,
        "low": f1 - 0.8,
        "high": f1 + 0.8,
        "higher_is_better": True,
        "difference": change,
        "difference_stderr": None if change is None else 0.15,
        "difference_low": None if change is None else change - 0.3,
        "difference_high": None if change is None else change + 0.3,
        "p_value": None if change is None else 0.18,
        "test": None if change is None else "randomisation",
    }
    return {
        "path": path,
        "n_bytes": n_bytes,
        "metrics": [{"name": name, **figure} for name in ("f1", "precision")],
        "report": "as text",
        "details": {
            "scheme": "IOB2, strict",
            "entities": [_row("type", name, f1 + place) for place, name in enumerate(("LOC", "PER"))],
            "tags": [_row("tag", name, f1 + place) for place, name in enumerate(("B-LOC", "I-LOC", "B-PER"))],
        },
    }


def _row(what: str, name: str, f1: float) -> dict[str, Any]:
    return {
        what: name,
        "precision": f1 - 1,
        "recall": f1 + 1,
        "f1": f1,
        "f1_low": f1 - 2,
        "f1_high": f1 + 2,
        "support": 1668,
    }


def full_model(folder: Path) -> Path:
    """An archive whose history holds all that a page can show."""
    history = [compress_entry(), finetune_entry(), ner_entry("bert", str(folder), 9_000)]
    return write_model(folder, history)
