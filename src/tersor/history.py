"""What was done to a model, and how it measured: `tersor_history.json` beside the weights of an archive.

Loading does not need the file; `inspect` and `report` show it. The recipe that made the bytes is in the archive itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tersor.errors import CorruptError

FILE_NAME = "tersor_history.json"
MAX_BYTES = 64 << 20
MAX_ENTRIES = 10_000

# compress: {"plan": [...], "recipe": {...}}: what `compress --json` reports, without times and paths.
# evaluate: {"task", "data", "seed", "models": [...]}: what `evaluate --json` reports.
# finetune: {"task", "settings": {...}, "log": [{"step", "loss", ...}, ...], "metrics": [...]}.
# step: {"step": {...}, "facts": {...}}: one step of a recipe and what it measured.
Kind = Literal["compress", "evaluate", "finetune", "step"]
KINDS: tuple[Kind, ...] = ("compress", "evaluate", "finetune", "step")


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The entries of an archive folder in order, each with a "kind" of KINDS; [] without a history.

    Raises: CorruptError if the file is no history.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return []
    if path.stat().st_size > MAX_BYTES:
        raise CorruptError(
            f"{path}: {path.stat().st_size:,} bytes, a history has at most {MAX_BYTES:,}; delete the file"
        )
    try:
        entries = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as exc:
        raise CorruptError(f"{path}: no JSON ({exc}); the weights do not need it: delete the file") from exc
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES or not all(map(_is_entry, entries)):
        raise CorruptError(
            f"{path}: needs a list of at most {MAX_ENTRIES:,} objects with a kind of {', '.join(KINDS)}; "
            "the weights do not need it: delete the file"
        )
    return entries


def write_history(folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write the whole history into a folder that is not yet in its place (an `OutputFolder`)."""
    text = json.dumps(list(entries), indent=1, allow_nan=False)
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def entry(kind: Kind, **facts: Any) -> dict[str, Any]:
    """One entry: its kind, then plain values for JSON."""
    return {"kind": kind, **facts}


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and value.get("kind") in KINDS
