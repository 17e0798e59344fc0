"""Smaller models are saved, packed, loaded and saved again with equal outputs, or refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

import tersor
from structured_models import DECODERS, FAMILIES, VOCABULARY, outputs
from tersor.calibrate import CalibrationText
from tersor.errors import CorruptError, OutputExistsError, UsageError
from tersor.load import load_checked
from tersor.packing import pack, unpack
from tersor.structured import Reduction, StructuredStep, reduce, save_reduced
from tersor.structured.save import original_name

Load = Callable[[str], Any]
Folders = Callable[[str], Path]
STEPS = {
    "layers": {"keep": [0, 2]},
    "heads": {"share": 0.5},
    "neurons": {"share": 0.25},
    "width": {"share": 0.25},
}


def reopened(folder: Path) -> Any:
    model, missing = load_checked(folder, dtype="float32")
    assert missing == []
    return model


def reduced(model: Any, text: CalibrationText, *kinds: str) -> Reduction:
    return reduce(model, text, [StructuredStep(kind, STEPS[kind]) for kind in kinds])


@pytest.mark.parametrize(
    ("family", "kinds"),
    [
        *((family, tuple(STEPS)) for family in FAMILIES),
        *((family, ("heads",)) for family in FAMILIES),
        *(
            (family, (kind,))
            for family in ("bert", "gpt2", "llama")
            for kind in ("layers", "neurons", "width")
        ),
    ],
)
def test_saved_and_loaded_models_say_the_same(
    family: str, kinds: tuple[str, ...], load: Load, folders: Folders, text: CalibrationText, tmp_path: Path
) -> None:
    found = reduced(load(family), text, *kinds)
    save_reduced(found, folders(family), tmp_path / "saved")
    assert torch.equal(outputs(reopened(tmp_path / "saved")), outputs(found.model))


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "gpt2", "llama"])
def test_archives_of_smaller_models_say_the_same(
    family: str, load: Load, folders: Folders, text: CalibrationText, tmp_path: Path
) -> None:
    found = reduced(load(family), text, "heads", "neurons")
    expected = outputs(found.model)
    save_reduced(found, folders(family), tmp_path / "saved")
    pack(tmp_path / "saved", tmp_path / "packed")
    model = reopened(tmp_path / "packed")
    assert torch.equal(outputs(model), expected)
    model.save_pretrained(tmp_path / "again")
    assert torch.equal(outputs(reopened(tmp_path / "again")), expected)
    found.model.save_pretrained(tmp_path / "directly")
    assert torch.equal(outputs(reopened(tmp_path / "directly")), expected)
    unpack(tmp_path / "packed", tmp_path / "unpacked")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "unpacked" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()


def test_a_smaller_model_is_quantized_like_any_other(
    load: Load, folders: Folders, text: CalibrationText, tmp_path: Path
) -> None:
    save_reduced(reduced(load("gpt2"), text, "heads"), folders("gpt2"), tmp_path / "saved")
    (tmp_path / "text").write_text("Some words to calibrate on. " * 20)
    recipe = {"method": "fixed", "options": {"bits": 8}, "calibration": str(tmp_path / "text")}
    tersor.compress(tmp_path / "saved", tmp_path / "small", recipe=recipe)
    model = reopened(tmp_path / "small")
    assert model.transformer.h[0].attn.num_heads == 2
    expected = outputs(reopened(tmp_path / "saved"))
    assert (outputs(model) - expected).abs().mean() < 0.1 * expected.abs().mean()


@pytest.mark.parametrize("family", DECODERS)
def test_smaller_decoders_generate(
    family: str, load: Load, folders: Folders, text: CalibrationText, tmp_path: Path
) -> None:
    save_reduced(reduced(load(family), text, "layers", "heads"), folders(family), tmp_path / "saved")
    model = reopened(tmp_path / "saved")
    written = model.generate(
        torch.arange(7, 12)[None], max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    # With a cache of keys and values as without one.
    for end in range(5, 11):
        logits = outputs(model, written[:, :end])[0, -1]
        assert logits[written[0, end]] >= logits.max() - 1e-4


@pytest.mark.parametrize(
    ("family", "share", "says"),
    [
        ("llama", 0.5, {"num_attention_heads": 2, "num_key_value_heads": 1}),
        ("qwen3", 0.5, {"num_attention_heads": 2, "num_key_value_heads": 1}),
        ("bert", 0.5, None),
        ("gpt2", 0.25, None),
    ],
)
def test_config_says_heads_where_it_can(
    family: str,
    share: float,
    says: dict[str, int] | None,
    load: Load,
    folders: Folders,
    text: CalibrationText,
    tmp_path: Path,
) -> None:
    found = reduce(load(family), text, [StructuredStep("heads", {"share": share})])
    save_reduced(found, folders(family), tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    if says is not None:
        assert found.module_shapes == {}
        assert "quantization_config" not in config
        assert {name: config[name] for name in says} == says
    else:
        assert len(found.module_shapes) == 3
        assert config["quantization_config"]["quant_method"] == "tersor"


def test_a_head_count_that_the_config_class_refuses_goes_through_the_hook(
    text: CalibrationText, tmp_path: Path
) -> None:
    # Llama's configuration wants hidden_size % num_attention_heads == 0: 32 channels are no multiple of 3 heads.
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=64,
        pad_token_id=None,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(tmp_path / "original")
    found = reduce(model, text, [StructuredStep("heads", {"share": 0.25})])
    assert found.module_shapes == {"layers.0.self_attn": {"heads": 3, "key_value_heads": 3, "head_size": 8}}
    save_reduced(found, tmp_path / "original", tmp_path / "saved")
    assert torch.equal(outputs(reopened(tmp_path / "saved")), outputs(found.model))


def test_a_new_task_head_is_put_on_a_smaller_encoder(
    load: Load, folders: Folders, text: CalibrationText, tmp_path: Path
) -> None:
    found = reduced(load("bert"), text, "heads")
    save_reduced(found, folders("bert"), tmp_path / "saved")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", num_labels=3)
    for name, value in found.model.state_dict().items():
        assert torch.equal(model.bert.state_dict()[name], value), name
    model.save_pretrained(tmp_path / "trained")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "trained")
    assert torch.equal(outputs(again.eval()), outputs(model.eval()))


def test_without_tersor_nothing_loads(
    load: Load, folders: Folders, text: CalibrationText, tmp_path: Path
) -> None:
    save_reduced(reduced(load("bert"), text, "heads"), folders("bert"), tmp_path / "saved")
    pack(tmp_path / "saved", tmp_path / "packed")
    code = (
        "import sys\nfrom transformers import AutoModel\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        AutoModel.from_pretrained(path)\n        print('loaded')\n"
        "    except Exception as error:\n        print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "saved"), str(tmp_path / "packed")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["RuntimeError", "OSError"]


class TestHostileConfigs:
    @pytest.fixture
    def folder(self, load: Load, folders: Folders, text: CalibrationText, tmp_path: Path) -> Path:
        save_reduced(reduced(load("bert"), text, "heads"), folders("bert"), tmp_path / "saved")
        return tmp_path / "saved"

    @pytest.mark.parametrize(
        ("modules", "message"),
        [
            ([1], "tersor_modules is list, not an object"),
            (
                {"encoder.layer.0.attention.self": 3},
                "is 3; needed: integers heads, key_value_heads, head_size",
            ),
            ({"encoder.layer.0.attention.self": {"heads": 2}}, "needed: integers"),
            (
                {"encoder.layer.0.attention.self": {"heads": 2, "key_value_heads": 2, "head_size": True}},
                "needed: integers",
            ),
            (
                {"encoder.layer.0.attention.self": {"heads": 3, "key_value_heads": 2, "head_size": 8}},
                "a multiple of the groups",
            ),
            (
                {"encoder.layer.0.attention.self": {"heads": 1 << 19, "key_value_heads": 1, "head_size": 8}},
                "at most 1048576 wide",
            ),
            (
                {"pooler": {"heads": 2, "key_value_heads": 2, "head_size": 8}},
                "'pooler', which is no attention layer",
            ),
        ],
    )
    def test_modules_that_make_no_sense_are_refused(
        self, folder: Path, modules: object, message: str
    ) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"]["tersor_modules"] = modules
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(CorruptError, match=message):
            load_checked(folder)

    def test_modules_of_another_size_than_the_weights_are_refused(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"]["tersor_modules"]["encoder.layer.0.attention.self"]["heads"] = 1
        config["quantization_config"]["tersor_modules"]["encoder.layer.0.attention.self"][
            "key_value_heads"
        ] = 1
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(RuntimeError, match="size"):
            load_checked(folder)

    def test_modules_without_attention_are_refused(
        self, folder: Path, folders: Folders, tmp_path: Path
    ) -> None:
        from models import tiny_albert

        other = tiny_albert(tmp_path / "albert")
        config = json.loads((other / "config.json").read_text())
        config["quantization_config"] = json.loads((folder / "config.json").read_text())[
            "quantization_config"
        ]
        (other / "config.json").write_text(json.dumps(config))
        with pytest.raises(CorruptError, match="has tersor_modules, but AlbertModel"):
            load_checked(other)


class TestSaving:
    def test_dtypes_are_those_of_the_source(
        self, load: Load, folders: Folders, text: CalibrationText, tmp_path: Path
    ) -> None:
        shutil.copytree(folders("llama"), tmp_path / "half")
        AutoModelForCausalLM.from_pretrained(tmp_path / "half").bfloat16().save_pretrained(tmp_path / "half")
        save_reduced(reduced(load("llama"), text, "layers"), tmp_path / "half", tmp_path / "saved")
        with safe_open(tmp_path / "saved" / "model.safetensors", "pt") as file:
            names = list(file.keys())
            assert {file.get_slice(name).get_dtype() for name in names} == {"BF16"}
        assert "lm_head.weight" not in names, "tied to the embeddings"
        assert "model.layers.1.mlp.up_proj.weight" in names

    def test_side_files_are_copied(
        self, load: Load, folders: Folders, text: CalibrationText, tmp_path: Path
    ) -> None:
        save_reduced(reduced(load("bert"), text, "neurons"), folders("bert"), tmp_path / "saved")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            assert (tmp_path / "saved" / name).read_bytes() == (folders("bert") / name).read_bytes()

    def test_names_are_those_of_the_original_but_for_the_layers(self) -> None:
        assert original_name("h.1.mlp.0.weight", "h", [0, 2]) == "h.2.mlp.0.weight"
        assert original_name("classifier.0.weight", "h", [1, 2]) == "classifier.0.weight"

    def test_a_folder_with_something_in_it_is_left_alone(
        self, load: Load, folders: Folders, text: CalibrationText, tmp_path: Path
    ) -> None:
        (tmp_path / "saved").mkdir()
        found = reduced(load("bert"), text, "neurons")
        (tmp_path / "saved" / "mine").touch()
        with pytest.raises(OutputExistsError, match="exists already"):
            save_reduced(found, folders("bert"), tmp_path / "saved")

    def test_a_source_without_configuration_is_refused(
        self, load: Load, text: CalibrationText, tmp_path: Path
    ) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match=r"no config\.json"):
            save_reduced(reduced(load("bert"), text, "neurons"), tmp_path / "empty", tmp_path / "saved")
