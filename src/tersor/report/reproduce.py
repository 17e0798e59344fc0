"""How an archive was made, as commands to run again, and by which versions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from tersor.report.blocks import Block, Code, Column, Note, Table
from tersor.report.figures import figure_text
from tersor.report.subject import Original, Subject
from tersor.report.untrusted import mapping, number, text

MAX_RECIPE = 20_000
RECIPE_FILE = "recipe.yaml"


def reproduction(subject: Subject, original: Original | None) -> list[Block]:
    """The recipe, the commands, and a table of versions, seeds and calibration."""
    blocks: list[Block] = []
    recipe = subject.facts["recipe"]
    has_recipe = isinstance(recipe, Mapping) and bool(recipe)
    if has_recipe:
        own = (
            "calibration" if is_one_run(subject.entries("finetune")) else None
        )  # that run's, of the task's sentences
        kept = {name: value for name, value in recipe.items() if name != own}
        blocks.append(Code(RECIPE_FILE, recipe_text(kept)))
    source = original.path if original is not None else text(subject.facts["input"]["path"]) or "MODEL"
    blocks.append(Code("Commands", "\n".join(commands(subject, source, has_recipe=has_recipe))))
    facts = provenance_facts(subject)
    if facts:
        blocks.append(Table("Made with", (Column("what"), Column("value")), facts))
    else:
        blocks.append(Note("The archive does not say what made it.", is_missing=True))
    return blocks


def recipe_text(recipe: Mapping[str, Any]) -> str:
    """The recipe as YAML that `tersor compress --recipe` takes."""
    try:
        made = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True, width=100).rstrip()
        return (
            made
            if len(made) <= MAX_RECIPE
            else f"# The recipe has {len(made):,} characters: see tersor inspect --json"
        )
    except (yaml.YAMLError, RecursionError):
        return "# The recipe in this archive holds values that no recipe can have."


def commands(subject: Subject, source: str, *, has_recipe: bool) -> list[str]:
    """What to type, first to last: make it, train it, measure it. Words in capitals are not recorded."""
    model, out = _word(source), _word(subject.path)
    lines = [*_making(subject, model, out, has_recipe=has_recipe)]
    tasks = dict.fromkeys(
        (text(entry.get("task"), "TASK"), text(entry.get("data"))) for entry in subject.entries("evaluate")
    )
    for task, data in tasks:
        where = "" if not data or data.startswith("built-in") else f" --data {_word(data)}"
        lines.append(f"tersor evaluate {model} {out} --task {_word(task)}{where} --record")
    return lines


def is_one_run(trained: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one `tersor finetune` trained a plain model, compressed it and tuned it."""
    return bool(trained) and trained[0].get("stage") == "task"


def _making(subject: Subject, model: str, out: str, *, has_recipe: bool) -> list[str]:
    if text(subject.provenance.get("command")) != "compress" and not has_recipe:
        level = text(subject.provenance.get("level"))
        return [f"tersor pack {model} -o {out}" + (f" --level {_word(level)}" if level else "")]
    trained = subject.entries("finetune")
    if not trained:
        return [f"tersor compress {model} -o {out} --recipe {RECIPE_FILE}"]
    task, data = _word(text(trained[-1].get("task"), "TASK")), _word(text(trained[-1].get("data"), "DATA"))
    train = f"--task {task} --data {data}"
    if is_one_run(trained):
        first = mapping(trained[0].get("settings"))
        was_trained = not number(first.get("epochs")) and not number(first.get("max_steps"))
        source = f"{model} -o {out}" if was_trained else f"MODEL -o {out}"
        return [f"tersor finetune {source} {train} --recipe {RECIPE_FILE}" + " --epochs 0" * was_trained]
    compressed = f"tersor compress {model} -o COMPRESSED --recipe {RECIPE_FILE}"
    return [compressed, f"tersor finetune COMPRESSED -o {out} {train} --teacher {model}"]


def provenance_facts(subject: Subject) -> list[list[str]]:
    """(what, value): the program, its libraries, the machine, seeds, the calibration text."""
    provenance = subject.provenance
    calibration = mapping(provenance.get("calibration"))
    facts = [
        ["program", text(provenance.get("tool")) or text(subject.facts["version"])],
        ["machine", text(provenance.get("machine"))],
        ["seed", _plain(calibration.get("seed", provenance.get("seed")))],
        ["calibration text", text(calibration.get("calibration"))],
        ["its SHA-256", text(calibration.get("calibration_sha256"))],
        ["its tokens", _plain(calibration.get("calibration_tokens"))],
        ["global step", _plain(provenance.get("delta"))],
    ]
    libraries = mapping(provenance.get("libraries"))
    facts += [[text(str(name)), text(version)] for name, version in sorted(libraries.items(), key=str)]
    return [fact for fact in facts if fact[1]]


def _plain(value: object) -> str:
    found = number(value)
    if found is None:
        return text(value)
    return f"{found:.0f}" if found == int(found) else figure_text(found)


def _word(value: str) -> str:
    return shlex.quote(value)
