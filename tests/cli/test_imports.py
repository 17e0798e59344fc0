"""A command imports what it needs and no more: what makes `tersor --help` quick."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"numpy", "torch", "transformers", "rich", "zstandard", "yaml", "msgspec", "logging"}


def _imported(*arguments: str) -> set[str]:
    code = (
        "import sys\nfrom tersor.cli import main\n"
        f"code = main({list(arguments)!r})\n"
        "print(*sys.modules, file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    assert not HEAVY & _imported(*arguments)


def test_help_of_a_verb_imports_no_number_code() -> None:
    assert not (HEAVY - {"logging"}) & _imported("compress", "--help")


def test_methods_imports_neither_torch_nor_transformers() -> None:
    assert not {"torch", "transformers", "rich"} & _imported("methods")
