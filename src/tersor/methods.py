"""The names of everything that can be chosen, by kind."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tersor.errors import UnknownNameError
from tersor.registry import Registry, did_you_mean

# Kind -> "module:registry"; None: tersor has no methods of that kind.
_REGISTRIES: dict[str, str | None] = {
    "codecs": "tersor.codec:CODECS",
    "quantizers": "tersor.quant:QUANTIZERS",
    "pruners": "tersor.prune:PRUNERS",
    "lowrank": "tersor.lowrank:FACTORIZERS",
    "structured": "tersor.structured:STRUCTURED",
    "sources": "tersor.sources:SOURCES",
    "exporters": None,
    "tasks": "tersor.evaluate:TASKS",
}
# Kinds whose entries describe themselves.
DESCRIBED = ("quantizers", "pruners", "lowrank", "structured")


def methods() -> dict[str, list[str]]:
    """Return the installed codecs, quantizers, pruners, ... by name; no method's own code is imported."""
    return {kind: _registry(target).names() if target else [] for kind, target in _REGISTRIES.items()}


def describe_method(name: str) -> dict[str, Any]:
    """Return what `tersor methods NAME` shows of a quantizer, pruner, factorizer or structured step, as plain values.

    `default` of an option may be null: the method then chooses by itself, as `help` says. budget and targets are
    those of quantizers; null and [] of others.
    Raises: UnknownNameError naming the nearest.
    """
    registries = {kind: _registry(_REGISTRIES[kind]) for kind in DESCRIBED}
    kind = next((kind for kind, registry in registries.items() if name in registry), None)
    if kind is None:
        known = [known for registry in registries.values() for known in registry.names()]
        raise UnknownNameError(
            f"unknown method {name!r}{did_you_mean(name, known)} Known: {', '.join(known)}."
        )
    found = registries[kind].get(name)
    info = getattr(found, "info", found)
    return {
        "name": info.name,
        "kind": kind,
        "summary": info.summary,
        "budget": getattr(info, "budget", None),
        "needs": sorted(getattr(info, "needs", ())),
        "targets": sorted(getattr(info, "targets", ())),
        "options": [
            {"name": option_name, "default": option.default, "help": option.help}
            for option_name, option in info.options.items()
        ],
        "source": info.source,
    }


def _registry(target: str | None) -> Registry[Any]:
    assert target is not None
    module, _, attribute = target.partition(":")
    registry: Registry[Any] = getattr(import_module(module), attribute)
    return registry
