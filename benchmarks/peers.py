"""tersor beside the quantizers of other projects at equal file bytes, by `tersor bench quality`.

Use: TERSOR_PEER_PYTHON=A/bin/python:B/bin/python python benchmarks/peers.py --data FOLDER [--model FOLDER]
MiniLM (about 30 minutes), stories260k, and with --model the 163M-parameter decoder (about 3 hours), for whose peers the
column scales are moved into the norm gains (`decoder.balanced`), which helps formats with shared scales. Bounds: of
the best peer at 4 and 3 bits on MiniLM; on decoders of the best peer near 4.6 and 3.8 bits, and lower at every size.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from common import Table, arguments, finish, minilm, tersor, work_folder
from decoder import balanced, chosen_model, test_text
from quality import held_out

SHARE_MINILM = 0.3
SHARE_DECODER = 0.35
MINILM_BITS = (4.0, 3.0)
DECODER_BITS = (4.6, 3.8)
NEAR = 0.6
"""Bits per parameter: a peer's setting this far from a bounded size counts as being at it."""
PEERS = ("ggml", "hqq", "nncodec", "llmcompressor", "autoround")


def quality(model: Path, task: str, *options: str | Path) -> dict[str, Any]:
    """The JSON of `tersor bench quality` for all peers."""
    peers = [word for name in PEERS for word in ("--peer", name)]
    words = ("--task", task, "--size", "4bpw", "--size", "3bpw", "--json", "-q")
    result: dict[str, Any] = tersor("bench", "quality", model, *words, *peers, *options).json()
    return result


def pairs(result: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each peer's row with tersor's at its bytes, from large to small."""
    rows = {f"{row['method']} {row['setting']}": row for row in result["rows"]}
    found = [(rows[row["equal_to"]], row) for row in result["rows"] if row["equal_to"] is not None]
    return sorted(found, key=lambda pair: -pair[0]["n_bytes"])


def best_near(result: dict[str, Any], bits: float) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The peer of least error that takes about so many bits, with tersor's row at its bytes."""
    near = [pair for pair in pairs(result) if abs(pair[0]["bits_per_weight"] - bits) <= NEAR]
    return min(near, key=lambda pair: pair[0]["value"], default=None)


def peers_table(title: str, result: dict[str, Any], share: float, bounded: tuple[float, ...]) -> Table:
    """All pairs; a bound on the ratio to the best peer near each size, and below 1 everywhere."""
    columns = f"peer | setting | bytes | bits/param | {result['metric']} | "
    columns += "tersor's bytes | tersor | ratio | at most | ok"
    table = Table(f"{title}: peers and tersor at their bytes", columns)
    best = [pair[0] for bits in bounded if (pair := best_near(result, bits)) is not None]
    for peer, own in pairs(result):
        ratio = own["value"] / peer["value"]
        bound = share if peer in best else 1.0
        label = f"{peer['method']} {peer['setting']}"
        ok = table.check(ratio <= bound, f"{title}, {label}: ratio {ratio:.3f} (at most {bound})")
        error = "" if own["stderr"] is None else f" ± {own['stderr']:.5f}"
        table.add(
            peer["method"],
            peer["setting"],
            f"{peer['n_bytes']:,}",
            f"{peer['bits_per_weight']:.3f}",
            f"{peer['value']:.5f}",
            f"{own['n_bytes']:,}",
            f"{own['value']:.5f}{error}",
            f"{ratio:.3f}",
            bound,
            ok,
        )
    for bits in bounded:
        if best_near(result, bits) is None:
            table.check(False, f"{title}: no peer within {NEAR} of {bits} bits per parameter was measured")
    table.notes = [f"not installed: {name}" for name in result["not_installed"]]
    table.notes += [f"no figure: {one['method']}: {one['message']}" for one in result["failed"]]
    return table


def main() -> None:
    options = arguments(
        __doc__,
        needs_data=True,
        model="folder of the 163M-parameter decoder (default: $TERSOR_DECODER, else left out)",
        plots="folder for the SVG pictures (default: none)",
    )
    if not os.environ.get("TERSOR_PEER_PYTHON"):
        print("TERSOR_PEER_PYTHON names no environment: most peers will be missing", file=sys.stderr)
    data, model = options.data, chosen_model(options.model)
    text = ("--calibration", data / "wikitext2" / "wiki.valid.tokens")

    def plot(name: str) -> tuple[str | Path, ...]:
        return () if options.plots is None else ("--plot", Path(options.plots) / f"{name}.svg")

    tables = []
    with work_folder(options.work) as work:
        held = ("--data", held_out(data), "--seeds", "3")
        result = quality(minilm(), "embedding", *text, *held, *plot("minilm"))
        tables.append(peers_table("MiniLM", result, SHARE_MINILM, MINILM_BITS))
        stories = data / "stories260k-llama-fp32"
        told = ("--data", data / "tinystories" / "ts_valid_30k.txt")
        result = quality(stories, "kl", *told, *plot("stories260k"))
        tables.append(peers_table("stories260k", result, SHARE_DECODER, DECODER_BITS))
        if model is not None:
            equivalent = balanced(model, work / "balanced")
            test = ("--data", test_text(model, data, work), "--peer-model", equivalent)
            result = quality(model, "kl", *text, *test, *plot("decoder"))
            tables.append(peers_table(model.name, result, SHARE_DECODER, DECODER_BITS))
    finish(*tables)


if __name__ == "__main__":
    main()
