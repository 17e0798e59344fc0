"""The instruction set is chosen once, by the machine or TERSOR_ISA; what is written never depends on it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tersor import _core
from tersor.errors import UsageError

SHOW = "from tersor import _core; print(_core.isa())"
# The CRC-32C of a BF16 payload of both coders, and whether it decodes to what it was made of.
PACK = """
import numpy as np
from tersor import _core
from tersor.layouts.tables import compile_tables, make_table_set
normal = np.random.default_rng(1).normal(0, 0.02, (96, 256)).astype(np.float32)
words = (normal.view(np.uint32) >> 16).astype(np.uint16).reshape(-1)
balanced, fast, classes = np.zeros((16, 64), np.uint64), np.zeros((16, 16), np.uint64), np.zeros(64, np.uint64)
_core.count_float_rows(words, 0, 256, 1, balanced, fast, classes)
side = compile_tables(make_table_set("side", classes[None] + np.uint64(1), precision=12, rare=10**6))
for coder, counts, kind, precision in (0, balanced, "float12", 12), (1, fast, "float8", 8):
    tables = compile_tables(make_table_set(kind, counts + np.uint64(1), precision=precision, rare=10**6))
    payload = np.frombuffer(_core.encode_float_rows(words, 0, coder, 256, 4, 32, tables, side, 0), np.uint8)
    out = np.zeros_like(words)
    _core.decode_float_rows(payload, 0, tables if coder == 0 else None, tables if coder == 1 else None, side, 0, out)
    print(len(payload), hex(_core.crc32c(payload)), (out == words).all())
"""


def run(code: str, isa: str | None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "TERSOR_ISA"}
    if isa is not None:
        environment["TERSOR_ISA"] = isa
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_the_fastest_is_used_unless_the_environment_names_one() -> None:
    assert run(SHOW, None).stdout.strip() == _core.available_isas()[-1]
    for name in _core.available_isas():
        assert run(SHOW, name).stdout.strip() == name


def test_payloads_are_the_same_with_every_instruction_set() -> None:
    expected = run(PACK, "scalar").stdout
    assert expected.count("True") == 2
    for name in _core.available_isas():
        assert run(PACK, name).stdout == expected


@pytest.mark.parametrize("name", ["", "AVX2", "sse9"])
def test_an_unknown_instruction_set_is_refused_with_those_that_run(name: str) -> None:
    finished = run(SHOW, name)
    assert finished.returncode != 0
    assert f"UsageError: TERSOR_ISA='{name}': this machine runs scalar" in finished.stderr
    with pytest.raises(UsageError, match=r"this machine runs scalar.*; name one of them"):
        _core.use_isa(name or "none")
