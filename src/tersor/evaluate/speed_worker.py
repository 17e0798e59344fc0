"""A process with one model that times what its parent asks for: `python -m tersor.evaluate.speed_worker FOLDER`.

It reads one JSON request a line on stdin and answers each with one JSON line on stdout:
{"do": "load"} -> seconds, the most tokens that the model takes, whether it generates text;
{"do": "forward" or "decode", "batch", "length", "times"} -> seconds of each pass, of each generated token;
{"do": "peak"} -> the most memory that the process has held.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from typing import Any, TextIO

import torch

from tersor.errors import TersorError
from tersor.evaluate.speed_rounds import N_DECODED
from tersor.evaluate.tokens import position_limit
from tersor.load import load
from tersor.process import peak_rss_bytes


def main(folder: str) -> int:
    """Answer the requests on stdin until it ends."""
    # Libraries print; the answers have stdout to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return serve(folder, sys.stdin, answers)


def serve(folder: str, requests: Iterable[str], answers: TextIO) -> int:
    """Write what the timings depend on, then an answer to each request; an exit code."""
    try:
        worker = Worker(folder)
        _answer(answers, worker.facts())
        for line in requests:
            _answer(answers, worker.perform(json.loads(line)))
    except TersorError as exc:
        _answer(answers, {"error": str(exc)})
        return 1
    return 0


class Worker:
    """One model's timings. folder: of the model."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._model: Any = None

    def facts(self) -> dict[str, Any]:
        """What the timings depend on."""
        return {"threads": torch.get_num_threads(), "torch": torch.__version__}

    def perform(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request."""
        if request["do"] == "load":
            return self._load()
        if request["do"] == "peak":
            return {"peak_rss_bytes": peak_rss_bytes()}
        run = self._forward if request["do"] == "forward" else self._decode
        inputs = self._random_ids(request["batch"], request["length"])
        with torch.inference_mode():
            return {"seconds": [run(inputs) for _ in range(request["times"])]}

    def _load(self) -> dict[str, Any]:
        self._model = None  # two would be in memory
        started = time.perf_counter()
        self._model = load(self._folder)
        seconds = time.perf_counter() - started
        decodes = self._model.can_generate() and not self._is_encoder_decoder
        return {"seconds": seconds, "limit": position_limit(self._model), "decodes": decodes}

    @property
    def _is_encoder_decoder(self) -> bool:
        return bool(getattr(self._model.config, "is_encoder_decoder", False))

    def _forward(self, inputs: dict[str, Any]) -> float:
        """Seconds of a pass."""
        started = time.perf_counter()
        self._model(**inputs)
        return time.perf_counter() - started

    def _decode(self, inputs: dict[str, Any]) -> float:
        """Seconds of a generated token after a prompt, the mean of N_DECODED; the prompt's own pass does not count."""
        cache = self._model(**inputs, use_cache=True).past_key_values
        token = inputs["input_ids"][:, :1]
        started = time.perf_counter()
        for _ in range(N_DECODED):
            cache = self._model(input_ids=token, past_key_values=cache, use_cache=True).past_key_values
        return (time.perf_counter() - started) / N_DECODED

    def _random_ids(self, batch: int, length: int) -> dict[str, Any]:
        """Token ids that depend on the shape alone; an encoder-decoder model gets them on both sides."""
        generator = torch.Generator().manual_seed(0)
        size = int(self._model.config.get_text_config().vocab_size)
        ids = torch.randint(0, size, (batch, length), generator=generator)
        inputs = {"input_ids": ids}
        if self._is_encoder_decoder:
            inputs["decoder_input_ids"] = ids
        return inputs


def _answer(answers: TextIO, values: dict[str, Any]) -> None:
    print(json.dumps(values), file=answers, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
