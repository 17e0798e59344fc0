"""Words to sub-words and back: windows of a sentence for a model, and one prediction for each word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tersor.errors import UsageError

_EVERYTHING = 1 << 62


@dataclass(frozen=True, slots=True)
class Window:
    """A run of a sentence's sub-words as the model takes it.

    input_ids: with the special tokens that the tokenizer adds. word_ids: for each of them the word, None for special
    tokens. predicts: (position in input_ids, word) of the words that this window predicts: their first sub-words.
    """

    input_ids: tuple[int, ...]
    word_ids: tuple[int | None, ...]
    predicts: tuple[tuple[int, int], ...]


class Aligner:
    """Cuts sentences for one tokenizer; make it once, call it for each sentence.

    tokenizer: a fast one of transformers; it is not changed. max_length: most tokens of a window, special ones
    included. stride: how many sub-words two neighbouring windows share; None: half of a window.
    Raises: UsageError if the tokenizer is not fast, or a window cannot hold two sub-words more than `stride`.
    """

    def __init__(self, tokenizer: Any, max_length: int, stride: int | None = None) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise UsageError(
                f"{type(tokenizer).__name__} does not say which word a token is of; needed: a fast tokenizer "
                "(a tokenizer.json beside the model)"
            )
        # The caller's own padding and truncation stay what they are; ours would be cut by them.
        self._backend = type(backend).from_str(backend.to_str())
        self._backend.no_padding()
        self._backend.no_truncation()
        self._unknown: int | None = tokenizer.unk_token_id
        self._before, self._after = self._special_tokens()
        self.capacity = max_length - len(self._before) - len(self._after)
        self.stride = self.capacity // 2 if stride is None else stride
        if self.stride < 0 or self.capacity < self.stride + 1:
            raise UsageError(
                f"windows of {max_length} tokens hold {self.capacity} besides special ones, "
                f"{self.stride} of them shared with the next; needed: longer windows or a smaller stride"
            )
        self._lead = self._word_lead()

    def __call__(self, words: Sequence[str]) -> list[Window]:
        """Windows that hold every sub-word of the sentence; every word is predicted by exactly one of them,
        the one that shows most context on the shorter side of its first sub-word.

        words: at least one. One that the tokenizer drops (a lone zero-width space) is its unknown token.
        """
        pieces, word_ids = self._pieces(words)
        firsts = [i for i, word in enumerate(word_ids) if i == 0 or word != word_ids[i - 1]]
        spans = self._spans(len(pieces))
        chosen = [_best_window(spans, first, len(pieces)) for first in firsts]
        windows = []
        for number, (start, end) in enumerate(spans):
            shift = len(self._before) - start
            predicts = tuple(
                (first + shift, word_ids[first])
                for first, window in zip(firsts, chosen, strict=True)
                if window == number
            )
            windows.append(self._window(pieces[start:end], word_ids[start:end], predicts))
        return windows

    def _window(self, pieces: list[int], words: list[int], predicts: tuple[tuple[int, int], ...]) -> Window:
        specials_before, specials_after = (None,) * len(self._before), (None,) * len(self._after)
        return Window(
            (*self._before, *pieces, *self._after), (*specials_before, *words, *specials_after), predicts
        )

    def _spans(self, n_pieces: int) -> list[tuple[int, int]]:
        """Beginning and end of each window in the sentence's sub-words."""
        step = self.capacity - self.stride
        n_windows = 1 if n_pieces <= self.capacity else -(-(n_pieces - self.capacity) // step) + 1
        return [(i * step, min(i * step + self.capacity, n_pieces)) for i in range(n_windows)]

    def _pieces(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
        """Sub-words of the sentence, and the word of each."""
        encoded = self._encode_words(words)
        pieces: list[int] = []
        word_ids: list[int] = []
        for word, ids in enumerate(encoded):
            # A tokenizer without an unknown token knows every byte, and drops nothing.
            kept = ids or ([] if self._unknown is None else [self._unknown])
            pieces += kept
            word_ids += [word] * len(kept)
        return pieces, word_ids

    def _encode_words(self, words: Sequence[str]) -> list[list[int]]:
        spelled = [word if i == 0 else self._lead + word for i, word in enumerate(words)]
        encoding = self._backend.encode(spelled, is_pretokenized=True, add_special_tokens=False)
        ids: list[list[int]] = [[] for _ in words]
        for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
            ids[word].append(token)
        return ids

    def _special_tokens(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The tokens that the tokenizer puts before and after a text."""
        encoding = self._backend.encode("a", add_special_tokens=True)
        inner = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
        if not inner:
            raise UsageError("the tokenizer has no token for the letter 'a'; needed: one for plain text")
        return tuple(encoding.ids[: inner[0]]), tuple(encoding.ids[inner[-1] + 1 :])

    def _word_lead(self) -> str:
        """What to write before a word inside a sentence: " " for tokenizers (GPT-2, RoBERTa) that tell words inside a
        text by the space before them and do not add it themselves."""
        text = self._backend.encode("a a", add_special_tokens=False).ids
        spaced = self._backend.encode(["a", " a"], is_pretokenized=True, add_special_tokens=False).ids
        plain = self._backend.encode(["a", "a"], is_pretokenized=True, add_special_tokens=False).ids
        return " " if spaced == text and plain != text else ""


def align(
    tokenizer: Any, sentence: Sequence[str], max_length: int, stride: int | None = None
) -> list[Window]:
    """The windows of one sentence; see `Aligner`, which is quicker for many."""
    return Aligner(tokenizer, max_length, stride)(sentence)


def _best_window(spans: Sequence[tuple[int, int]], piece: int, n_pieces: int) -> int:
    """The window that shows most context around `piece`; the first of equals."""
    contexts = [_context(span, piece, n_pieces) for span in spans]
    return contexts.index(max(contexts))


def _context(span: tuple[int, int], piece: int, n_pieces: int) -> int:
    """Sub-words on the shorter side of `piece` in a window; -1 outside it. The sentence's ends lack nothing."""
    start, end = span
    if not start <= piece < end:
        return -1
    left = _EVERYTHING if start == 0 else piece - start
    right = _EVERYTHING if end == n_pieces else end - 1 - piece
    return min(left, right)
