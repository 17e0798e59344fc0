"""Every verb and option is documented, and docs/cli.md says what the commands say."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import click
import pytest

from tersor.cli.app import VERBS, group
from tersor.cli.options import DocumentedOption, Verb

ROOT = Path(__file__).resolve().parents[2]


def _verb(name: str) -> Verb:
    command = group.get_command(click.Context(group), name)
    assert isinstance(command, Verb)
    return command


def _options() -> list[tuple[str, click.Option]]:
    return [(name, p) for name in VERBS for p in _verb(name).params if isinstance(p, click.Option)]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate_cli_docs", ROOT / "tools" / "generate_cli_docs.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cli_page_is_up_to_date() -> None:
    made = _generator().page()
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == made, "run tools/generate_cli_docs.py"


@pytest.mark.parametrize(("name", "option"), _options(), ids=lambda value: getattr(value, "name", value))
def test_option_has_effect_unit_default_and_example(name: str, option: click.Option) -> None:
    assert isinstance(option, DocumentedOption)
    assert option.help
    assert option.help.endswith((".", ")"))
    assert option.unit
    assert option.default_text
    assert option.example.split()[0] in option.opts
    context = click.Context(_verb(name))
    _verb(name).make_parser(context).parse_args(shlex.split(option.example))


@pytest.mark.parametrize("name", VERBS)
def test_verb_has_examples_that_parse_and_all_arguments_explained(name: str) -> None:
    command = _verb(name)
    assert command.examples
    for example in command.examples:
        program, verb, *rest = shlex.split(example)
        assert (program, verb) == ("tersor", name)
        command.make_parser(click.Context(command)).parse_args(rest)
    metavars = [str(p.metavar) for p in command.params if isinstance(p, click.Argument)]
    assert [re.split(r" ", metavar)[0] for metavar in metavars] == list(command.arguments_help)


@pytest.mark.parametrize("name", VERBS)
def test_list_of_verbs_says_what_the_verbs_help_says(name: str) -> None:
    help_text = " ".join((_verb(name).help or "").split())
    assert help_text.startswith(VERBS[name].rstrip("."))


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_the_common_flags(name: str) -> None:
    names = {declaration for option in _verb(name).params for declaration in option.opts}
    assert {"--json", "-q", "--quiet", "-v", "--verbose"} <= names
