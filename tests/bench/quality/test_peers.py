"""What peers get and give: the worker's protocol, importance, restored checkpoints, llama.cpp's mixtures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models import tiny_bert, tiny_gpt2, tiny_llama
from tersor.bench.child import PeerFailedError, check_interpreter
from tersor.bench.quality.checkpoint import PeerCheckpoint
from tersor.bench.quality.child import find_interpreter, run_peer
from tersor.bench.quality.ggml import BASE, TYPES, choose_type
from tersor.bench.quality.importance import input_mean_squares
from tersor.bench.quality.peers import QUALITY_PEERS, QualityJob, Tensor
from tersor.calibrate import CalibrationText
from tersor.errors import UsageError
from tersor.load import load_checked


def small_job(folder: Path) -> QualityJob:
    """Two tensors, one with the importance of its inputs."""
    parts = {name: folder / name for name in ("tensors", "importance", "out")}
    for part in parts.values():
        part.mkdir()
    rng = np.random.default_rng(0)
    np.save(parts["tensors"] / "0.npy", rng.normal(0, 1, (4, 8)).astype(np.float32))
    np.save(parts["tensors"] / "1.npy", rng.normal(0, 1, 8).astype(np.float32))
    np.save(parts["importance"] / "0.npy", np.ones(8, np.float32))
    names = json.dumps([["a.weight", "linear", False], ["a.bias", "other", False]])
    (parts["tensors"] / "names.json").write_text(names)
    return QualityJob("", "", "FP16", str(parts["tensors"]), str(parts["importance"]), str(parts["out"]))


def test_worker_quantizes_a_job_in_its_own_process(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    answer = run_peer("half", job)
    assert answer == {"version": f"numpy {np.__version__}", "n_bytes": 2 * 40}
    for number in (0, 1):
        original = np.load(tmp_path / "tensors" / f"{number}.npy")
        restored = np.load(tmp_path / "out" / f"{number}.npy")
        assert restored.dtype == np.float32
        assert np.array_equal(restored, original.astype(np.float16).astype(np.float32))


def test_worker_that_fails_says_why(tmp_path: Path) -> None:
    job = QualityJob("", "", "FP16", str(tmp_path / "nowhere"), "", "")
    with pytest.raises(PeerFailedError, match=r"half FP16: exit code 1: FileNotFoundError: .*nowhere"):
        run_peer("half", job)


def test_interpreter_is_the_first_that_has_the_packages() -> None:
    assert find_interpreter("half", [sys.executable, "nowhere"]) == (
        sys.executable,
        f"numpy {np.__version__}",
    )


def test_interpreter_that_does_not_exist_is_named() -> None:
    check_interpreter(sys.executable)
    with pytest.raises(UsageError, match="'nowhere/bin/python': no such program"):
        check_interpreter("nowhere/bin/python")


@pytest.mark.parametrize("name", ["half", "ggml", "hqq", "nncodec", "llmcompressor", "autoround"])
def test_peers_say_their_settings_without_being_installed(name: str) -> None:
    assert QUALITY_PEERS.get(name).settings
    assert QUALITY_PEERS.get(name).__doc__


def test_importance_is_the_mean_square_of_each_input(tmp_path: Path) -> None:
    model, _ = load_checked(tiny_bert(tmp_path / "bert", layers=1), dtype="float32")
    seen = []
    handle = model.encoder.layer[0].intermediate.dense.register_forward_hook(
        lambda _module, inputs, _output: seen.append(inputs[0][0].numpy().copy())
    )
    found = input_mean_squares(model, CalibrationText(((5, 6, 7, 8, 9), (10, 11, 12, 13)), "test"))
    handle.remove()
    expected = np.mean(np.square(np.concatenate(seen)), axis=0)
    np.testing.assert_allclose(
        found["encoder.layer.0.intermediate.dense.weight"], expected, rtol=1e-5, atol=1e-7
    )
    assert not any("embeddings" in name for name in found)


def test_checkpoint_of_the_same_tensors_is_the_same_model(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "bert", layers=1)
    model, _ = load_checked(folder, dtype="float32")
    checkpoint = PeerCheckpoint(folder, tmp_path / "work", model)
    restored, missing = load_checked(
        checkpoint.restored(checkpoint.tensors, tmp_path / "again"), dtype="float32"
    )
    assert not missing
    for name, value in model.state_dict().items():
        assert torch.equal(restored.state_dict()[name], value), name


def test_checkpoint_says_what_each_tensor_is(tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "llama", layers=1, tied=False)
    model, _ = load_checked(folder, "AutoModelForCausalLM", dtype="float32")
    checkpoint = PeerCheckpoint(folder, tmp_path / "work", model)
    kinds = {name: kind for name, kind, _ in json.loads((checkpoint.tensors / "names.json").read_text())}
    assert kinds["lm_head.weight"] == "head"
    assert kinds["model.embed_tokens.weight"] == "embedding"
    assert kinds["model.layers.0.mlp.up_proj.weight"] == "linear"
    assert kinds["model.norm.weight"] == "other"


def test_transposed_matrices_are_handed_over_as_out_in_and_restored(tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path / "gpt2", layers=1)
    model, _ = load_checked(folder, "AutoModelForCausalLM", dtype="float32")
    checkpoint = PeerCheckpoint(folder, tmp_path / "work", model)
    named = json.loads((checkpoint.tensors / "names.json").read_text())
    (number,) = (i for i, (name, _, _) in enumerate(named) if name.endswith("attn.c_attn.weight"))
    assert named[number][1:] == ["linear", True]
    weight = model.transformer.h[0].attn.c_attn.weight.detach().numpy()  # (in, out)
    assert np.array_equal(np.load(checkpoint.tensors / f"{number}.npy"), weight.T)
    restored, _ = load_checked(
        checkpoint.restored(checkpoint.tensors, tmp_path / "again"), "AutoModelForCausalLM", dtype="float32"
    )
    assert np.array_equal(restored.transformer.h[0].attn.c_attn.weight.detach().numpy(), weight)


# llama-quant.cpp's llama_tensor_get_type for a Llama of 16 layers with importance matrix and less than 4 query heads
# to a key head: (setting, name, role) -> type.
MIXTURES = [
    ("Q8_0", "lm_head.weight", "head", "q8_0"),
    ("Q4_K_M", "lm_head.weight", "head", "q6_K"),
    ("Q2_K", "lm_head.weight", "head", "q6_K"),
    ("IQ3_XXS", "lm_head.weight", "head", "q5_K"),
    ("IQ2_M", "lm_head.weight", "head", "q5_K"),
    ("Q4_K_M", "model.embed_tokens.weight", "embedding", "q4_K"),
    ("IQ2_M", "model.embed_tokens.weight", "embedding", "iq3_s"),
    ("IQ3_XXS", "model.embed_tokens.weight", "embedding", "iq3_s"),
    # use_more_bits: the first and last eighth, and every third between.
    ("Q4_K_M", "model.layers.0.self_attn.v_proj.weight", "linear", "q6_K"),
    ("Q4_K_M", "model.layers.2.self_attn.v_proj.weight", "linear", "q4_K"),
    ("Q4_K_M", "model.layers.4.mlp.down_proj.weight", "linear", "q6_K"),
    ("Q4_K_M", "model.layers.5.mlp.down_proj.weight", "linear", "q4_K"),
    ("Q4_K_M", "model.layers.14.mlp.down_proj.weight", "linear", "q6_K"),
    ("Q5_K_M", "model.layers.15.self_attn.v_proj.weight", "linear", "q6_K"),
    ("Q4_K_M", "model.layers.0.self_attn.o_proj.weight", "linear", "q4_K"),
    ("Q3_K_M", "model.layers.1.self_attn.v_proj.weight", "linear", "q5_K"),
    ("Q3_K_M", "model.layers.2.self_attn.v_proj.weight", "linear", "q4_K"),
    ("Q3_K_M", "model.layers.0.mlp.down_proj.weight", "linear", "q5_K"),
    ("Q3_K_M", "model.layers.1.mlp.down_proj.weight", "linear", "q4_K"),
    ("Q3_K_M", "model.layers.9.self_attn.o_proj.weight", "linear", "q4_K"),
    ("Q3_K_M", "model.layers.9.mlp.up_proj.weight", "linear", "q3_K"),
    ("Q2_K", "model.layers.9.self_attn.v_proj.weight", "linear", "q3_K"),
    ("Q2_K", "model.layers.9.mlp.down_proj.weight", "linear", "q3_K"),
    ("Q2_K", "model.layers.9.self_attn.o_proj.weight", "linear", "q3_K"),
    ("Q2_K", "model.layers.9.mlp.gate_proj.weight", "linear", "q2_K"),
    ("IQ3_XXS", "model.layers.9.self_attn.q_proj.weight", "linear", "iq2_s"),
    ("IQ3_XXS", "model.layers.9.self_attn.k_proj.weight", "linear", "iq2_s"),
    ("IQ3_XXS", "model.layers.9.self_attn.v_proj.weight", "linear", "iq3_xxs"),
    ("IQ3_XXS", "model.layers.9.self_attn.o_proj.weight", "linear", "iq3_s"),
    ("IQ2_M", "model.layers.9.self_attn.v_proj.weight", "linear", "iq3_s"),
    ("IQ2_M", "model.layers.1.mlp.down_proj.weight", "linear", "iq3_s"),
    ("IQ2_M", "model.layers.2.mlp.down_proj.weight", "linear", "iq2_s"),
    ("IQ4_XS", "model.layers.0.mlp.down_proj.weight", "linear", "iq4_xs"),
    # GPT-2's names: queries, keys and values in one matrix.
    ("Q3_K_M", "h.9.attn.c_attn.weight", "linear", "q4_K"),
    ("Q4_K_M", "h.9.attn.c_attn.weight", "linear", "q5_K"),
    ("Q5_K_M", "h.9.attn.c_attn.weight", "linear", "q6_K"),
    ("Q2_K", "h.9.attn.c_attn.weight", "linear", "q2_K"),
    ("Q4_K_M", "h.0.mlp.c_proj.weight", "linear", "q6_K"),
    ("Q3_K_M", "h.9.attn.c_proj.weight", "linear", "q4_K"),
    # BERT's names.
    ("Q3_K_M", "encoder.layer.9.attention.output.dense.weight", "linear", "q4_K"),
    ("Q4_K_M", "encoder.layer.0.output.dense.weight", "linear", "q6_K"),
    ("Q4_K_M", "encoder.layer.0.attention.output.dense.weight", "linear", "q4_K"),
    ("Q4_K_M", "encoder.layer.0.attention.self.value.weight", "linear", "q6_K"),
    ("IQ3_XXS", "encoder.layer.9.attention.self.query.weight", "linear", "iq2_s"),
]


@pytest.mark.parametrize(("setting", "name", "role", "expected"), MIXTURES)
def test_types_follow_the_mixtures_of_llama_cpp(setting: str, name: str, role: str, expected: str) -> None:
    tensor = Tensor(0, name, role, np.zeros((1, 1), np.float32), None)
    assert choose_type(setting, tensor, n_layers=16) == expected


def test_every_type_of_a_mixture_is_known() -> None:
    assert set(BASE.values()) <= set(TYPES)
