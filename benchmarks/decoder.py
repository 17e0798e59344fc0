"""`compress` on a decoder: KL divergence, perplexity and top-1 agreement on WikiText-2 test, beside the original.

Use: python benchmarks/decoder.py --data FOLDER --model FOLDER [--work FOLDER]      163M parameters: about 2 hours
--model (default: $TERSOR_DECODER): the bounds are those of the 163M-parameter decoder that shared/tools/make_decoder.py
writes; other models are measured without. Calibrated on text sampled from the model itself, as by default; 8 windows
of 512 tokens.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from common import Table, arguments, finish, python, tersor, work_folder
from quality import compress, held_out

SIZES = ("4.5bpw", "4bpw", "3bpw", "2bpw")
N_WINDOWS = 8
WINDOW = 512
N_BOUNDED_PARAMS = 162_826_560
KL_BOUNDS = {"4.5bpw": 0.018, "4bpw": 0.037, "3bpw": 0.14, "2bpw": 0.60}
PERPLEXITY_BOUNDS = {"4.5bpw": 1.025, "4bpw": 1.04, "3bpw": 1.13}

# argv: model folder, text, out, tokens. The longest prefix of whole characters that has at most so many tokens.
CUT = """
import sys
from tersor.evaluate.tokens import encode, load_tokenizer
model, text, out, n_tokens = sys.argv[1:]
tokenizer = load_tokenizer(model)
text = open(text, encoding="utf-8").read()
low, high = 0, min(len(text), 16 * int(n_tokens))
while low < high:
    middle = (low + high + 1) // 2
    low, high = (middle, high) if len(encode(tokenizer, text[:middle])) <= int(n_tokens) else (low, middle - 1)
open(out, "w", encoding="utf-8").write(text[:low])
"""

# argv: model folder, out. See `balanced`.
BALANCE = """
import json, shutil, sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM

model, out = Path(sys.argv[1]), Path(sys.argv[2])
network = AutoModelForCausalLM.from_pretrained(model, dtype="float32", local_files_only=True)

def move(norm, readers):
    # One scale per column: the root of the mean, over the readers, of each column's share of the squares.
    shares = [reader.weight.square().mean(0) / reader.weight.square().mean() for reader in readers]
    scale = torch.stack(shares).mean(0).sqrt().clamp_min(1e-6)
    for reader in readers:
        reader.weight /= scale
    norm.weight *= scale

with torch.no_grad():
    ids = torch.arange(64)[None] % network.config.vocab_size
    before = network(ids).logits
    for layer in network.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        move(layer.input_layernorm, [attention.q_proj, attention.k_proj, attention.v_proj])
        move(layer.post_attention_layernorm, [mlp.gate_proj, mlp.up_proj])
    if not network.config.tie_word_embeddings:
        move(network.model.norm, [network.lm_head])
    difference = float((network(ids).logits - before).abs().max() / before.abs().max())
assert difference < 1e-3, f"the balanced model differs by {difference:.1e} of the largest logit"
network.save_pretrained(out)
for path in model.glob("*token*"):
    shutil.copyfile(path, out / path.name)
print(json.dumps(difference))
"""


def test_text(model: Path, data: Path, work: Path) -> Path:
    """The beginning of WikiText-2's test text that fills 8 windows of 512 tokens."""
    out = work / "test.txt"
    done = python(CUT, model, held_out(data), out, str(N_WINDOWS * WINDOW))
    if done.code:
        sys.exit(done.stderr)
    return out


def balanced(model: Path, out: Path) -> Path:
    """Write an equivalent Llama whose norm gains hold the column scales of the matrices that read them.

    Formats whose blocks share a scale along a row suit it better than gains of 1, which hardly any trained model has.
    """
    done = python(BALANCE, model, out)
    if done.code:
        sys.exit(done.stderr)
    print(f"balanced: largest logit difference {json.loads(done.stdout):.1e} of the largest", file=sys.stderr)
    return out


def figures(task: str, text: Path, models: list[Path]) -> list[dict[str, tuple[float, float]]]:
    """Metric name -> (value, standard error) of every model, the original first."""
    options = ("--task", task, "--data", text, "--threads", "1", "--json", "-q")
    result = tersor("evaluate", *models, *options).json()
    return [
        {one["name"]: (one["value"], one["stderr"]) for one in model["metrics"]} for model in result["models"]
    ]


def decoder_table(model: Path, text: Path, work: Path) -> Table:
    columns = (
        "size | weight bytes | of the target | bits/param | KL | at most | perplexity | ratio | at most | "
    )
    columns += "top-1 agreement | seconds | peak MiB | ok"
    table = Table(f"{model.name}: WikiText-2 test, {N_WINDOWS} windows of {WINDOW} tokens", columns)
    made = {size: compress(model, work / size, size) for size in SIZES}
    models = [model, *(one.folder for one in made.values())]
    kl, perplexity = figures("kl", text, models), figures("perplexity", text, models)
    original = f"{perplexity[0]['perplexity'][0]:.2f}"
    n_params = round(8 * made[SIZES[0]].n_bytes / made[SIZES[0]].bits_per_weight)
    table.add("original", *[""] * 5, original, *[""] * 6)
    for place, (size, one) in enumerate(made.items(), 1):
        divergence, agreement = kl[place]["kl"], kl[place]["top1_agreement"]
        ratio = perplexity[place]["perplexity_ratio"]
        holds = 0.995 <= one.share <= 1
        limits = ["", ""]
        if n_params == N_BOUNDED_PARAMS:
            limits = [_shown(KL_BOUNDS.get(size)), _shown(PERPLEXITY_BOUNDS.get(size))]
            holds &= divergence[0] <= KL_BOUNDS[size] and ratio[0] <= PERPLEXITY_BOUNDS.get(size, ratio[0])
        ok = table.check(
            holds, f"{size}: share {one.share:.4f}, KL {divergence[0]:.4f}, ratio {ratio[0]:.4f}"
        )
        table.add(
            size,
            *one.cells,
            _with_error(divergence),
            limits[0],
            f"{perplexity[place]['perplexity'][0]:.2f}",
            _with_error(ratio),
            limits[1],
            f"{agreement[0]:.4f}",
            *one.cost_cells,
            ok,
        )
    return table


def _shown(bound: float | None) -> str:
    return "" if bound is None else str(bound)


def _with_error(figure: tuple[float, float]) -> str:
    return f"{figure[0]:.4f} ± {figure[1]:.4f}"


def chosen_model(given: str | None) -> Path | None:
    """The folder that --model names, else $TERSOR_DECODER, else None; ends the program if there is no such folder."""
    folder = given or os.environ.get("TERSOR_DECODER")
    if folder and not Path(folder).is_dir():
        sys.exit(
            f"--model {folder}: no such folder; needed: a decoder, such as shared/tools/make_decoder.py writes"
        )
    return Path(folder) if folder else None


def main() -> None:
    options = arguments(__doc__, needs_data=True, model="folder of the decoder")
    model = chosen_model(options.model)
    if model is None:
        sys.exit("needs --model FOLDER or TERSOR_DECODER=FOLDER, as shared/tools/make_decoder.py writes")
    with work_folder(options.work) as work:
        table = decoder_table(model, test_text(model, options.data, work), work)
    finish(table)


if __name__ == "__main__":
    main()
