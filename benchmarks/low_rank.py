"""Low-rank MiniLM: error by method and by where ranks go, bytes beside two_sided alone, latency with factors.

Use: python benchmarks/low_rank.py --data FOLDER [--seeds 3]      about 15 minutes with 3 seeds
The 36 linear layers of the encoder (10.6M weights); everything else stays as it is. Calibrated on WikiText validation,
a seed draws its text; error: mean 1 - cos of 300 sentence embeddings, WikiText test. Latency: one thread, interleaved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from common import Table, arguments, finish, minilm, work_folder
from tersor.layouts import Dense, Grid, LowRank
from tersor.lowrank import (
    FACTORIZERS,
    allocate_ranks,
    cast_low_rank,
    factorize,
    quantize_low_rank,
    rank_curve,
    rank_for,
)
from tersor.quant import QUANTIZERS, QuantConfig, TensorStatistics
from tersor.types import TensorSpec

KEEPS = (0.8, 0.5)
BOUNDS = {
    "svd": math.inf,
    "whitened_svd": 0.114,
    "two_sided_svd": 0.114,
}  # at .8, same rank budget for every matrix
DELTAS = (0.25, 0.35, 0.5, 0.7, 1.0)
N_TIMES = 25
FILE = "model.tersor.safetensors"

Matrices = Mapping[str, np.ndarray]
Value = Dense | Grid | LowRank


class Bench:
    """MiniLM, its statistics for one seed, and how far its embeddings move with other matrices."""

    def __init__(self, data: Path, spool: Path, seed: int) -> None:
        import torch
        from transformers import AutoTokenizer

        from tersor.calibrate import collect, text_from_file, unused_tokens
        from tersor.evaluate.data import read_data
        from tersor.evaluate.embedding import embeddings
        from tersor.evaluate.tokens import encode
        from tersor.load import load_checked

        torch.set_num_threads(1)
        self.model, _ = load_checked(minilm(), dtype="float32")
        tokenizer = AutoTokenizer.from_pretrained(minilm(), local_files_only=True)
        text = text_from_file(data / "wikitext2" / "wiki.valid.tokens", tokenizer, self.model, seed=seed)
        spool.mkdir()
        self.statistics = collect(self.model, text, spool, seed=seed, unused=unused_tokens(tokenizer))
        self._parameters = dict(self.model.named_parameters())
        self.weights: Matrices = {
            name: parameter.detach().numpy().copy()
            for name, parameter in self._parameters.items()
            if parameter.ndim == 2 and name.startswith("encoder")
        }
        self.n_weights = sum(weight.size for weight in self.weights.values())
        sentences = read_data(data / "wikitext2" / "wiki.test.raw").sample(300, seed)
        sequences = [encode(tokenizer, sentence, 512) for sentence in sentences]
        self._embed = lambda: embeddings(self.model, sequences)
        self._original = self._embed()
        self.curves = {
            name: rank_curve(weight, self.stats(name), self.statistics.errors[name])
            for name, weight in self.weights.items()
        }

    def stats(self, name: str) -> TensorStatistics:
        return self.statistics.of(name)

    def error(self, matrices: Iterable[tuple[str, np.ndarray]]) -> float:
        """Mean 1 - cos with the matrices in place of the weights."""
        import torch

        with torch.no_grad():
            for name, matrix in matrices:
                self._parameters[name].copy_(torch.from_numpy(np.ascontiguousarray(matrix)))
        cosine = torch.nn.functional.cosine_similarity(self._embed(), self._original)
        return float((1 - cosine).mean())

    def ranks(self, keep: float) -> dict[str, int | None]:
        """By equal marginal error; None: not factored."""
        return allocate_ranks(self.curves, keep)

    def n_bytes(self, values: Mapping[str, Value], folder: Path) -> int:
        """Bytes of an archive file of these tensors."""
        from tersor.archive.writer import ArchiveWriter
        from tersor.layouts import Context
        from tersor.layouts.file_tables import FileCounts

        specs = {
            name: TensorSpec(name, _dtype(value), self.weights[name].shape) for name, value in values.items()
        }
        counts = FileCounts()
        for name, value in values.items():
            counts.add(specs[name], value)
        path = folder / FILE
        path.unlink(missing_ok=True)
        with ArchiveWriter(path, Context(table_sets=counts.make("balanced"))) as writer:
            for name, value in values.items():
                writer.add(specs[name], value)
            writer.finish()
        return path.stat().st_size


def _dtype(value: Value) -> str:
    return "BF16" if isinstance(value, Dense) else "F32"


def full_factors(bench: Bench, method: str, keep: float) -> float:
    """As published: the same share of every matrix, two full factors."""

    def product(name: str, weight: np.ndarray) -> np.ndarray:
        rank = int(keep * weight.size / sum(weight.shape))
        return np.matmul(*factorize(method, weight, rank, bench.stats(name)))

    return bench.error((name, product(name, weight)) for name, weight in bench.weights.items())


def pivots(bench: Bench, method: str, ranks: Mapping[str, int | None]) -> float:
    """The same numbers as pivots and what the other rows take of them, which allows a higher rank."""
    return bench.error(
        (name, low_rank(bench, method, name, ranks[name]).to_dense()) for name in bench.weights
    )


def own_rows(bench: Bench, ranks: Mapping[str, int | None]) -> float:
    """Interpolative decomposition: the pivots are rows of the weight itself, the others fitted to them."""
    from tersor.lowrank.pivots import pivoted
    from tersor.lowrank.refit import refit_left

    def product(name: str, weight: np.ndarray) -> np.ndarray:
        rank = ranks[name] or min(weight.shape)
        parts = pivoted(*factorize("two_sided_svd", weight, rank, bench.stats(name)))
        found = weight.copy()
        found[parts.others] = (
            refit_left(weight, parts, weight[parts.rows], bench.stats(name)) @ weight[parts.rows]
        )
        return found

    return bench.error((name, product(name, weight)) for name, weight in bench.weights.items())


def low_rank(bench: Bench, method: str, name: str, rank: int | None, dtype: str = "F32") -> LowRank:
    weight = bench.weights[name]
    return cast_low_rank(
        weight,
        method=method,
        rank=rank or min(weight.shape),
        residual=False,
        stats=bench.stats(name),
        dtype=dtype,
    )


def errors_of(bench: Bench, keep: float) -> dict[str, list[float]]:
    """Errors of one seed: method -> [full factors, pivots, ranks by error]."""
    same = {name: rank_for(weight.shape, keep) for name, weight in bench.weights.items()}
    found = {
        method: [
            full_factors(bench, method, keep),
            pivots(bench, method, same),
            pivots(bench, method, bench.ranks(keep)),
        ]
        for method in FACTORIZERS.names()
    }
    return {
        **found,
        "rows of the weight": [math.nan, own_rows(bench, same), own_rows(bench, bench.ranks(keep))],
    }


def error_tables(benches: list[Bench]) -> list[Table]:
    tables = []
    for keep in KEEPS:
        columns = "method | two full factors, same share each | pivots, same share each | pivots, ranks by error | ok"
        title = f"{keep:g} of the parameters of MiniLM's linear layers; 1 - cos, mean of {len(benches)} seeds"
        table = Table(title, columns)
        by_seed = [errors_of(bench, keep) for bench in benches]
        for method in by_seed[0]:
            cells = list(zip(*(errors[method] for errors in by_seed), strict=True))
            bound = BOUNDS.get(method, math.inf) if keep == 0.8 else math.inf
            ok = (
                "-"
                if bound == math.inf
                else table.check(mean(cells[0]) <= bound, f"{method} at {keep}: {cells}")
            )
            table.add(method, *(_spread(values) for values in cells), ok)
        tables.append(table)
    return tables


def _spread(values: tuple[float, ...]) -> str:
    if math.isnan(values[0]):
        return "-"
    spread = f" ± {stdev(values) / len(values) ** 0.5:.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f}{spread}"


def bytes_table(bench: Bench, folder: Path) -> Table:
    """What factors are worth when the bytes of the file count."""
    table = Table("Bytes of the linear layers, one seed", "what | bytes | bits/weight | 1 - cos")

    def add(what: str, values: Mapping[str, Value]) -> None:
        error = bench.error((name, _matrix(value)) for name, value in values.items())
        n_bytes = bench.n_bytes(values, folder)
        table.add(what, f"{n_bytes:,}", f"{8 * n_bytes / bench.n_weights:.3f}", f"{error:.5f}")

    import ml_dtypes

    dense = {name: Dense(weight.astype(ml_dtypes.bfloat16)) for name, weight in bench.weights.items()}
    add("BF16, dense", dense)
    for keep in (0.9, 0.8, 0.5):
        ranks = bench.ranks(keep)
        add(
            f"BF16, {keep:g} of the parameters",
            {
                name: dense[name]
                if ranks[name] is None
                else low_rank(bench, "two_sided_svd", name, ranks[name], "BF16")
                for name in bench.weights
            },
        )
    for delta in DELTAS:
        add(f"two_sided alone, step {delta:g}", {name: rounded(bench, name, delta) for name in bench.weights})
    for keep in (0.9, 0.8):
        ranks = bench.ranks(keep)
        for delta in DELTAS[:3]:
            values = {name: quantized(bench, name, ranks[name], delta) for name in bench.weights}
            add(f"{keep:g} of the parameters, then two_sided, step {delta:g}", values)
    return table


def _matrix(value: Value) -> np.ndarray:
    return value.array.astype(np.float32) if isinstance(value, Dense) else value.to_dense()


def rounded(
    bench: Bench, name: str, delta: float, weight: np.ndarray | None = None, stats: Any = None
) -> Grid:
    config = QuantConfig(delta * bench.statistics.base_steps[name])
    matrix = bench.weights[name] if weight is None else weight
    return QUANTIZERS.get("two_sided")(matrix, config, stats or bench.stats(name))


def quantized(bench: Bench, name: str, rank: int | None, delta: float) -> Grid | LowRank:
    if rank is None:
        return rounded(bench, name, delta)
    return quantize_low_rank(
        bench.weights[name],
        method="two_sided_svd",
        rank=rank,
        residual=False,
        stats=bench.stats(name),
        quantize=lambda matrix, stats, _: rounded(bench, name, delta, matrix, stats),
    )


def latency_tables(bench: Bench) -> list[Table]:
    return [layers_table(), model_table(bench)]


def layers_table() -> Table:
    """One linear layer, plain and with factors; where those would be slower it stays plain."""
    import torch
    from torch import nn

    from tersor.layouts.low_rank import Factors
    from tersor.runtime.low_rank import use_factors

    table = Table(
        "A linear layer with factors, over the plain one", "out x in | keep | rank | 1 token | 32 | 512"
    )
    for rows, columns in ((384, 384), (1536, 384), (384, 1536), (768, 3072), (3072, 768)):
        for keep in (0.8, 0.5, 0.25):
            rank = rank_for((rows, columns), keep)
            plain, low = (nn.Sequential(nn.Linear(columns, rows)) for _ in range(2))
            ones = (np.ones((rows, rank), np.float32), np.ones((rank, columns), np.float32))
            use_factors(low, "0.weight", Factors(*ones, None, False))
            ratios = [ratio(low, plain, torch.randn(tokens, columns)) for tokens in (1, 32, 512)]
            table.add(f"{rows} x {columns}", f"{keep:g}", rank, *(f"{found:.2f}x" for found in ratios))
    return table


def model_table(bench: Bench) -> Table:
    """MiniLM with factors in all linear layers that have them, over the plain model."""
    import copy

    import torch

    from tersor.layouts.low_rank import Factors, part_values
    from tersor.runtime.low_rank import use_factors

    columns = "ranks | parameters of the layers | layers factored | 1 x 16 tokens | 1 x 128 | 8 x 128"
    table = Table("MiniLM with factors, over the plain model", columns)
    inputs = [torch.randint(999, 9999, shape) for shape in ((1, 16), (1, 128), (8, 128))]
    for keep in KEEPS:
        same = {name: rank_for(weight.shape, keep) for name, weight in bench.weights.items()}
        for what, ranks in (("same share each", same), ("by error", bench.ranks(keep))):
            model, n_factored = copy.deepcopy(bench.model), 0
            for name, rank in ranks.items():
                if rank is not None:
                    stored = low_rank(bench, "two_sided_svd", name, rank)
                    left, right = part_values(stored.left), part_values(stored.right)
                    n_factored += use_factors(model, name, Factors(left, right, None, False, stored.pivots))
            ratios = [ratio(model, bench.model, ids) for ids in inputs]
            table.add(what, f"{keep:g}", n_factored, *(f"{found:.2f}x" for found in ratios))
    return table


def ratio(model: Callable[[Any], Any], other: Callable[[Any], Any], inputs: Any) -> float:
    """Median of the time of a call over that of the other, measured in turns."""
    import torch

    def seconds(call: Callable[[Any], Any]) -> float:
        started = time.perf_counter()
        for _ in range(repeats):
            call(inputs)
        return time.perf_counter() - started

    repeats = 1
    with torch.inference_mode():
        while seconds(other) < 0.005:
            repeats *= 2
        return median(seconds(model) / seconds(other) for _ in range(N_TIMES))


def main() -> None:
    options = arguments(__doc__, needs_data=True, seeds="how many seeds (default: 3)")
    with work_folder(options.work) as work:
        benches = [
            Bench(options.data, work / f"statistics-{seed}", seed) for seed in range(int(options.seeds or 3))
        ]
        tables = [*error_tables(benches), bytes_table(benches[0], work), *latency_tables(benches[0])]
    finish(*tables)


if __name__ == "__main__":
    main()
