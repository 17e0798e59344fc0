"""Steps and their options: checked without torch, refused with the nearest name."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tersor.errors import UnknownNameError, UsageError
from tersor.structured import STRUCTURED, StructuredStep


def test_every_kind_describes_itself() -> None:
    assert STRUCTURED.names() == ["layers", "heads", "neurons", "width"]
    for name in STRUCTURED:
        info = STRUCTURED.get(name)
        assert info.name == name
        assert info.summary.endswith(".")
        assert info.source
        assert all(option.help for option in info.options.values())


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("heads", {"shar": 0.5}, "no option 'shar'; did you mean 'share'"),
        ("heads", {"share": 1.5}, "share=1.5 needs a number between 0 and 1"),
        ("heads", {"share": True}, "share=True needs a number between 0 and 1"),
        ("heads", {"score": "fischer"}, "needs one of 'fisher', 'magnitude'"),
        ("layers", {}, "needs exactly one of share and keep, got none"),
        ("layers", {"share": 0.5, "keep": [0]}, "needs exactly one of share and keep, got share and keep"),
        ("layers", {"keep": [2, 1]}, "needs layer numbers from 0, rising"),
        ("layers", {"keep": [-1]}, "needs layer numbers from 0, rising"),
        ("layers", {"keep": []}, "needs layer numbers from 0, rising"),
        ("layers", {"keep": "0"}, "needs layer numbers from 0, rising"),
    ],
)
def test_bad_options_are_named(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"step '{kind}'.*{message}"):
        StructuredStep(kind, options)


def test_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'heads'"):
        StructuredStep("head", {})


def test_defaults_are_filled_in() -> None:
    assert StructuredStep("heads").values == {"share": 0.25, "score": "fisher"}
    assert StructuredStep("layers", {"keep": [0, 2]}).values == {"share": None, "keep": [0, 2]}


def test_checking_needs_no_torch() -> None:
    code = "import sys; from tersor.structured import StructuredStep as S; S('width'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
