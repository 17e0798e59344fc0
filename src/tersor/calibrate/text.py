"""Token sequences to calibrate on: the user's text, or the built-in mix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tersor.calibrate.roles import vocabulary_size
from tersor.calibrate.sampling import is_decoder, sample_sequences
from tersor.corpus import calibration_sentences, sentences_of, zipf_sequences
from tersor.errors import UsageError

# Of encoders: error of MiniLM (WikiText) at 3 / 2 bits .0061 / .0296 with 16k tokens, .0057 / .0276 with 24k, which
# takes half as long again. A pass over a decoder costs more per parameter, and its statistics need fewer tokens.
N_TOKENS = 24576
N_TOKENS_OF_DECODERS = 16384
WINDOW = 256
SENTENCE_LENGTH = 32
# A file of this ending holds one sequence a line, taken as it is: what a task's model sees (finetune writes it).
LINES_SUFFIX = ".lines"
_UNUSED = re.compile(r"unused|reserved|extra_id|placeholder|<pad|\[PAD", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CalibrationText:
    """Token sequences (lists of ids, each at least 1 long), and where they come from.

    token_counts: (id, uses) of the tokens of the whole text that the sequences are a sample of; (): of no other text.
    """

    sequences: tuple[tuple[int, ...], ...]
    source: str
    token_counts: tuple[tuple[int, int], ...] = ()

    @property
    def n_tokens(self) -> int:
        return sum(map(len, self.sequences))

    def keeping(self, sequences: tuple[tuple[int, ...], ...]) -> CalibrationText:
        """The text without all its other sequences, which are uncounted too."""
        if not self.token_counts:
            return replace(self, sequences=sequences)
        left = dict(self.token_counts)
        for part, sign in ((self.sequences, -1), (sequences, 1)):
            for token in (token for sequence in part for token in sequence):
                left[token] += sign
        counts = tuple((token, count) for token, count in left.items() if count > 0)
        return replace(self, sequences=sequences, token_counts=counts)

    def uses(self, n_tokens: int) -> np.ndarray:
        """(n_tokens,) how often each token of the vocabulary occurs in the text, float64."""
        found = np.zeros(n_tokens)
        if self.token_counts:
            ids, counts = np.array(self.token_counts, np.int64).T
            known = ids < n_tokens
            found[ids[known]] = counts[known]
            return found
        ids = np.fromiter((token for sequence in self.sequences for token in sequence), np.int64)
        return np.bincount(ids, minlength=n_tokens)[:n_tokens].astype(np.float64)

    @property
    def sha256(self) -> str:
        """Of the ids and the counts."""
        digest = hashlib.sha256(np.array(self.token_counts, "<i8").tobytes())
        for sequence in self.sequences:
            digest.update(np.array([len(sequence), *sequence], "<i8").tobytes())
        return digest.hexdigest()


def default_text(
    tokenizer: Any, model: nn.Module, n_tokens: int | None = None, seed: int = 0
) -> CalibrationText:
    """The built-in text, so that nothing has to be downloaded; the user's own text is better.

    Encoders: half sentences of CPython's documentation, half random sequences drawn by Zipf's law over the vocabulary.
    Decoders: text sampled from the model itself. On stories260k at .15x its KL is .0225; half of it replaced by the
    documentation .0255, documentation alone .0308 (three seeds, +-.0007).
    """
    special = _special_ids(tokenizer)
    n_tokens = default_tokens(model) if n_tokens is None else n_tokens
    if is_decoder(model):
        sampled = sample_sequences(model, n_tokens, _window(model), seed, _start_token(tokenizer, special))
        return CalibrationText(_tuples(sampled), "built-in: sampled from the model")
    prose = _take(_tokenize(tokenizer, calibration_sentences(seed), _window(model)), n_tokens // 2)
    vocabulary = min(vocabulary_size(model), len(tokenizer))
    drawn = zipf_sequences(
        vocabulary, n_tokens - n_tokens // 2, SENTENCE_LENGTH, seed, special | set(unused_tokens(tokenizer))
    )
    framed = [_framed(tokenizer, sequence.tolist()) for sequence in drawn]
    return CalibrationText(_tuples(prose) + _tuples(framed), "built-in: pydoc topics and Zipf sequences")


def text_from_file(
    path: Path, tokenizer: Any, model: nn.Module, n_tokens: int | None = None, seed: int = 0
) -> CalibrationText:
    """Sequences of the user's UTF-8 text: sentences for encoders, windows of running text for decoders.

    Raises: UsageError if the file cannot be read as UTF-8 or holds no text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"calibration text {path}: {exc}; give a UTF-8 text file") from exc
    if not text.strip():
        raise UsageError(f"calibration text {path} is empty; give a UTF-8 text file of some thousand words")
    n_tokens = default_tokens(model) if n_tokens is None else n_tokens
    if is_decoder(model):
        whole = _tokenize(tokenizer, [text], None)
        sequences = _spread(_windows(whole[0], _window(model)), n_tokens)
    else:
        lines = [line for line in text.split("\n") if line.strip()]
        pieces = lines if path.suffix == LINES_SUFFIX else sentences_of(text) or lines
        order = np.random.RandomState(seed).permutation(len(pieces))
        whole = _tokenize(tokenizer, [pieces[i] for i in order], _window(model))
        sequences = _take(whole, n_tokens)
    return CalibrationText(_tuples(sequences), f"file: {path.name}", _token_counts(whole))


def default_tokens(model: nn.Module) -> int:
    """How many tokens calibration reads unless told otherwise."""
    return N_TOKENS_OF_DECODERS if is_decoder(model) else N_TOKENS


def unused_tokens(tokenizer: Any) -> tuple[int, ...]:
    """Ids of placeholder tokens ("[unused7]", "<extra_id_3>", padding): their rows matter to nobody."""
    return tuple(sorted(i for token, i in tokenizer.get_vocab().items() if _UNUSED.search(token)))


def _window(model: nn.Module) -> int:
    positions = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    return min(WINDOW, positions) if isinstance(positions, int) and positions > 0 else WINDOW


def _special_ids(tokenizer: Any) -> set[int]:
    return set(tokenizer.all_special_ids)


def _start_token(tokenizer: Any, special: set[int]) -> int:
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, *sorted(special)):
        if token is not None:
            return int(token)
    return 0


def _framed(tokenizer: Any, ids: list[int]) -> list[int]:
    """ids between the tokenizer's own start and end tokens."""
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    return ([start] if start is not None else []) + ids + ([end] if end is not None else [])


def _tokenize(tokenizer: Any, sentences: Sequence[str], limit: int | None) -> list[list[int]]:
    # Not the tokenizer's own truncation: tokenizer files may fix one, and padding, at will.
    sequences = [
        tokenizer(sentence, padding=False, truncation=False, verbose=False)["input_ids"]
        for sentence in sentences
    ]
    return [ids[:limit] for ids in sequences if ids]


def _take(sequences: list[list[int]], n_tokens: int) -> list[list[int]]:
    """The first sequences, until they hold n_tokens; all, if there are fewer."""
    taken: list[list[int]] = []
    total = 0
    for sequence in sequences:
        if total >= n_tokens:
            break
        taken.append(sequence)
        total += len(sequence)
    return taken


def _windows(ids: list[int], length: int) -> list[list[int]]:
    return [ids[i : i + length] for i in range(0, max(1, len(ids) - length + 1), length)]


def _spread(windows: list[list[int]], n_tokens: int) -> list[list[int]]:
    """Windows that hold about n_tokens, evenly spaced over the text."""
    count = max(1, min(len(windows), n_tokens // max(1, len(windows[0]))))
    return [windows[i * len(windows) // count] for i in range(count)]


def _token_counts(sequences: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    ids, counts = np.unique(
        np.concatenate([np.asarray(ids, np.int64) for ids in sequences]), return_counts=True
    )
    return tuple(zip(ids.tolist(), counts.tolist(), strict=True))


def _tuples(sequences: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, sequence)) for sequence in sequences)
