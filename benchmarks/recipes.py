"""Every recipe that comes with tersor, on MiniLM and on a small Llama: bytes, what the output loses, time.

Use: python benchmarks/recipes.py --data FOLDER [--only NAME,NAME] [--models minilm,stories260k]
Calibrated on WikiText validation and on TinyStories; error: mean 1 - cos of sentence embeddings on WikiText test, and
KL divergence to the original on TinyStories validation. Each run is the command line's, file written, verified and
loaded again; a recipe that fails ends the benchmark. About 20 minutes on two cores that do nothing else.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from common import Table, arguments, finish, minilm, tersor, weight_bytes, work_folder
from tersor.recipe import shipped_recipes


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, the text that it is calibrated on, and how it is measured."""

    name: str
    folder: Path
    calibration: Path
    task: str
    held_out: Path


def subjects(data: Path) -> list[Subject]:
    """The two models."""
    wiki, stories = data / "wikitext2", data / "tinystories"
    return [
        Subject("minilm", minilm(), wiki / "wiki.valid.tokens", "embedding", wiki / "wiki.test.tokens"),
        Subject(
            "stories260k",
            data / "stories260k-llama-fp32",
            stories / "tiny_stories_944k.txt",
            "kl",
            stories / "ts_valid_30k.txt",
        ),
    ]


def measure(subject: Subject, names: list[str], work: Path) -> Table:
    """Run the recipes on one model."""
    columns = f"recipe | bytes | ratio | bits/param | {subject.task} | ± | s"
    table = Table(f"Shipped recipes on {subject.name}", columns)
    original = weight_bytes(subject.folder)
    for name in names:
        folder = work / f"{subject.name}-{name}"
        words = (
            "compress",
            subject.folder,
            "-o",
            folder,
            "--recipe",
            name,
            "--calibration",
            subject.calibration,
        )
        made = tersor(*words, "--json", "--force", "-q")
        result = made.json()
        tersor("verify", folder, "--json").json()
        words = ("evaluate", subject.folder, folder, "--task", subject.task, "--data", subject.held_out)
        found = tersor(*words, "--json", "-q").json()["models"][1]
        metric = next(m for m in found["metrics"] if "error" in m["name"] or "kl" in m["name"])
        n_bytes = weight_bytes(folder)
        bits = result["output"]["bits_per_weight"]
        table.add(
            name,
            f"{n_bytes:,}",
            f"{n_bytes / original:.4f}",
            f"{bits:.2f}",
            f"{metric['value']:.3g}",
            f"{metric['stderr']:.1g}",
            f"{made.seconds:.0f}",
        )
        table.check(n_bytes == result["output"]["n_bytes"], f"{name} on {subject.name}: bytes as reported")
    return table


def main() -> None:
    options = arguments(
        __doc__, needs_data=True, only="names of recipes", models="minilm, stories260k or both"
    )
    names = options.only.split(",") if options.only else list(shipped_recipes())
    wanted = options.models.split(",") if options.models else ["minilm", "stories260k"]
    unknown = [name for name in names if name not in shipped_recipes()]
    if unknown:
        sys.exit(f"no recipe of that name comes with tersor: {', '.join(unknown)}")
    with work_folder(options.work) as work:
        finish(*(measure(s, names, work) for s in subjects(options.data) if s.name in wanted))


if __name__ == "__main__":
    main()
