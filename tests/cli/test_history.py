from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.cli.history import history_text

METRIC = {"name": "f1", "value": 86.2134, "unit": "%", "stderr": 0.443, "difference": -0.12, "p_value": 0.43}


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            {"kind": "evaluate", "task": "ner", "data": "eng.testb", "models": [{}, {"metrics": [METRIC]}]},
            "evaluate ner on eng.testb: f1 86.213 ± 0.44 % (-0.12 from the original, p=0.43)",
        ),
        ({"kind": "evaluate", "task": "kl"}, "evaluate kl: no figures"),
        (
            {"kind": "finetune", "task": "ner", "metrics": [{"split": "dev", "name": "f1", "value": 80}] * 6},
            "finetune ner: " + ", ".join(["dev f1 80"] * 4) + ", and 2 more",
        ),
        ({"kind": "finetune", "task": "lm"}, "finetune lm"),
        ({"kind": "compress", "recipe": {}}, "compress"),
        (
            {
                "kind": "compress",
                "output": {"ratio": 0.19981, "bits_per_weight": 6.394},
                "loss": {"metric": "kl", "value": 0.1, "stderr": 0.01},
            },
            "compress: 0.1998 of the original, 6.39 bits per weight, kl 0.1 ± 0.01",
        ),
        (
            {"kind": "step", "step": {"prune": {"sparsity": 0.5}}, "metric": "kl", "value": 0.1},
            "step prune {sparsity: 0.5}: kl 0.1",
        ),
        ({"kind": "step", "step": "x", "facts": {}}, "step x"),
    ],
)
def test_an_entry_is_one_line(entry: dict[str, object], line: str) -> None:
    assert history_text([entry]) == f"1. {line}"


def test_measured_steps_of_a_compression_have_lines_of_their_own() -> None:
    rows = [
        {
            "step": {"heads": {"share": 0.25}, "evaluate": "embedding"},
            "metric": "embedding",
            "value": 0.02,
            "n": 9,
        },
        {"step": {"quantize": {"method": "rtn"}}, "metric": "embedding", "value": 0.03, "stderr": 0.001},
    ]
    assert history_text([{"kind": "compress", "steps": rows}, {"kind": "finetune"}]).splitlines() == [
        "1. compress",
        "   after heads {share: 0.25}: embedding 0.02",
        "   after quantize {method: rtn}: embedding 0.03 ± 0.001",
        "2. finetune",
    ]


json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "name"]), inner),
    max_leaves=6,
)
keys = st.sampled_from(
    ["task", "data", "models", "metrics", "steps", "step", "loss", "output", "metric", "value"]
)


@given(st.sampled_from(["compress", "evaluate", "finetune", "step"]), st.dictionaries(keys, json))
def test_whatever_a_history_holds_becomes_text(kind: str, facts: dict[str, object]) -> None:
    assert history_text([{"kind": kind, **facts}]).startswith(f"1. {kind}")
