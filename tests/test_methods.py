"""The list of everything that can be chosen."""

from __future__ import annotations

import tersor
from tersor.codec import CODECS


def test_methods_lists_every_kind_in_the_documented_order() -> None:
    kinds = list(tersor.methods())
    assert kinds == ["codecs", "quantizers", "pruners", "lowrank", "sources", "exporters", "tasks"]


def test_methods_lists_what_the_registries_hold() -> None:
    found = tersor.methods()
    assert found["codecs"] == CODECS.names()
    assert {"gptq", "rtn"} <= set(found["quantizers"])
    assert {"safetensors", "torch", "plain"} <= set(found["sources"])
    assert {"embedding", "perplexity", "kl"} <= set(found["tasks"])
