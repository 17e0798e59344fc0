"""The texts and the statistics that a run of `compress` needs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tersor.calibrate import CalibrationText, Statistics, default_text, text_from_file, unused_tokens
from tersor.calibrate.cache import cache_folder, collect_cached
from tersor.calibrate.cache_key import cache_key
from tersor.calibrate.sampling import is_decoder
from tersor.calibrate.text import N_TOKENS, default_tokens
from tersor.errors import UsageError
from tersor.pipeline.job import Job

# About 300 sentences, or 64 windows: the standard error of a relative loss of 1% is then about a tenth of it.
HELD_OUT_TOKENS = 16384
_HELD_OUT_SHARE = 5  # every fifth sequence of the user's text
_OTHER_SEED = 0x5EED
_log = logging.getLogger("tersor")

Sequences = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Texts:
    """What calibration sees, and what it does not (empty unless asked for)."""

    calibration: CalibrationText
    held_out: Sequences


def make_texts(job: Job, tokenizer: Any, model: Any) -> Texts:
    """The recipe's text, or the built-in one; a part is held out if something is measured on it."""
    recipe = job.recipe
    with_held_out = recipe.max_loss is not None or any(step.evaluate for step in recipe.all_steps)
    if recipe.calibration is None:
        text = default_text(tokenizer, model, seed=recipe.seed)
        held_out = _held_out_default(text, tokenizer, model, recipe.seed) if with_held_out else ()
        return Texts(text, held_out)
    n_tokens = default_tokens(model) + HELD_OUT_TOKENS * with_held_out
    text = text_from_file(Path(recipe.calibration), tokenizer, model, n_tokens, seed=recipe.seed)
    return _split(text, default_tokens(model)) if with_held_out else Texts(text, ())


def _split(text: CalibrationText, n_tokens: int) -> Texts:
    """Up to half of the text, evenly spread, for the loss, if it is long; of a short text a fifth."""
    stride = 2 if text.n_tokens > n_tokens + HELD_OUT_TOKENS // 2 else _HELD_OUT_SHARE
    held_out = text.sequences[stride - 1 :: stride]
    rest = tuple(s for number, s in enumerate(text.sequences) if number % stride != stride - 1)
    return Texts(text.keeping(rest), held_out)


def _held_out_default(text: CalibrationText, tokenizer: Any, model: Any, seed: int) -> Sequences:
    """More of the built-in text: for decoders sampled anew, for others prose that calibration did not take."""
    if is_decoder(model):
        return default_text(tokenizer, model, HELD_OUT_TOKENS, seed=seed ^ _OTHER_SEED).sequences
    # Half of the built-in text is prose, in an order of its own, the other half random sequences: a longer one
    # begins with the same prose and goes on with more of it.
    longer = default_text(tokenizer, model, 2 * (N_TOKENS // 2 + HELD_OUT_TOKENS), seed=seed)
    first = _n_leading(longer.sequences, N_TOKENS // 2)
    last = _n_leading(longer.sequences, N_TOKENS // 2 + HELD_OUT_TOKENS)
    seen = set(text.sequences)
    return [sequence for sequence in longer.sequences[first:last] if sequence not in seen]


def _n_leading(sequences: Sequences, n_tokens: int) -> int:
    """How many of the first sequences are needed for n_tokens."""
    total = 0
    for number, sequence in enumerate(sequences):
        if total >= n_tokens:
            return number
        total += len(sequence)
    return len(sequences)


def collect_statistics(
    job: Job, model: Any, text: CalibrationText, tokenizer: Any, spool: Path
) -> Statistics:
    """Statistics of the model on the text, from the cache if they are there; matrices go to the cache or to `spool`.

    What a user should know about them is logged.
    """
    spool.mkdir()
    statistics = collect_cached(
        model,
        text,
        spool,
        seed=job.recipe.seed,
        unused=unused_tokens(tokenizer),
        threads=job.threads,
        progress=lambda stage, done, total: job.progress(done, total, f"calibrating: {stage}"),
        say=_log.info,
    )
    for note in statistics.notes:
        _log.info("%s", note)
    return statistics


def are_cached(job: Job, model: Any, text: CalibrationText, tokenizer: Any) -> bool:
    """Whether `collect_statistics` would find them in the cache."""
    settings = {
        "seed": job.recipe.seed,
        "unused": list(unused_tokens(tokenizer)),
        "with_gradients": True,
        "encoder_output": "pooled",
    }
    return (cache_folder() / cache_key(model, text, settings)).is_dir()


def load_tokenizer(folder: Path) -> Any:
    """The folder's tokenizer. Raises: UsageError if it holds none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as exc:
        raise UsageError(f"{folder}: calibration needs the model's tokenizer: {exc}") from exc
