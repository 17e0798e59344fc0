"""Size met and error of `compress`, on MiniLM (embeddings) and on the stories260k Llama (perplexity).

Use: python benchmarks/quality.py --data FOLDER [--seeds 3]      about 35 minutes with 3 seeds
Each archive is made and measured by the commands `tersor compress ... --json` and `tersor evaluate ... --json`.
Sizes in x: default calibration, seed 0. Bits per parameter: WikiText validation as calibration text, and the built-in
text, each once for every seed (of calibration and of the held-out sentences).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from common import MIB, Finished, Table, arguments, finish, minilm, run, tersor, weight_bytes, work_folder

BOUNDS_MINILM = {"0.15x": 0.0035, "0.10x": 0.016, "0.075x": 0.055}
BOUNDS_STORIES = {"0.2x": 1.02, "0.15x": 1.06}
LOWEST_SHARE = 0.99
LOWEST_BUDGET_SHARE = 0.995
BOUNDS_WIKITEXT = {"4bpw": 0.0015, "3bpw": 0.0062, "2bpw": 0.029, "1.5bpw": 0.070}
BOUNDS_BUILT_IN = {"3bpw": 0.0100}
# Measured by a prototype with ideal code lengths: whole model, other sentences.
PROTOTYPE = {"4bpw": 0.00126, "3bpw": 0.0053, "2bpw": 0.025, "1.5bpw": 0.060}


@dataclass(frozen=True, slots=True)
class Compressed:
    """One archive. share: its weight bytes over the size asked for."""

    folder: Path
    n_bytes: int
    share: float
    bits_per_weight: float
    cost: Finished

    @property
    def cells(self) -> list[str]:
        return [f"{self.n_bytes:,}", f"{self.share:.4f}", f"{self.bits_per_weight:.3f}"]

    @property
    def cost_cells(self) -> list[str]:
        return [f"{self.cost.seconds:.0f}", f"{self.cost.peak_rss_bytes / MIB:.0f}"]


def compress(model: Path, folder: Path, size: str, *options: str | Path) -> Compressed:
    """Make one archive at a size: "0.15x" or "4bpw"."""
    done = tersor("compress", model, "-o", folder, "--size", size, *options, "--json", "-q")
    result = done.json()
    n_bytes = weight_bytes(folder)
    target = _target(size, result["input"]["n_bytes"], result["input"]["n_params"])
    return Compressed(folder, n_bytes, n_bytes / target, 8 * n_bytes / result["input"]["n_params"], done)


def _target(size: str, n_input_bytes: int, n_params: int) -> int:
    if size.endswith("bpw"):
        return int(float(size.removesuffix("bpw")) * n_params / 8)
    return int(float(size.removesuffix("x")) * n_input_bytes)


def measure(task: str, metric: str, data: Path, *models: Path, seed: int = 0) -> list[tuple[float, float]]:
    """(value, standard error) of a metric of every model, the original first."""
    options = ("--task", task, "--data", data, "--threads", "1", "--seed", str(seed), "--json", "-q")
    result = tersor("evaluate", *models, *options).json()
    found = [{m["name"]: m for m in model["metrics"]}[metric] for model in result["models"]]
    return [(m["value"], m["stderr"]) for m in found]


def embedding_table(data: Path, work: Path) -> Table:
    columns = "size | weight bytes | of the target | bits/param | 1 - cos | at most | seconds | peak MiB | ok"
    table = Table("MiniLM, default calibration; 300 held-out WikiText sentences", columns)
    for size, bound in BOUNDS_MINILM.items():
        made = compress(minilm(), work / f"minilm-{size}", size)
        _, (error, stderr) = measure("embedding", "embedding_error", held_out(data), minilm(), made.folder)
        holds = LOWEST_SHARE <= made.share <= 1 and error <= bound
        ok = table.check(holds, f"MiniLM {size}: share {made.share:.4f}, error {error:.5f} (at most {bound})")
        table.add(size, *made.cells, f"{error:.5f} ± {stderr:.5f}", bound, *made.cost_cells, ok)
    return table


def wikitext_table(data: Path, work: Path, n_seeds: int) -> Table:
    title = f"MiniLM calibrated on WikiText validation; mean of {n_seeds} seeds ± its standard error"
    text = data / "wikitext2" / "wiki.valid.tokens"
    return seeds_table(title, BOUNDS_WIKITEXT, ("--calibration", text), data, work, n_seeds)


def built_in_table(data: Path, work: Path, n_seeds: int) -> Table:
    title = f"MiniLM, default calibration; mean of {n_seeds} seeds ± its standard error"
    return seeds_table(title, BOUNDS_BUILT_IN, (), data, work, n_seeds)


def seeds_table(
    title: str,
    bounds: dict[str, float],
    options: tuple[str | Path, ...],
    data: Path,
    work: Path,
    n_seeds: int,
) -> Table:
    """Each size compressed and measured once for each seed; the first cost includes statistics, later sizes' do not."""
    columns = "size | weight bytes | of the target | bits/param | 1 - cos | at most | prototype | "
    columns += "seconds | peak MiB | ok"
    table = Table(title, columns)
    for size, bound in bounds.items():
        errors, shares = [], []
        for seed in range(n_seeds):
            folder = work / f"minilm-{size}-{len(options)}-{seed}"
            made = compress(minilm(), folder, size, "--seed", str(seed), *options)
            _, (error, _) = measure(
                "embedding", "embedding_error", held_out(data), minilm(), folder, seed=seed
            )
            errors.append(error)
            shares.append(made.share)
        spread = f" ± {stdev(errors) / n_seeds**0.5:.5f}" if n_seeds > 1 else ""
        holds = min(shares) >= LOWEST_BUDGET_SHARE and max(shares) <= 1 and mean(errors) <= bound
        what = f"{title}, {size}: shares {shares}, error {mean(errors):.5f} (at most {bound})"
        value = f"{mean(errors):.5f}{spread}"
        table.add(
            size, *made.cells, value, bound, PROTOTYPE[size], *made.cost_cells, table.check(holds, what)
        )
    return table


def stories_table(data: Path, work: Path) -> Table:
    columns = (
        "size | weight bytes | of the target | bits/param | ts_valid_30k.txt: original, compressed | ratio | "
    )
    columns += "separate stories: original, compressed | ratio | at most | seconds | peak MiB | ok"
    table = Table("stories260k Llama, default calibration; perplexity", columns)
    model = data / "stories260k-llama-fp32"
    text, stories = data / "tinystories" / "ts_valid_30k.txt", data / "tinystories" / "cs336_sample.txt"
    for size, bound in BOUNDS_STORIES.items():
        made = compress(model, work / f"stories-{size}", size)
        (before, _), (after, _) = measure("perplexity", "perplexity", text, model, made.folder)
        told = story_perplexity(stories, model, made.folder)
        ratios = after / before, told[1] / told[0]
        holds = LOWEST_SHARE <= made.share <= 1 and max(ratios) <= bound
        shown = [f"{ratio:.4f}" for ratio in ratios]
        ok = table.check(
            holds, f"stories260k {size}: share {made.share:.4f}, ratios {shown} (at most {bound})"
        )
        values = f"{before:.4f}, {after:.4f}", shown[0], f"{told[0]:.4f}, {told[1]:.4f}", shown[1]
        table.add(size, *made.cells, *values, bound, *made.cost_cells, ok)
    return table


def story_perplexity(text: Path, *models: Path) -> list[float]:
    result = run(sys.executable, Path(__file__).with_name("story_perplexity.py"), text, *models).json()
    return [result[str(model)] for model in models]


def held_out(data: Path) -> Path:
    return data / "wikitext2" / "wiki.test.raw"


def main() -> None:
    options = arguments(__doc__, needs_data=True, seeds="how many seeds (default: 3)")
    n_seeds = int(options.seeds or 3)
    with work_folder(options.work) as work:
        tables = [
            stories_table(options.data, work),
            embedding_table(options.data, work),
            wikitext_table(options.data, work, n_seeds),
            built_in_table(options.data, work, n_seeds),
        ]
    finish(*tables)


if __name__ == "__main__":
    main()
