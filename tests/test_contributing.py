"""The two examples of CONTRIBUTING.md work as they stand there: one file and one line each."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

import tersor.codec
import tersor.quant

GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"
REGISTRIES: dict[str, Any] = {"codec": tersor.codec.CODECS, "quant": tersor.quant.QUANTIZERS}


def blocks(part: str) -> dict[str, str]:
    """The three Python blocks of the example that adds to src/tersor/<part>: file, line, use."""
    found = re.findall(r"```python\n(# [^\n]*)\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    first = next(i for i, (title, _) in enumerate(found) if title.startswith(f"# src/tersor/{part}/"))
    return dict(zip(("file", "line", "use"), (body for _, body in found[first : first + 3]), strict=True))


@pytest.mark.parametrize("part", ["codec", "quant"])
def test_example_is_one_file_and_one_line(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example, registry = blocks(part), REGISTRIES[part]
    ((name, target),) = json.loads("{" + example["line"].strip().removesuffix(",") + "}").items()
    module = target.partition(":")[0]
    (tmp_path / f"{module.rpartition('.')[2]}.py").write_text(example["file"])
    package = importlib.import_module(f"tersor.{part}")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "_targets", {**registry._targets, name: target})
    monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))
    exec(compile(example["use"], str(GUIDE), "exec"), {})
    assert registry.get(name).__module__ == module
