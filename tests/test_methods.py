"""The list of everything that can be chosen."""

from __future__ import annotations

import pytest

import tersor
from tersor.codec import CODECS
from tersor.errors import UnknownNameError
from tersor.methods import describe_method
from tersor.recipe import KINDS
from tersor.structured import STRUCTURED


def test_methods_lists_every_kind_in_the_documented_order() -> None:
    kinds = list(tersor.methods())
    assert kinds == [
        "codecs",
        "quantizers",
        "pruners",
        "lowrank",
        "structured",
        "sources",
        "exporters",
        "tasks",
    ]


def test_methods_lists_what_the_registries_hold() -> None:
    found = tersor.methods()
    assert found["codecs"] == CODECS.names()
    assert {"gptq", "rtn"} <= set(found["quantizers"])
    assert {"magnitude", "wanda", "sparsegpt"} <= set(found["pruners"])
    assert {"svd", "whitened_svd"} <= set(found["lowrank"])
    assert set(STRUCTURED) == set(found["structured"]) <= set(KINDS)
    assert {"safetensors", "torch", "plain"} <= set(found["sources"])
    assert {"embedding", "perplexity", "kl"} <= set(found["tasks"])


def test_quantizer_is_described_with_its_options() -> None:
    found = describe_method("awq")
    assert found["name"] == "awq"
    assert found["budget"] == "options"
    assert "cpu" in found["targets"]
    assert {"name": "bits", "default": 4, "help": "width of a code in bits"} in found["options"]


def test_description_of_an_unknown_quantizer_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'awq'"):
        describe_method("aqw")


@pytest.mark.parametrize(
    ("name", "kind"), [("wanda", "pruners"), ("svd", "lowrank"), ("heads", "structured")]
)
def test_every_kind_of_method_is_described(name: str, kind: str) -> None:
    found = describe_method(name)
    assert found["kind"] == kind
    assert found["summary"]
    assert found["source"]
    assert found["budget"] is None
