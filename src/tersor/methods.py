"""The names of everything that can be chosen, by kind."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tersor.registry import Registry

# Kind -> "module:registry"; None: tersor has no methods of that kind.
_REGISTRIES: dict[str, str | None] = {
    "codecs": "tersor.codec:CODECS",
    "quantizers": "tersor.quant:QUANTIZERS",
    "pruners": None,
    "lowrank": None,
    "sources": "tersor.sources:SOURCES",
    "exporters": None,
    "tasks": "tersor.evaluate:TASKS",
}


def methods() -> dict[str, list[str]]:
    """Return the installed codecs, quantizers, pruners, ... by name; no method's own code is imported."""
    return {kind: _names(target) for kind, target in _REGISTRIES.items()}


def describe_quantizer(name: str) -> dict[str, Any]:
    """Return what `tersor methods NAME` shows: the MethodInfo of a quantizer as plain values.

    `default` of an option may be null: the method then chooses by itself, as `help` says.
    Raises: UnknownNameError naming the nearest.
    """
    from tersor.quant import QUANTIZERS

    info = QUANTIZERS.get(name).info
    return {
        "name": info.name,
        "summary": info.summary,
        "budget": info.budget,
        "needs": sorted(info.needs),
        "targets": sorted(info.targets),
        "options": [
            {"name": option_name, "default": option.default, "help": option.help}
            for option_name, option in info.options.items()
        ],
        "source": info.source,
    }


def _names(target: str | None) -> list[str]:
    if target is None:
        return []
    module, _, attribute = target.partition(":")
    registry: Registry[object] = getattr(import_module(module), attribute)
    return registry.names()
