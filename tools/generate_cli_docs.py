"""Write docs/cli.md from the command line itself. Use: python tools/generate_cli_docs.py [--check]

--check: write nothing, exit with 1 if the file differs from what would be written.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tersor.cli.app import VERBS, group
from tersor.cli.options import DocumentedOption, Verb

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

HEAD = """\
# Command line

<!-- Made by tools/generate_cli_docs.py; change the commands in src/tersor/cli, then run it again. -->

`tersor VERB ...`: the result goes to stdout, all other words to stderr. With `--json` stdout is exactly one
JSON object, also when the command fails: `{"error": {"kind", "message"}}`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed: disk full, an optional package is missing, an internal error |
| 2 | the call or the recipe cannot work; nothing was started |
| 3 | the file is corrupt or needs a newer tersor, or verification found a problem |
| 4 | the size asked for cannot be reached; the message says the nearest that can |
| 130 | interrupted (Ctrl-C, SIGTERM); no half-written output is left |

`--size` and bits per parameter always mean the bytes of OUT's weight files, everything in them included.

| verb | what it does | JSON |
|---|---|---|
"""

JSON = {
    "compress": '`{"input": {"path", "n_bytes", "n_params"}, "output": {"path", "n_bytes", "ratio", '
    '"bits_per_weight"}, "tensors": [{"name", "shape", "dtype", "layout", "codec", "n_bytes", '
    '"bits_per_weight", "error", "method", "options"}], "seconds", "peak_rss_bytes", "recipe", "version"}`; with '
    '`--max-loss` also `"loss": {"metric", "limit", "value", "stderr", "n"}`; with steps of the whole model '
    '`"reduce"`, `"recover"`, `"steps"`, with `--max-latency` `"latency"`. With `--dry-run` sizes are expected '
    'ones, a tensor\'s `"error"` is what it is expected to add to the distance of the outputs, `"reason"` says why '
    'it is treated so, and there is `"prediction": {"seconds", "peak_rss_bytes", "error", "metric", "notes": []}`',
    "recipe": '`check`: `{"ok", "path", "recipe": {}}`; `show`: `{"path", "recipe": {}}` with defaults filled in; '
    "`schema`: a JSON Schema",
    "pack": 'as `compress`, and `"log": []`: what was packed otherwise than its name says. With `--dry-run` '
    '`{"dry_run", "input", "output", "files": [{"path", "n_bytes", "role"}]}`',
    "unpack": '`{"input": {"path", "n_bytes"}, "output": {"path", "n_bytes", "n_files"}, "seconds", "version"}`',
    "inspect": 'as `compress`, and `"lossless"`, `"provenance"`, `"base"`, `"history": []`',
    "verify": '`{"ok", "n_files", "n_tensors", "n_blocks", "problems": []}`',
    "evaluate": '`{"task", "data", "seed", "models": [{"path", "n_bytes", "metrics": [{"name", "value", "unit", "n", '
    '"stderr", "higher_is_better", "low", "high", "difference", "difference_stderr", "difference_low", '
    '"difference_high", "p_value", "test"}], "report", "details": {}}]}`; null where a figure has none '
    "([evaluate](evaluate.md))",
    "finetune": '`{"input": {"path", "n_bytes", "n_params"}, "output": {"path", "n_bytes", "ratio", '
    '"bits_per_weight"}, "task", "labels": [], "stages": [{}], '
    '"metrics": [{"name", "value", "unit", "n", "stderr", "higher_is_better"}], '
    '"seed", "seconds", "peak_rss_bytes"}` ([finetune](finetune.md))',
    "report": '`{"path", "n_bytes", "models": [{"path", "n_bytes", "label"}], "n_charts", "n_evaluations", '
    '"missing": []}` '
    "([report](report.md))",
    "bench": '`lossless`: `{"subject", "input": {"path", "n_bytes", "dtype"}, "runs", "rows": [{"coder", '
    '"level", "isa", "threads", "version", "n_bytes", "ratio", "encode_gb_s", "decode_warm_gb_s", "decode_cold_gb_s", '
    '"pack_gb_s", "unpack_gb_s", "seconds": {}}], "not_installed": [], "failed": [{"coder", "threads", "message"}], '
    '"machine": {"processor", "cores", "load"}, "seconds", "version"}`. A speed is null where a coder has no such '
    'operation. `quality`: `{"subject", "input": {"path", "n_bytes", "n_params"}, "metric", "seeds", "rows": [{'
    '"method", "setting", "version", "equal_to", "n_bytes", "bits_per_weight", "value", "stderr", '
    '"values", "seconds"}], "not_installed": [], "failed": [{"method", "message"}], "machine": {"processor", "cores", '
    '"load"}, "seconds", "version"}`. `"equal_to"`: the peer and setting whose bytes tersor had to meet here, else '
    'null; `"stderr"`: of the mean over the seeds, null for one; `"seconds"` of a row: without statistics that were in '
    "the cache",
    "methods": '`{"codecs": [], "quantizers": [], "pruners": [], "lowrank": [], "structured": [], "sources": [], '
    '"exporters": [], "tasks": []}`',
}


def page() -> str:
    """Return the whole of docs/cli.md."""
    overview = [f"| [{name}](#{name}) | {what} | {JSON[name]} |" for name, what in VERBS.items()]
    return HEAD + "\n".join(overview) + "\n" + "".join(_section(name) for name in VERBS)


def _section(name: str) -> str:
    context = click.Context(group, info_name="tersor")
    command = group.get_command(context, name)
    if not isinstance(command, Verb):
        raise TypeError(f"tersor {name} is not made by tersor.cli.options.verb")
    usage = command.get_usage(click.Context(command, info_name=name, parent=context))
    examples = "\n".join(command.examples)
    parts = [
        f"\n## {name}\n",
        _unwrap(command.help or ""),
        f"\n```\n{usage.removeprefix('Usage: ')}\n```\n",
        _arguments(command),
        "| option | effect | unit | default | example |\n|---|---|---|---|---|",
        *[_row(param) for param in command.params if isinstance(param, DocumentedOption)],
        f"\n```\n{examples}\n```\n",
    ]
    return "\n".join(part for part in parts if part)


def _unwrap(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _arguments(command: Verb) -> str:
    lines = [f"- `{name}`: {what}" for name, what in command.arguments_help.items()]
    return "\n".join(lines) + "\n" if lines else ""


def _row(option: DocumentedOption) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    metavar = f" {option.metavar}" if option.metavar else ""
    cells = [f"{names}{metavar}", option.help or "", option.unit, option.default_text, f"`{option.example}`"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it with --check."""
    text = page()
    if arguments == ["--check"]:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        if not same:
            print(f"{PAGE.name} is out of date; run: python tools/generate_cli_docs.py", file=sys.stderr)
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
