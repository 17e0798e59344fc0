"""Fine-tuning and its budget on CoNLL-2003: entity F1 of eng.testb against the bytes of the weight files.

Use: python benchmarks/ner.py --data FOLDER [--rows reference,8x,12x,16x,24x,32x,48x] [--seeds 1] [--work FOLDER]
Rows: reference (MiniLM, all weights), Nx (compression to 1/N alone, and with frozen codes tuned), codes-Nx (codes
trained, then made anew with feedback), int8, ternary, sign (the textbook cases, codes trained). Each is one call of
`tersor finetune`; the reference is kept in --work and used again. One seed takes about 15 minutes for the reference
and 4 to 8 minutes for each other row on 2 cores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from common import MIB, Table, arguments, finish, minilm, tersor, weight_bytes, work_folder

ROWS = ("reference", "8x", "12x", "16x", "24x", "32x", "48x")
# Largest loss of F1, in points, that each row may have: compression alone, tuned.
BOUNDS = {
    "8x": (0.1, None),
    "12x": (0.2, None),
    "16x": (0.3, None),
    "24x": (None, 0.6),
    "32x": (None, 1.5),
    "48x": (None, 4.5),
    "int8": (None, 0.2),
    "ternary": (None, 2.0),
}
LEAST_F1, MOST_MINUTES = 86.0, 20.0
_EMBEDDINGS = {"match": "*embeddings*", "method": "fixed", "options": {"bits": 8, "granularity": "row"}}
TEXTBOOK: dict[str, dict[str, Any]] = {
    "int8": {
        "method": "fixed",
        "options": {"bits": 8, "granularity": "tensor", "delta": "2^-8", "error_feedback": False},
    },
    "ternary": {"method": "ternary", "targets": [_EMBEDDINGS]},
    "sign": {"method": "sign", "targets": [_EMBEDDINGS]},
}


@dataclass(frozen=True, slots=True)
class Row:
    """F1 of eng.testb after compression alone and in the end, in points; of the whole run bytes, seconds and memory."""

    compressed: float | None
    final: float
    n_bytes: int
    seconds: float
    peak_rss_bytes: int


def main() -> None:
    args = arguments(
        __doc__,
        needs_data=True,
        rows="comma-separated rows (default: the reference and six sizes)",
        seeds="number of seeds (default 1)",
    )
    rows = args.rows.split(",") if args.rows else list(ROWS)
    seeds = range(int(args.seeds or 1))
    table = Table(
        "CoNLL-2003, eng.testb",
        "row | bytes | times smaller | F1 compressed | F1 final | F1 lost | bound | holds | seconds | peak MB",
    )
    with work_folder(args.work) as work:
        references = {seed: reference(args.data, work, seed) for seed in seeds}
        for name in rows:
            found = {
                seed: references[seed] if name == "reference" else run_row(name, args.data, work, seed)
                for seed in seeds
            }
            _report(table, name, list(found.values()), list(references.values()))
    finish(table)


def reference(data: Path, work: Path, seed: int) -> Row:
    """Fine-tune MiniLM; a result that is in `work` already is taken."""
    folder, record = work / f"reference-{seed}", work / f"reference-{seed}.json"
    if not record.exists():
        done = tersor("finetune", minilm(), "-o", folder, *_task(data, seed), "--json", "-q")
        record.write_text(json.dumps({**done.json(), "wall": done.seconds, "peak": done.peak_rss_bytes}))
    result = json.loads(record.read_text())
    return Row(None, _f1(result["metrics"]), weight_bytes(folder), float(result["wall"]), int(result["peak"]))


def run_row(name: str, data: Path, work: Path, seed: int) -> Row:
    """Compress the reference and train what the row says."""
    output = work / f"{name}-{seed}"
    options: list[str | Path] = ["--epochs", "0", "--force"]
    if name in TEXTBOOK:
        recipe = work / f"{name}.yaml"
        recipe.write_text(json.dumps(TEXTBOOK[name]))
        options += ["--recipe", recipe, "--train", "codes"]
    else:
        kind, _, factor = name.rpartition("-")
        options += ["--size", f"{1 / float(factor.removesuffix('x')):.6f}x"]
        options += ["--train", "codes"] if kind == "codes" else []
    source = work / f"reference-{seed}"
    done = tersor("finetune", source, "-o", output, *_task(data, seed), *options, "--json", "-q")
    result = done.json()
    stages = {stage["stage"]: stage for stage in result["stages"]}
    return Row(
        _f1(stages["compress"]["metrics"]),
        _f1(stages["tune"]["metrics"]),
        weight_bytes(output),
        done.seconds,
        done.peak_rss_bytes,
    )


def _task(data: Path, seed: int) -> list[str | Path]:
    return ["--task", "ner", "--data", data / "conll2003", "--seed", str(seed)]


def _f1(metrics: list[dict[str, Any]]) -> float:
    return 100 * next(row["value"] for row in metrics if (row["split"], row["name"]) == ("test", "f1"))


def _report(table: Table, name: str, found: list[Row], references: list[Row]) -> None:
    originals = [row.final for row in references]
    size = mean(row.n_bytes for row in found)
    loss = mean(before - row.final for before, row in zip(originals, found, strict=True))
    cells = [
        name,
        f"{size:,.0f}",
        f"{mean(row.n_bytes for row in references) / size:.2f}",
        _with_spread([row.compressed for row in found if row.compressed is not None]),
        _with_spread([row.final for row in found]),
        f"{loss:.2f}",
        _bound(name),
        table.check(_is_good(name, found, originals), f"{name}: {_bound(name)}"),
        f"{mean(row.seconds for row in found):.0f}",
        f"{max(row.peak_rss_bytes for row in found) / MIB:.0f}",
    ]
    table.add(*cells)


def _with_spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _bound(name: str) -> str:
    if name == "reference":
        return f"F1 >= {LEAST_F1}, {MOST_MINUTES:.0f} min"
    alone, tuned = BOUNDS.get(name, (None, None))
    parts = [f"{value} {what}" for value, what in ((alone, "alone"), (tuned, "final")) if value is not None]
    return ", ".join(parts) or "-"


def _is_good(name: str, found: list[Row], originals: list[float]) -> bool:
    if name == "reference":
        is_quick = mean(row.seconds for row in found) <= 60 * MOST_MINUTES
        return is_quick and mean(row.final for row in found) >= LEAST_F1
    alone, tuned = BOUNDS.get(name, (None, None))
    compressed = [
        before - row.compressed
        for before, row in zip(originals, found, strict=True)
        if row.compressed is not None
    ]
    final = [before - row.final for before, row in zip(originals, found, strict=True)]
    return (alone is None or mean(compressed) <= alone) and (tuned is None or mean(final) <= tuned)


if __name__ == "__main__":
    main()
