"""YAML text -> plain values, and where each of them stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from tersor.errors import RecipeError
from tersor.recipe.checks import FIELDS, problems, unknown_key
from tersor.recipe.problem import Path, Problem

if TYPE_CHECKING:
    import yaml

_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)
# Fields whose values are mappings or lists; their scalars have YAML's types. All others are the text as written.
_NESTED = ("options", "steps", "targets")
_MAX_DEPTH = 4  # steps -> number -> kind -> options -> value


def parse_recipe(
    data: bytes | str, where: str = "recipe", *, folder: FilePath | None = None
) -> dict[str, Any]:
    """Return the fields that YAML text gives, each checked; a field may be left out.

    where: names the text in errors, which read "where:line:column: what".
    folder: what a relative `calibration` is relative to; None: whether the file exists is not checked.
    Raises: RecipeError, which lists every problem at once.
    """
    reader = _Reader()
    values = reader.fields(_compose(data, where))
    found = [
        (reader.mark(path), why)
        for path, why in [*reader.problems, *problems(values), *_missing(values, folder)]
    ]
    if found:
        ordered = sorted(found, key=lambda problem: (problem[0].line, problem[0].column))
        raise RecipeError("\n".join(f"{_position(where, mark)}: {why}" for mark, why in ordered))
    return values


def _missing(values: Mapping[str, Any], folder: FilePath | None) -> Iterator[Problem]:
    """The calibration text, if it is no file."""
    text = values.get("calibration")
    if folder is not None and isinstance(text, str) and not (folder / text).is_file():
        yield (
            ("calibration",),
            f"calibration: there is no file {str(folder / text)!r}; the path is relative to the recipe",
        )


@dataclass(slots=True)
class _Reader:
    """Collects values, their marks by path, and problems of the text itself."""

    marks: dict[Path, yaml.Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def mark(self, path: Path) -> yaml.Mark:
        """Where a value stands; a value that is missing: where what should hold it stands."""
        while path not in self.marks:
            path = path[:-1]
        return self.marks[path]

    def fields(self, root: yaml.MappingNode) -> dict[str, Any]:
        """The known fields; an unknown or repeated key, or a nested value where none fits, is a problem."""
        import yaml

        self.marks[()] = root.start_mark
        values: dict[str, Any] = {}
        for key, node in root.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "a nested key"
            if name not in FIELDS:
                self._problem(("key", name), key.start_mark, unknown_key(name))
            elif name in values:
                self._problem(("key", name), key.start_mark, f"{name!r} is given twice")
            elif isinstance(node, yaml.ScalarNode) or name in _NESTED:
                self.marks[name,] = node.start_mark
                values[name] = self._nested((name,), node) if name in _NESTED else _scalar(name, node)
            else:
                self._problem((name,), node.start_mark, f"{name}: needs a single value, got a {node.id}")
        return values

    def _nested(self, path: Path, node: yaml.Node) -> Any:
        """A value with YAML's own types. Depth is limited, so aliases cannot blow it up."""
        import yaml

        self.marks[path] = node.start_mark
        if isinstance(node, yaml.ScalarNode):
            return _typed(node)
        if len(path) > _MAX_DEPTH:
            self._problem(
                path, node.start_mark, f"{path[0]}: a single value is needed here, got a collection"
            )
            return None
        if isinstance(node, yaml.SequenceNode):
            return [self._nested((*path, number), item) for number, item in enumerate(node.value)]
        values: dict[str, Any] = {}
        for key, item in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "a nested key"
            if name in values:
                self._problem((*path, "key", name), key.start_mark, f"{name!r} is given twice")
            else:
                values[name] = self._nested((*path, name), item)
                self.marks[*path, name] = item.start_mark
        return values

    def _problem(self, path: Path, mark: yaml.Mark, why: str) -> None:
        # A path of its own: the same key may be unknown twice.
        own: Path = (*path, len(self.problems))
        self.marks[own] = mark
        self.problems.append((own, why))


def _compose(data: bytes | str, where: str) -> yaml.MappingNode:
    import yaml

    try:
        root = yaml.compose(data, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        raise RecipeError(f"{_position(where, mark)}: not YAML: {exc.problem or exc.context}") from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise RecipeError(f"{where}: not YAML: {str(exc).splitlines()[0]}") from exc
    if not isinstance(root, yaml.MappingNode):
        mark = root.start_mark if root is not None else None
        raise RecipeError(f"{_position(where, mark)}: a recipe is a mapping, for example `size: 0.2x`")
    return root


def _scalar(name: str, node: yaml.ScalarNode) -> object:
    """Return null as None, an integer as int where the field is one, all else as the text written."""
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if name == "seed" and _INTEGER.fullmatch(node.value):
        return int(node.value)
    return str(node.value)


def _typed(node: yaml.ScalarNode) -> object:
    """A scalar as YAML types it: null, true, 4, 0.5; anything else, dates too, as the text written."""
    kind = node.tag.rpartition(":")[2]
    text = str(node.value)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("true", "yes", "on")
    if kind == "int" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "float":
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _position(where: str, mark: yaml.Mark | None) -> str:
    return f"{where}:{mark.line + 1}:{mark.column + 1}" if mark is not None else where
