"""The names of everything that can be chosen, by kind."""

from __future__ import annotations

from importlib import import_module

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


def _names(target: str | None) -> list[str]:
    if target is None:
        return []
    module, _, attribute = target.partition(":")
    registry: Registry[object] = getattr(import_module(module), attribute)
    return registry.names()
