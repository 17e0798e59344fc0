from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BertModel, GPT2LMHeadModel, LlamaForCausalLM, LlamaModel

from models import tiny_bert, tiny_gpt2, tiny_llama
from tersor.errors import UnknownNameError, UsageError
from tersor.load import load, load_checked


def with_architectures(folder: Path, architectures: list[object]) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": architectures}))
    return folder


@pytest.mark.parametrize(
    ("make", "expected"),
    [(tiny_bert, BertModel), (tiny_llama, LlamaForCausalLM), (tiny_gpt2, GPT2LMHeadModel)],
)
def test_class_is_the_one_that_config_names(make, expected: type, tmp_path: Path) -> None:
    model = load(make(tmp_path / "model"))
    assert type(model) is expected
    assert not model.training
    assert model.dtype == torch.float32


@pytest.mark.parametrize("wanted", ["AutoModel", "LlamaModel", AutoModel, LlamaModel])
def test_class_may_be_chosen_by_name_or_itself(wanted, tmp_path: Path) -> None:
    assert type(load(tiny_llama(tmp_path / "model"), wanted)) is LlamaModel


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_dtype_is_obeyed(dtype, tmp_path: Path) -> None:
    assert load(tiny_llama(tmp_path / "model"), dtype=dtype).dtype == torch.bfloat16


def test_auto_dtype_is_that_of_the_checkpoint(tmp_path: Path) -> None:
    assert load(tiny_llama(tmp_path / "model", dtype=torch.bfloat16), dtype="auto").dtype == torch.bfloat16


@pytest.mark.parametrize("architectures", [[], ["pipeline"], ["logging"], ["NoSuchModel"], [5]])
def test_what_is_no_model_class_falls_back_to_automodel(architectures: list[object], tmp_path: Path) -> None:
    folder = with_architectures(tiny_llama(tmp_path / "model"), architectures)
    assert type(load(folder)) is LlamaModel


def test_unknown_class_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'AutoModelForCausalLM'"):
        load(tiny_llama(tmp_path / "model"), "AutoModelForCasualLM")


def test_weights_that_the_folder_lacks_are_reported(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "model")
    assert load_checked(folder)[1] == []
    _, missing = load_checked(folder, "AutoModelForSequenceClassification")
    assert missing == ["classifier.bias", "classifier.weight"]


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no config\.json"):
        load(tmp_path)


def test_without_transformers_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "import tersor\n"
        "try:\n"
        f"    tersor.load({str(tmp_path)!r})\n"
        "except tersor.errors.MissingExtraError as exc:\n"
        "    print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'tersor[torch]'" in done.stdout
