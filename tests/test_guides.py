"""The guides run as they stand, block by block, on a tiny model and a few sentences.

Blocks of `sh` and `python` are run, those of `yaml` are files that their first line names; those of `shell` would take
too long even so: their commands are parsed.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest

from models import tiny_bert
from tersor.calibrate import text
from tersor.cli.app import group, run
from tersor.finetune import plan
from tersor.pipeline import calibration
from tersor.recovery import choice

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(sh|shell|python|yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMES = ("Angela Merkel", "Boris Becker", "Steffi Graf")
PLACES = ("Hamburg", "Bonn", "Leipzig")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the guides speak of: `minilm/` and `bert/` (tiny), `conll2003/` (a few sentences)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # `run` replaces it
    shorten(monkeypatch)
    tiny_bert("minilm", hidden=32, layers=1)
    tiny_bert("bert", hidden=32, layers=1)
    (tmp_path / "conll2003").mkdir()
    for name in ("eng.train", "eng.testa", "eng.testb"):
        (tmp_path / "conll2003" / name).write_text("\n".join(map(sentence, range(9))) + "\n")
    return tmp_path


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less calibration text, no recovery, two steps of tuning: what would take minutes, and has tests of its own."""
    monkeypatch.setattr(text, "N_TOKENS", 2048)
    monkeypatch.setattr(calibration, "N_TOKENS", 2048)
    monkeypatch.setattr(calibration, "HELD_OUT_TOKENS", 2048)
    monkeypatch.setattr(choice, "DRIFT_BITS", 0.0)
    monkeypatch.setattr(choice, "TUNE_BITS", 0.0)
    monkeypatch.setattr(plan, "SMALL_DEFAULTS", replace(plan.SMALL_DEFAULTS, max_steps=2))
    monkeypatch.setattr(plan, "CODES_DEFAULTS", replace(plan.CODES_DEFAULTS, max_steps=2))


def sentence(number: int) -> str:
    """Lines of CoNLL-2003 in IOB1: word, part of speech, chunk, tag."""
    first, last = NAMES[number % 3].split()
    words = [(first, "I-PER"), (last, "I-PER"), ("visits", "O"), (PLACES[number // 3], "I-LOC"), (".", "O")]
    return "".join(f"{word} X X {tag}\n" for word, tag in words)


def run_blocks(page: str) -> int:
    """Run a page's blocks in the current folder; return how many there were."""
    blocks = BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for language, block in blocks:
        if language == "python":
            exec(compile(block, page, "exec"), names)
        elif language == "yaml":
            Path(block.split("\n", 1)[0].removeprefix("# ")).write_text(block)
        else:
            for line in block.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "tersor"
                if language == "sh":
                    assert run([*arguments, "-q"]) == 0, line
                else:
                    parse(arguments)
    return len(blocks)


def parse(arguments: list[str]) -> None:
    """Raise click.UsageError for a verb or an option that there is not."""
    command = group.get_command(click.Context(group), arguments[0])
    assert command is not None, arguments[0]
    command.make_parser(click.Context(command)).parse_args(arguments[1:])


@pytest.mark.parametrize(
    ("page", "n_blocks"), [("guide-conll.md", 8), ("guide-bits.md", 4), ("guide-report.md", 2)]
)
def test_guide_runs_from_top_to_bottom(page: str, n_blocks: int, workplace: Path) -> None:
    assert run_blocks(page) == n_blocks
    assert list(workplace.glob("*.html"))
