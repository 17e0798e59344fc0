"""The parts of benchmarks/structured.py that load models: one task per process, JSON on stdout.

Use: python benchmarks/structured_worker.py TASK ARGUMENTS-AS-JSON
reduce: remove, fit and recover; writes a folder and compares it, loaded again, with the model before it was saved.
latency: processor time of a pass through two models, interleaved.
perplexity: of language models on the same text.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from tersor.calibrate import CalibrationText, default_text, text_from_file
from tersor.calibrate.batches import make_batches
from tersor.calibrate.model_inputs import call_model
from tersor.calibrate.sampling import is_decoder, sample_sequences
from tersor.load import load_checked
from tersor.recovery.small import make_teacher
from tersor.recovery.weights import tune_all
from tersor.structured import StructuredStep, reduce, save_reduced

WINDOW = 256


def load(folder: str) -> Any:
    return load_checked(folder, dtype="float32")[0]


def tokenizer_of(folder: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return tokenizer


def text_of(
    model: Any, folder: str, file: str | None, n_tokens: int, seed: int, tokenized: bool = True
) -> CalibrationText:
    """A file's text, the default text, or, for a model without a tokenizer, what the model itself writes."""
    if not tokenized:
        start = int(model.config.bos_token_id or 0)
        length = min(WINDOW, int(model.config.max_position_embeddings))
        sequences = sample_sequences(model, n_tokens, length, seed, start)
        return CalibrationText(tuple(map(tuple, sequences)), "sampled from the model")
    if file is None:
        return default_text(tokenizer_of(folder), model, n_tokens, seed)
    return text_from_file(Path(file), tokenizer_of(folder), model, n_tokens, seed)


@torch.no_grad()
def outputs(model: Any, text: CalibrationText) -> torch.Tensor:
    found = call_model(model, make_batches(text.sequences[:4], 1024)[0])
    return found.logits if hasattr(found, "logits") else found.last_hidden_state


def task_reduce(
    model: str,
    out: str,
    steps: list[list[Any]],
    *,
    text: str | None = None,
    n_tokens: int = 16384,
    tokenized: bool = True,
    refit: bool = True,
    recover: int = 0,
    n_recovery_tokens: int = 0,
    learning_rate: float = 3e-4,
    seed: int = 0,
) -> dict[str, Any]:
    original = load(model)
    read = text_of(original, model, text, n_tokens, seed, tokenized)
    started = time.process_time()
    chosen = [StructuredStep(kind, options) for kind, options in steps]
    found = reduce(original, read, chosen, refit=refit, seed=seed)
    seconds = {"reduce": time.process_time() - started}
    report = {"n_params": found.report["n_params"], "refit": found.report.get("refit")}
    if recover:
        started = time.process_time()
        longer = (
            text_of(original, model, text, n_recovery_tokens, seed, tokenized) if n_recovery_tokens else read
        )
        teacher = make_teacher(original, longer)
        tuned = tune_all(found.model, teacher, seed=seed, n_steps=recover, learning_rate=learning_rate)
        seconds["recover"] = time.process_time() - started
        report["recover"] = tuned.to_json()
    save_reduced(found, model, out)
    again = load(out)
    same = torch.equal(outputs(again, read), outputs(found.model, read))
    written = None
    if is_decoder(again):
        prompt = torch.tensor([read.sequences[0][:8]])
        written = again.generate(prompt, max_new_tokens=16, do_sample=False, pad_token_id=0)[0].tolist()
    return {
        **report,
        "seconds": seconds,
        "config": found.config_changes,
        "through_the_hook": bool(found.module_shapes),
        "reloads_equal": same,
        "n_generated": None if written is None else len(written) - 8,
    }


def task_latency(models: list[str], *, shape: tuple[int, int] = (8, 128), n: int = 15) -> dict[str, Any]:
    loaded = [load(folder) for folder in models]
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(5, loaded[0].config.vocab_size, tuple(shape), generator=generator)
    times: list[list[float]] = [[] for _ in loaded]
    with torch.inference_mode():
        for _ in range(n):
            for model, kept in zip(loaded, times, strict=True):
                started = time.process_time()
                model(input_ids=batch)
                kept.append(time.process_time() - started)
    best = [min(kept[1:]) for kept in times]
    return {"seconds": best, "ratios": [value / best[0] for value in best]}


@torch.no_grad()
def task_perplexity(
    models: list[str],
    *,
    text: str | None = None,
    n_tokens: int = 8192,
    tokenized: bool = True,
    seed: int = 1000,
) -> dict[str, Any]:
    original = load(models[0])
    read = text_of(original, models[0], text, n_tokens, seed, tokenized)
    batches = make_batches(read.sequences, 1024)
    found = []
    for folder in models:
        model = load(folder)
        total, count = 0.0, 0
        for batch in batches:
            logits = call_model(model, batch).logits[:, :-1].float().log_softmax(-1)
            losses = -logits.gather(-1, batch.ids[:, 1:, None])[..., 0][batch.mask[:, 1:]]
            total, count = total + float(losses.sum(dtype=torch.float64)), count + losses.numel()
        found.append(float(torch.tensor(total / count).exp()))
    return {"perplexity": found, "n_tokens": count}


TASKS = {"reduce": task_reduce, "latency": task_latency, "perplexity": task_perplexity}

if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(TASKS[sys.argv[1]](**json.loads(sys.argv[2]))))
