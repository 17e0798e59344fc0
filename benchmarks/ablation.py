"""What each step of the leading method is worth, on MiniLM with real files: the ablation of shared/DESIGN.md, part 5.

Use: python benchmarks/ablation.py --data FOLDER      about 20 minutes
Each row is a recipe that `tersor compress --recipe` runs at 4, 3 and 2 bits per parameter, calibrated on WikiText
validation; error: mean 1 - cos of 300 sentence embeddings, WikiText test.
"""

from __future__ import annotations

from pathlib import Path

from common import Table, arguments, finish, minilm, work_folder
from quality import compress, held_out, measure

SIZES = ("4bpw", "3bpw", "2bpw")
PROTOTYPE = {
    "gptq": (0.00198, 0.00862, 0.0435),
    "two_sided, scalar": (0.00162, 0.00694, 0.0369),
    "two_sided, trellis": (0.00127, 0.00532, 0.0264),
    "two_sided, trellis, drift": (0.00126, 0.00528, 0.0248),
}
"""Errors of a prototype with ideal code lengths."""
RECIPES = {
    "gptq": "method: gptq\ndrift: off\ntune: off\n",
    "two_sided, scalar": "method: two_sided\noptions: {trellis: false}\ndrift: off\ntune: off\n",
    "two_sided, trellis": "method: two_sided\noptions: {trellis: true}\ndrift: off\ntune: off\n",
    "two_sided, trellis, drift": "method: two_sided\noptions: {trellis: true}\ndrift: on\ntune: off\n",
}
"""Each step added to those before it. gptq: end-to-end input Hessians, column steps, entropy classes, embedding rows
by frequency. The output Hessian brings feedback down the rows."""


def ablation_table(data: Path, work: Path) -> Table:
    heads = " | ".join(f"{size}: bytes, 1 - cos" for size in SIZES)
    table = Table(
        "MiniLM calibrated on WikiText validation", f"step | {heads} | prototype | seconds at {SIZES[1]}"
    )
    text = data / "wikitext2" / "wiki.valid.tokens"
    last: tuple[float, ...] = ()
    for place, (name, words) in enumerate(RECIPES.items()):
        recipe = work / f"{place}.yaml"
        recipe.write_text(words, encoding="utf-8")
        made = [
            compress(
                minilm(), work / f"{place}-{size}", size, "--recipe", recipe, "--calibration", text, "--force"
            )
            for size in SIZES
        ]
        folders = [one.folder for one in made]
        errors = tuple(
            value
            for value, _ in measure("embedding", "embedding_error", held_out(data), minilm(), *folders)[1:]
        )
        cells = [f"{one.n_bytes:,}, {error:.5f}" for one, error in zip(made, errors, strict=True)]
        before = " / ".join(f"{error:g}" for error in PROTOTYPE[name])
        table.add(name, *cells, before, f"{made[1].cost.seconds:.0f}")
        if last:
            table.check(
                errors[1] <= 1.02 * last[1], f"{name}: {errors[1]:.5f} at {SIZES[1]}, before {last[1]:.5f}"
            )
        last = errors
    table.notes.append("seconds: statistics are in the cache after the first file ($TERSOR_CACHE)")
    return table


def main() -> None:
    options = arguments(__doc__, needs_data=True)
    with work_folder(options.work) as work:
        table = ablation_table(options.data, work)
    finish(table)


if __name__ == "__main__":
    main()
