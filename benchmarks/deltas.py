"""Figure 9: real fine-tunes packed against their base, and what a tensor costs that equals the base's.

Use: python benchmarks/deltas.py --models FOLDER     half a minute
FOLDER holds bert_pretrained, bert_ft and bert_ft_10k_25s of the package rxnfp (`pip download rxnfp --no-deps`, in the
wheel under rxnfp/models/transformers); --models may be left out if rxnfp is installed. The files there are old torch
files; each is copied to a safetensors file first (weights_only), as the figure is about its tensors.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from common import Table, arguments, finish, python, tersor, tree, weight_bytes, work_folder

BASE = "bert_pretrained"
BOUNDS = {"bert_ft": 0.94, "bert_ft_10k_25s": 0.865}
EQUAL_BYTES = 64
CONVERT = """
import sys, torch
from safetensors.torch import save_file
tensors = torch.load(sys.argv[1] + "/pytorch_model.bin", weights_only=True, map_location="cpu")
save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, sys.argv[2])
"""


def models_folder(chosen: str | None) -> Path:
    """The folder of the three models."""
    if chosen is not None:
        return Path(chosen)
    found = importlib.util.find_spec("rxnfp")
    if found is None or not found.submodule_search_locations:
        sys.exit("needs --models FOLDER, or the package rxnfp")
    return Path(found.submodule_search_locations[0]) / "models" / "transformers"


def converted(source: Path, target: Path) -> Path:
    target.mkdir()
    done = python(CONVERT, source, target / "model.safetensors")
    if done.code:
        sys.exit(done.stderr)
    return target


def pack(model: Path, output: Path, *words: str | Path) -> dict[str, Any]:
    described: dict[str, Any] = tersor(
        "pack", model, "-o", output, "--level", "max", "--json", "-q", *words
    ).json()
    return described


def main() -> None:
    options = arguments(__doc__, models="folder of the three models")
    source = models_folder(options.models)
    table = Table("Deltas, level max", "model | alone | against the base | share | bound | ok")
    with work_folder(options.work) as work:
        base = converted(source / BASE, work / BASE)
        for name, bound in BOUNDS.items():
            model = converted(source / name, work / name)
            pack(model, work / f"{name}-alone")
            pack(model, work / f"{name}-delta", "--base", base)
            tersor("unpack", work / f"{name}-delta", "-o", work / f"{name}-restored", "--json", "-q").json()
            restored = tree(model) == tree(work / f"{name}-restored")
            alone, delta = weight_bytes(work / f"{name}-alone"), weight_bytes(work / f"{name}-delta")
            ok = table.check(
                restored and delta / alone <= bound, f"{name}: {delta / alone:.4f}, at most {bound}"
            )
            table.add(name, alone, delta, f"{delta / alone:.4f}", bound, ok)
        described = pack(base, work / "equal", "--base", base)
        n_header = int.from_bytes((work / "equal" / "model.tersor.safetensors").read_bytes()[:8], "little")
        n_tensors = len(described["tensors"])
        each = (weight_bytes(work / "equal") - 8 - n_header) / n_tensors
        ok = table.check(each < EQUAL_BYTES, f"equal tensors: {each:.1f} bytes")
        table.add(
            f"{BASE}, {n_tensors} equal tensors", "", f"{each:.1f} bytes each", "", f"{EQUAL_BYTES} bytes", ok
        )
    finish(table)


if __name__ == "__main__":
    main()
