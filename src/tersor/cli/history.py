"""What was done to an archive and how it measured, as `inspect` prints it: a few lines for each entry.

The history is a file beside the weights that anybody may have written, so whatever is not as it should be is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN_METRICS = 4


def history_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """The entries of an archive's history, numbered; the JSON object has them whole."""
    lines = []
    for number, entry in enumerate(entries, start=1):
        lines.append(f"{number}. {_line(entry)}".rstrip())
        lines += [f"   {line}" for line in _step_lines(entry)]
    return "\n".join(lines)


def _line(entry: Mapping[str, Any]) -> str:
    kind = str(entry.get("kind"))
    if kind == "evaluate":
        return f"evaluate {_task(entry)}: {_figures(_last_model(entry)) or 'no figures'}"
    if kind == "finetune":
        return _joined(f"finetune {_task(entry)}", _figures(entry.get("metrics")))
    if kind == "step":
        return _joined(f"step {_step(entry.get('step'))}", _measured(entry))
    return _joined(kind, ", ".join(part for part in (_size(entry), _measured(entry.get("loss"))) if part))


def _joined(what: str, figures: str) -> str:
    return f"{what}: {figures}" if figures else what


def _step_lines(entry: Mapping[str, Any]) -> list[str]:
    """What single steps of a compression measured."""
    steps = entry.get("steps")
    rows = [row for row in steps if isinstance(row, Mapping)] if isinstance(steps, list) else []
    return [_joined(f"after {_step(row.get('step'))}", _measured(row)) for row in rows]


def _size(entry: Mapping[str, Any]) -> str:
    """ "0.1998 of the original, 6.39 bits per weight", "" if it is not told."""
    output = entry.get("output")
    if not isinstance(output, Mapping) or not isinstance(output.get("ratio"), int | float):
        return ""
    bits = output.get("bits_per_weight")
    text = f"{output['ratio']:.4g} of the original"
    return f"{text}, {bits:.3g} bits per weight" if isinstance(bits, int | float) else text


def _task(entry: Mapping[str, Any]) -> str:
    """The task and what it was measured on."""
    return " on ".join(str(entry[key]) for key in ("task", "data") if entry.get(key))


def _last_model(entry: Mapping[str, Any]) -> object:
    """The metrics of the last model, which is the archive itself."""
    models = entry.get("models")
    last = models[-1] if isinstance(models, list) and models else None
    return last.get("metrics") if isinstance(last, Mapping) else None


def _figures(metrics: object) -> str:
    """ "f1 86.2 ± 0.44 % (-0.12 from the original, p=0.43), ...", "" without any."""
    rows = [metric for metric in metrics if isinstance(metric, Mapping)] if isinstance(metrics, list) else []
    shown = [_figure(metric) for metric in rows[:_SHOWN_METRICS]]
    more = f", and {len(rows) - _SHOWN_METRICS} more" if len(rows) > _SHOWN_METRICS else ""
    return ", ".join(shown) + more


def _figure(metric: Mapping[str, Any]) -> str:
    split = f"{metric['split']} " if metric.get("split") else ""
    text = f"{split}{metric.get('name')} {_number(metric.get('value'))}"
    if metric.get("stderr"):
        text += f" ± {_number(metric['stderr'], 2)}"
    if metric.get("unit"):
        text += f" {metric['unit']}"
    changes = []
    if metric.get("difference") is not None:
        changes.append(f"{_number(metric['difference'], 2, '+')} from the original")
    if metric.get("p_value") is not None:
        changes.append(f"p={_number(metric['p_value'], 2)}")
    return f"{text} ({', '.join(changes)})" if changes else text


def _measured(row: object) -> str:
    """ "embedding 0.0123 ± 0.0004" of {"metric", "value", "stderr"}; "" of anything else."""
    if not isinstance(row, Mapping) or "metric" not in row:
        return ""
    return _figure({"name": row["metric"], "value": row.get("value"), "stderr": row.get("stderr")})


def _step(step: object) -> str:
    """A step of a recipe as it is written there: "prune {method: magnitude, sparsity: 0.5}"."""
    if not isinstance(step, Mapping):
        return str(step)
    return " ".join(f"{name} {_options(value)}" for name, value in step.items() if name != "evaluate")


def _options(value: object) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return "{" + ", ".join(f"{key}: {given}" for key, given in value.items()) + "}"


def _number(value: object, digits: int = 5, sign: str = "") -> str:
    return f"{value:{sign}.{digits}g}" if isinstance(value, int | float) else str(value)
