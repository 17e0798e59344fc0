"""Layers and roles from names, and labels that tell paths apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.report.names import labels_of, layer_of, role_of, short_roles


@pytest.mark.parametrize(
    ("name", "layer", "role"),
    [
        ("encoder.layer.11.output.dense.weight", 11, "encoder.layer.#.output.dense.weight"),
        ("h.0.mlp.c_fc.weight", 0, "h.#.mlp.c_fc.weight"),
        ("0.weight", 0, "#.weight"),
        ("model.layers.3.experts.7.w1", 3, "model.layers.#.experts.#.w1"),
        ("layer1.conv2d.weight", None, "layer1.conv2d.weight"),
        ("embeddings.word_embeddings.weight", None, "embeddings.word_embeddings.weight"),
        ("x.99999999999.y", None, "x.99999999999.y"),
        ("", None, ""),
    ],
)
def test_layer_and_role(name: str, layer: int | None, role: str) -> None:
    assert (layer_of(name), role_of(name)) == (layer, role)


def test_short_roles_drop_what_all_share_but_never_become_equal() -> None:
    roles = [
        "bert.encoder.layer.#.output.dense.weight",
        "bert.embeddings.word_embeddings.weight",
        "encoder.#.mlp.weight",
        "decoder.#.mlp.weight",
        "#.weight",
        "head",
    ]
    short = list(short_roles(roles).values())
    assert short == ["output.dense", "embeddings.word_embeddings", *roles[2:5], "head"]


def test_labels_are_the_last_parts_of_paths_and_more_where_needed() -> None:
    assert labels_of(["out/a", "out/b/"]) == ["a", "b"]
    assert labels_of(["one/small", "two/small", "big"]) == ["one/small", "two/small", "big"]
    assert labels_of(["same", "same", "same (2)"]) == ["same", "same (2)", "same (2) (2)"]


@given(st.lists(st.text(alphabet="ab/. ()2", min_size=1), min_size=1, max_size=6))
def test_labels_are_never_equal_or_empty(paths: list[str]) -> None:
    labels = labels_of(paths)
    assert len(set(labels)) == len(paths)
    assert all(labels)
