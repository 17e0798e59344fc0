"""Pruned MiniLM on disk: file bytes and error of each method, alone and before quantization.

Use: python benchmarks/pruning.py --data FOLDER [--seeds 3] [--quick yes]    40 minutes a seed on a busy machine
Each archive is made and measured by the commands `tersor compress MODEL --recipe R.yaml ... --json` and `tersor
evaluate ... --json`; 10.6M of the 22.7M parameters, those of linear layers, are pruned. Calibration text: WikiText
validation; error: mean 1 - cos of 300 sentence embeddings of WikiText test; each once for every seed. --quick: without
quantization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from common import Table, arguments, finish, minilm, tersor, weight_bytes, work_folder

DENSE_BF16 = 2  # bytes of a parameter in a plain BF16 checkpoint
# Name, prune step, at most this share of the plain BF16 bytes (issue 7, row 1), at most this error (docs/design.md).
FLOATS: tuple[tuple[str, str, float | None, float | None], ...] = (
    ("not pruned", "", None, None),
    ("magnitude, 50% of each row", "{method: magnitude, sparsity: 0.5}", None, 0.288),
    ("wanda, 50% of each row", "{method: wanda, sparsity: 0.5}", 0.60, 0.150),
    ("sparsegpt, 50% of each row", "{method: sparsegpt, sparsity: 0.5}", 0.60, 0.084),
    (
        "sparsegpt, 50% of each row, one-sided",
        "{method: sparsegpt, sparsity: 0.5, options: {two_sided: false}}",
        0.60,
        None,
    ),
    ("sparsegpt, 50% of each layer", "{method: sparsegpt, sparsity: 0.5, scope: layer}", 0.60, 0.084),
    ("wanda, 2:4", '{method: wanda, pattern: "2:4"}', 0.62, None),
    ("sparsegpt, 2:4", '{method: sparsegpt, pattern: "2:4"}', 0.62, None),
)
QUANTIZED = (
    ("two_sided alone", ""),
    ("sparsegpt 25% of each layer, then two_sided", "{method: sparsegpt, sparsity: 0.25, scope: layer}"),
    ("sparsegpt 50% of each layer, then two_sided", "{method: sparsegpt, sparsity: 0.5, scope: layer}"),
)
SIZES = ("3bpw", "2bpw")


@dataclass(frozen=True, slots=True)
class Setting:
    """What all archives of a run share."""

    data: Path
    work: Path
    n_seeds: int


def recipe(prune: str, last: str, size: str) -> str:
    """A recipe that prunes (or not), then does `last`."""
    steps = [f"  - prune: {prune}\n"] if prune else []
    return (f"size: {size}\n" if size else "") + "steps:\n" + "".join([*steps, f"  - {last}\n"])


def made(setting: Setting, name: str, text: str) -> tuple[list[int], list[float], float]:
    """Bytes and error of the archive of a recipe for every seed, and the seconds that the last took."""
    n_bytes, errors, seconds = [], [], 0.0
    path = setting.work / f"{name}.yaml"
    path.write_text(text)
    for seed in range(setting.n_seeds):
        folder = setting.work / f"{name}-{seed}"
        text_file = setting.data / "wikitext2" / "wiki.valid.tokens"
        done = tersor(
            *("compress", minilm(), "-o", folder, "--recipe", path, "--calibration", text_file),
            *("--seed", str(seed), "--json", "-q", "--force"),
        )
        done.json()
        seconds = done.seconds
        n_bytes.append(weight_bytes(folder))
        errors.append(error(setting, folder, seed))
    return n_bytes, errors, seconds


def error(setting: Setting, folder: Path, seed: int) -> float:
    data = setting.data / "wikitext2" / "wiki.test.raw"
    words = ("--task", "embedding", "--data", data, "--threads", "1", "--seed", str(seed), "--json", "-q")
    models = tersor("evaluate", minilm(), folder, *words).json()["models"]
    return float({metric["name"]: metric for metric in models[-1]["metrics"]}["embedding_error"]["value"])


def shown(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values) / len(values) ** 0.5:.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f}{spread}"


def floats_table(setting: Setting) -> Table:
    columns = "pruned | weight bytes | of plain BF16 | at most | 1 - cos | at most | seconds | ok"
    table = Table(f"MiniLM pruned, stored as BF16; {setting.n_seeds} seeds", columns)
    for number, (name, prune, most_bytes, most_error) in enumerate(FLOATS):
        n_bytes, errors, seconds = made(
            setting, f"floats-{number}", recipe(prune, "cast: {dtype: bfloat16}", "")
        )
        share = max(n_bytes) / (DENSE_BF16 * n_parameters())
        holds = (most_bytes is None or share < most_bytes) and (
            most_error is None or mean(errors) < most_error
        )
        ok = table.check(holds, f"{name}: {share:.4f} of the bytes, error {mean(errors):.4f}")
        table.add(
            name,
            f"{max(n_bytes):,}",
            f"{share:.4f}",
            most_bytes or "",
            shown(errors),
            most_error or "",
            f"{seconds:.0f}",
            ok,
        )
    return table


def quantized_table(setting: Setting) -> Table:
    columns = "steps | size | weight bytes | 1 - cos | seconds"
    table = Table(f"MiniLM pruned and quantized to a size; {setting.n_seeds} seeds", columns)
    for size in SIZES:
        for number, (name, prune) in enumerate(QUANTIZED):
            text = recipe(prune, "quantize: {method: two_sided}", size)
            n_bytes, errors, seconds = made(setting, f"quantized-{size}-{number}", text)
            table.add(name, size, f"{max(n_bytes):,}", shown(errors), f"{seconds:.0f}")
    table.notes.append("Smaller at equal error would show as less error at equal size.")
    return table


def n_parameters() -> int:
    """Parameters of MiniLM: its FP32 bytes without the header."""
    file = minilm() / "model.safetensors"
    with open(file, "rb") as opened:
        n_header_bytes = 8 + int.from_bytes(opened.read(8), "little")
    return (file.stat().st_size - n_header_bytes) // 4


def main() -> None:
    options = arguments(
        __doc__, needs_data=True, seeds="how many seeds (default: 3)", quick="no quantization"
    )
    with work_folder(options.work) as work:
        setting = Setting(options.data, work, int(options.seeds or 3))
        tables = [floats_table(setting)]
        if not options.quick:
            tables.append(quantized_table(setting))
    finish(*tables)


if __name__ == "__main__":
    main()
