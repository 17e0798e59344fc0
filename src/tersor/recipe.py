"""What `compress` is asked to do: a size budget and a recipe, both checked before work starts.

A recipe is a YAML mapping, a Python mapping or a `Recipe`:

    size: 0.15x               # required here or as --size / size=
    method: gptq              # a name that `tersor methods` lists under quantizers
    calibration: text.txt     # relative to the recipe's folder; left out: the built-in text
    seed: 0
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from tersor.errors import RecipeError, UsageError
from tersor.registry import did_you_mean

if TYPE_CHECKING:
    import yaml

MAX_RECIPE_BYTES = 1 << 20
MAX_SEED = 2**32 - 1
DEFAULT_METHOD = "gptq"
SIZE_FORMS = "0.2x (of the original), 45MB, 45MiB, 450kB or 3.2bpw (bits per parameter)"

_BYTES = {
    "B": 1,
    "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_NUMBER_UNIT = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18}) ?([A-Za-z%]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a compressed model's weight files may take, everything in them included.

    unit "x": `amount` is a fraction of the original's weight-file bytes, 0 < amount <= 1.
    unit "bytes": a whole number of bytes. unit "bpw": bits per parameter of the original, 0 < amount <= 64.
    """

    amount: Decimal
    unit: Literal["x", "bytes", "bpw"]
    text: str

    def n_bytes(self, original_n_bytes: int, n_params: int) -> int:
        """Return the budget in bytes, rounded down, for an original of that size."""
        if self.unit == "x":
            return int(self.amount * original_n_bytes)
        if self.unit == "bpw":
            return int(self.amount * n_params / 8)
        return int(self.amount)


def parse_size(text: str) -> Budget:
    """Return the budget that `text` names: 0.2x, 45MB, 45MiB, 450kB, 3.2bpw.

    Decimal units are powers of 1000, binary ones (KiB, MiB, ...) of 1024.
    x must be in (0, 1], bpw in (0, 64], bytes at least 1.
    Raises: UsageError, which says how to write what was probably meant.
    """
    stripped = text.strip()
    match = _NUMBER_UNIT.fullmatch(stripped)
    if match is None:
        raise _size_error(text, _why_not_a_number(stripped))
    amount, unit = Decimal(match[1]), match[2]
    if unit == "x":
        return _ratio(text, amount)
    if unit == "bpw":
        if not 0 < amount <= 64:
            raise _size_error(text, "bits per parameter must be above 0 and at most 64")
        return Budget(amount, "bpw", stripped)
    if unit in _BYTES:
        n_bytes = int(amount * _BYTES[unit])
        if n_bytes < 1:
            raise _size_error(text, "it must be at least one byte")
        return Budget(Decimal(n_bytes), "bytes", stripped)
    raise _size_error(text, _why_not_a_unit(match[1], unit))


def _ratio(text: str, amount: Decimal) -> Budget:
    if amount == 0:
        raise _size_error(text, "it must be above 0")
    if amount > 1:
        smaller = f"{float(1 / amount):.4g}"
        raise _size_error(text, f"larger than the original; for {amount} times smaller write {smaller}x")
    return Budget(amount, "x", text.strip())


def _why_not_a_number(text: str) -> str:
    if re.fullmatch(r"\d+,\d+ ?[A-Za-z]*", text):
        return f"the decimal mark is a point: {text.replace(',', '.')}"
    if text.startswith("-"):
        return "it must be above 0"
    return "it must be a number and a unit"


def _why_not_a_unit(number: str, unit: str) -> str:
    if unit == "":
        units = ("x", "MB", "bpw") if Decimal(number) <= 1 else ("MB", "bpw")
        return f"it has no unit; write {' or '.join(number + known for known in units)}"
    if unit == "%":
        return f"for a part of the original write {format((Decimal(number) / 100).normalize(), 'f')}x"
    same = [known for known in ("x", "bpw", *_BYTES) if known.lower() == unit.lower()]
    if same:
        return f"units are written with these capitals: {number}{same[0]}"
    return f"unknown unit {unit!r}{did_you_mean(unit, ('x', 'bpw', *_BYTES))}"


def _size_error(text: str, why: str) -> UsageError:
    return UsageError(f"size {text!r}: {why}{'' if why.endswith('?') else '.'} A size is {SIZE_FORMS}")


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides what `compress` makes of a model.

    size: as `parse_size` reads it. method: name of a quantizer; only the pipeline knows which there are.
    calibration: path of a text file, None for the built-in text. seed: 0 .. 2**32 - 1.
    Raises: RecipeError, which lists every problem at once.
    """

    size: str
    method: str = DEFAULT_METHOD
    calibration: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in _CHECKS}
        problems = [f"recipe: {why}" for why in _problems(values).values()]
        if problems:
            raise RecipeError("\n".join(problems))

    @property
    def budget(self) -> Budget:
        return parse_size(self.size)

    def to_dict(self) -> dict[str, object]:
        """Return the recipe as plain values, for JSON."""
        return {name: getattr(self, name) for name in _CHECKS}


def resolve_recipe(
    recipe: Recipe | Mapping[str, object] | str | Path | None = None,
    *,
    size: str | None = None,
    method: str | None = None,
    calibration: str | Path | None = None,
    seed: int | None = None,
) -> Recipe:
    """Return the recipe to run: what `recipe` says, replaced by each argument that is not None.

    recipe: a Recipe, a mapping with its fields, or the path of a YAML file.
    Raises: RecipeError (also when no size is given at all).
    """
    if isinstance(recipe, str | Path):
        values = read_recipe(recipe)
    elif isinstance(recipe, Recipe):
        values = recipe.to_dict()
    else:
        values = dict(recipe or {})
        _refuse_unknown_keys(values)
    given = {"size": size, "method": method, "seed": seed, "calibration": calibration and str(calibration)}
    values |= {name: value for name, value in given.items() if value is not None}
    if "size" not in values:
        raise RecipeError(f"no size given: use --size (size=) or `size:` in a recipe: {SIZE_FORMS}")
    return Recipe(**values)  # type: ignore[arg-type]  # __post_init__ checks every value


def read_recipe(path: str | Path) -> dict[str, object]:
    """Return the checked fields of a YAML recipe; `calibration` is made relative to the recipe's folder.

    Raises: RecipeError with line and column of every problem; UsageError if the file cannot be read.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECIPE_BYTES + 1)
    except OSError as exc:
        raise UsageError(f"recipe {path}: cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_RECIPE_BYTES:
        raise RecipeError(f"{path}: more than {MAX_RECIPE_BYTES} bytes; a recipe is a short YAML file")
    values = parse_recipe(data, str(path))
    if isinstance(values.get("calibration"), str):
        values["calibration"] = str(path.parent / str(values["calibration"]))
    return values


def parse_recipe(data: bytes | str, where: str = "recipe") -> dict[str, object]:
    """Return the fields that YAML text gives, each checked; a field may be left out.

    where: names the text in errors, which read "where:line:column: what".
    Raises: RecipeError, which lists every problem at once.
    """
    fields, problems = _fields(_compose(data, where))
    values = {name: value for name, (value, _) in fields.items()}
    problems += [(fields[name][1], why) for name, why in _problems(values).items()]
    if problems:
        ordered = sorted(problems, key=lambda problem: (problem[0].line, problem[0].column))
        raise RecipeError("\n".join(f"{_position(where, mark)}: {why}" for mark, why in ordered))
    return values


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


def _fields(
    root: yaml.MappingNode,
) -> tuple[dict[str, tuple[object, yaml.Mark]], list[tuple[yaml.Mark, str]]]:
    """Return the known keys with value and position, and a problem for every other key or nested value."""
    import yaml

    fields: dict[str, tuple[object, yaml.Mark]] = {}
    problems: list[tuple[yaml.Mark, str]] = []
    for key, value in root.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "a nested key"
        if name not in _CHECKS:
            problems.append((key.start_mark, _unknown_key(name)))
        elif name in fields:
            problems.append((key.start_mark, f"{name!r} is given twice"))
        elif not isinstance(value, yaml.ScalarNode):
            problems.append((value.start_mark, f"{name}: needs a single value, got a {value.id}"))
        else:
            fields[name] = (_scalar(name, value), value.start_mark)
    return fields, problems


def _scalar(name: str, node: yaml.ScalarNode) -> object:
    """Return null as None, an integer as int where the field is one, all else as the text written."""
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if name == "seed" and re.fullmatch(r"-?\d{1,20}", node.value, re.ASCII):
        return int(node.value)
    return str(node.value)


def _position(where: str, mark: yaml.Mark | None) -> str:
    return f"{where}:{mark.line + 1}:{mark.column + 1}" if mark is not None else where


def _refuse_unknown_keys(values: Mapping[str, object]) -> None:
    problems = [f"recipe: {_unknown_key(name)}" for name in values if name not in _CHECKS]
    if problems:
        raise RecipeError("\n".join(problems))


def _unknown_key(name: str) -> str:
    return f"unknown key {name!r}{did_you_mean(str(name), _CHECKS)} Known: {', '.join(_CHECKS)}."


def _problems(values: Mapping[str, object]) -> dict[str, str]:
    """Return what is wrong with each value, by field."""
    found = {}
    for name, value in values.items():
        why = _CHECKS[name](value)
        if why is not None:
            found[name] = why
    return found


def _check_size(value: object) -> str | None:
    if not isinstance(value, str):
        return f"size: needs text, got {value!r}. A size is {SIZE_FORMS}"
    try:
        parse_size(value)
    except UsageError as exc:
        return str(exc)
    return None


def _check_name(value: object) -> str | None:
    if isinstance(value, str) and value:
        return None
    return f"method: needs a name that `tersor methods` lists under quantizers, got {value!r}"


def _check_path(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return None
    return f"calibration: needs the path of a text file, got {value!r}"


def _check_seed(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SEED:
        return None
    return f"seed: needs a whole number 0 .. {MAX_SEED}, got {value!r}"


_CHECKS: dict[str, Callable[[object], str | None]] = {
    "size": _check_size,
    "method": _check_name,
    "calibration": _check_path,
    "seed": _check_seed,
}
