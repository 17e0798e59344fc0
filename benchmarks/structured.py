"""Structured pruning: a quarter of MiniLM's heads and neurons removed; one layer in four and heads of decoders.

Use: python benchmarks/structured.py --data FOLDER [--seeds 3] [--gpt2 FOLDER] [--decoder FOLDER]
     about 15 minutes a seed, the 163M-parameter decoder 30 more
--gpt2: the GPT-2 of the package microformer-mgm (its folder mgm/resources/general_model; it has no tokenizer, so its
text is what it writes itself); --decoder (default: $TERSOR_DECODER): what shared/tools/make_decoder.py writes.
MiniLM is calibrated on WikiText validation and measured on 300 sentences of WikiText test. Latency is processor time of
a pass over 8 sequences of 128 tokens, one thread, interleaved, the least of 14.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from common import Table, arguments, finish, minilm, run, work_folder
from quality import compress, held_out, measure

WORKER = Path(__file__).with_name("structured_worker.py")
STEPS: list[list[Any]] = [["heads", {"share": 0.25}], ["neurons", {"share": 0.25}]]
DECODER_STEPS: list[list[Any]] = [["layers", {"share": 0.25}], ["heads", {"share": 0.25}]]
# What happens after the cut. Tuning overfits a text that it passes four times (49k tokens): as much as there is.
VARIANTS: dict[str, dict[str, Any]] = {
    "as cut": {"refit": False},
    "re-fitted": {},
    "re-fitted and recovered": {"recover": 300, "n_recovery_tokens": 300_000},
}
N_TOKENS = 24576
LEARNING_RATE = 2e-4
MAX_LATENCY = 0.8
BITS = "4bpw"


def worker(task: str, **options: Any) -> Any:
    """The JSON of one task of the worker."""
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    return run(sys.executable, WORKER, task, json.dumps(plain)).json()


def cell(values: list[float]) -> str:
    """Mean and standard error over the seeds."""
    spread = f" ± {stdev(values) / len(values) ** 0.5:.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f}{spread}"


def error_of(data: Path, folder: Path, seed: int) -> float:
    _, (error, _) = measure("embedding", "embedding_error", held_out(data), minilm(), folder, seed=seed)
    return error


def smaller(data: Path, work: Path, variant: str, seed: int) -> tuple[Path, dict[str, Any]]:
    """The folder of a smaller MiniLM, and what the worker says about it."""
    folder = work / f"{variant.replace(' ', '-')}-{seed}"
    found = worker(
        "reduce",
        model=minilm(),
        out=folder,
        steps=STEPS,
        text=str(data / "wikitext2" / "wiki.valid.tokens"),
        n_tokens=N_TOKENS,
        learning_rate=LEARNING_RATE,
        seed=seed,
        **VARIANTS[variant],
    )
    return folder, found


def tables_of_minilm(data: Path, work: Path, n_seeds: int) -> list[Table]:
    whole = Table(
        f"MiniLM without a quarter of heads and neurons, float32; mean of {n_seeds} seeds",
        "variant | parameters | 1 - cos | reloads equal | latency, of the original's | ok",
    )
    coded = Table(
        f"The same at {BITS} of its own parameters, and the whole model; mean of {n_seeds} seeds",
        "model | weight bytes | 1 - cos | latency, of the original's | ok",
    )
    errors: dict[str, list[float]] = {}
    coded_errors: dict[str, list[float]] = {"whole": []}
    ratio, n_bytes = 1.0, {}
    calibration = ("--calibration", data / "wikitext2" / "wiki.valid.tokens")
    facts: dict[str, Any] = {}
    for seed in range(n_seeds):
        made = compress(minilm(), work / f"whole-{seed}", BITS, "--seed", str(seed), *calibration)
        coded_errors["whole"].append(error_of(data, made.folder, seed))
        n_bytes["whole"] = made.n_bytes
        for variant in VARIANTS:
            folder, facts[variant] = smaller(data, work, variant, seed)
            errors.setdefault(variant, []).append(error_of(data, folder, seed))
            if seed == 0:
                ratio = worker("latency", models=[str(minilm()), str(folder)])["ratios"][1]
            made = compress(folder, work / f"{folder.name}-coded", BITS, "--seed", str(seed), *calibration)
            coded_errors.setdefault(variant, []).append(error_of(data, made.folder, seed))
            n_bytes[variant] = made.n_bytes
    for variant, found in errors.items():
        fact = facts[variant]
        better = variant == "as cut" or mean(found) < mean(errors["as cut"])
        holds = better and fact["reloads_equal"] and ratio <= MAX_LATENCY
        what = f"{variant}: error {mean(found):.4f}, latency {ratio:.3f}, reloads {fact['reloads_equal']}"
        parameters = f"{fact['n_params'][1]:,}"
        whole.add(
            variant, parameters, cell(found), fact["reloads_equal"], f"{ratio:.3f}", whole.check(holds, what)
        )
    for variant, found in coded_errors.items():
        halved = "recovered" not in variant or mean(found) <= mean(coded_errors["as cut"]) / 2
        ok = coded.check(halved, f"{variant}: error {mean(found):.4f} is not half of that as cut")
        latency = "1" if variant == "whole" else f"{ratio:.3f}"
        coded.add(variant, f"{n_bytes[variant]:,}", cell(found), latency, ok)
    return [whole, coded]


def table_of_decoder(name: str, model: Path, work: Path, options: dict[str, Any], text: Path | None) -> Table:
    """One layer in four dropped, a quarter of the heads removed: perplexity before and after recovery."""
    table = Table(
        f"{name}: one layer in four and a quarter of the heads removed",
        "variant | parameters | config.json | perplexity | generates | reloads equal | ok",
    )
    folders, facts = [model], []
    for variant, more in VARIANTS.items():
        folder = work / f"{name}-{variant.replace(' ', '-')}"
        given = {**options, "recover": options["recover"] if "recover" in more else 0}
        given |= {"refit": more["refit"]} if "refit" in more else {}
        facts.append(worker("reduce", model=model, out=folder, steps=DECODER_STEPS, **given))
        folders.append(folder)
    measured = {name: options[name] for name in ("tokenized",) if name in options}
    found = worker("perplexity", models=[str(f) for f in folders], text=text and str(text), **measured)
    values = found["perplexity"]
    table.add("whole", f"{facts[0]['n_params'][0]:,}", "", f"{values[0]:.3f}", "", "", "yes")
    for variant, fact, value in zip(VARIANTS, facts, values[1:], strict=True):
        says = ", ".join(f"{key}={number}" for key, number in fact["config"].items())
        says += ", heads through the hook" if fact["through_the_hook"] else ""
        holds = fact["reloads_equal"] and fact["n_generated"] == 16
        ok = table.check(holds, f"{name}, {variant}: reloads {fact['reloads_equal']}")
        table.add(
            variant,
            f"{fact['n_params'][1]:,}",
            says,
            f"{value:.3f}",
            f"{fact['n_generated']} tokens",
            fact["reloads_equal"],
            ok,
        )
    table.check(values[3] < values[2] < values[1], f"{name}: perplexities {values}")
    table.notes.append(f"{found['n_tokens']:,} predicted tokens.")
    return table


def main() -> None:
    chosen = arguments(
        __doc__,
        needs_data=True,
        seeds="number of seeds (default 3)",
        gpt2="folder of a GPT-2 without tokenizer",
        decoder="folder of a decoder",
    )
    decoder = chosen.decoder or os.environ.get("TERSOR_DECODER")
    with work_folder(chosen.work) as work:
        tables = tables_of_minilm(chosen.data, work, int(chosen.seeds or 3))
        if chosen.gpt2:
            options = {"tokenized": False, "n_tokens": 16384, "recover": 150, "learning_rate": 3e-4}
            tables.append(
                table_of_decoder("GPT-2 of microformer-mgm", Path(chosen.gpt2), work, options, None)
            )
        if decoder:
            options = {"n_tokens": 8192, "recover": 60, "learning_rate": 1e-4}
            text = held_out(chosen.data)
            tables.append(table_of_decoder("163M decoder", Path(decoder), work, options, text))
    finish(*tables)


if __name__ == "__main__":
    main()
