"""Names in a checkpoint matched to names in the model that was loaded from it.

They differ by a prefix: a checkpoint of the bare model says `h.0.attn.weight`, a model with a head
`transformer.h.0.attn.weight`, or the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def match_names(
    checkpoint: Mapping[str, tuple[int, ...]], model: Mapping[str, tuple[int, ...]]
) -> dict[str, str]:
    """Checkpoint name -> model name of the same shape; equal names first, then one prefix added or removed.

    A name without a counterpart is absent. No model name is used twice.
    """
    matched = {name: name for name, shape in checkpoint.items() if model.get(name) == shape}
    for prefix in _prefixes(checkpoint, model):
        taken = set(matched.values())
        for name, shape in checkpoint.items():
            other = _with_prefix(name, prefix)
            if name not in matched and other not in taken and model.get(other) == shape:
                matched[name] = other
                taken.add(other)
    return matched


def _prefixes(checkpoint: Mapping[str, object], model: Mapping[str, object]) -> Sequence[tuple[str, bool]]:
    """(first component with its dot, whether to add it), most frequent first."""
    counts: dict[tuple[str, bool], int] = {}
    for names, others, is_added in ((model, checkpoint, True), (checkpoint, model, False)):
        for name in names:
            head, dot, rest = name.partition(".")
            if dot and rest in others:
                key = head + dot, is_added
                counts[key] = counts.get(key, 0) + 1
    return sorted(counts, key=lambda key: (-counts[key], key))


def _with_prefix(name: str, prefix: tuple[str, bool]) -> str:
    text, is_added = prefix
    return text + name if is_added else name.removeprefix(text)
