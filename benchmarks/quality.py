"""Rows 3 and 4: size met and error of `compress`, on MiniLM (embeddings) and on the stories260k Llama (perplexity).

Use: python benchmarks/quality.py --data FOLDER      about 12 minutes
Each archive is made and measured by the commands `tersor compress ... --json` and `tersor evaluate ... --json`.
Information beside the bounds: 4, 3 and 2 bits per parameter with WikiText validation as calibration text, beside the
order-0 step model of docs/design.md that this pipeline implements.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from common import MIB, Finished, Table, arguments, finish, minilm, run, tersor, weight_bytes, work_folder

BOUNDS_MINILM = {"0.15x": 0.0035, "0.10x": 0.016, "0.075x": 0.055}
BOUNDS_STORIES = {"0.2x": 1.02, "0.15x": 1.06}
LOWEST_SHARE = 0.99
# Measured by a prototype: whole model, the steps up to embedding row steps by token frequency.
PROTOTYPE = {"4bpw": 0.00213, "3bpw": 0.00910, "2bpw": 0.0482}


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


def measure(task: str, metric: str, data: Path, *models: Path) -> list[tuple[float, float]]:
    """(value, standard error) of a metric of every model, the original first."""
    result = tersor(
        "evaluate", *models, "--task", task, "--data", data, "--threads", "1", "--json", "-q"
    ).json()
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


def wikitext_table(data: Path, work: Path) -> Table:
    columns = "bits/param asked | weight bytes | of the target | bits/param | 1 - cos | prototype | seconds | peak MiB"
    table = Table("MiniLM calibrated on WikiText validation (information, no bound)", columns)
    text = data / "wikitext2" / "wiki.valid.tokens"
    for size, prototype in PROTOTYPE.items():
        made = compress(minilm(), work / f"minilm-{size}", size, "--calibration", text)
        _, (error, stderr) = measure("embedding", "embedding_error", held_out(data), minilm(), made.folder)
        table.add(size, *made.cells, f"{error:.5f} ± {stderr:.5f}", prototype, *made.cost_cells)
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
    options = arguments(__doc__, needs_data=True)
    with work_folder(options.work) as work:
        made = (stories_table, embedding_table, wikitext_table)
        tables = [table(options.data, work) for table in made]
    finish(*tables)


if __name__ == "__main__":
    main()
