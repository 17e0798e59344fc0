"""What lm-evaluation-harness needs of us; the harness itself is no dependency (docs/evaluate.md has a whole run)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.quantizers import AutoQuantizationConfig

import tersor


def harness(folder: Path) -> Path:
    """A package that is called as the harness is, and prints its arguments."""
    package = folder / "lm_eval"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "__init__.py").touch()
    (package / "models" / "huggingface.py").touch()
    code = "import sys\ndef cli_evaluate():\n    print('harness', *sys.argv[1:], 'tersor' in sys.modules)\n"
    (package / "__main__.py").write_text(code)
    return folder


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)


def test_arguments_go_to_the_harness_after_import_tersor(tmp_path: Path) -> None:
    done = run("-m", "tersor.evaluate.harness", "--model", "hf", folder=harness(tmp_path))
    assert (done.returncode, done.stdout) == (0, "harness --model hf True\n")


def test_without_the_harness_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['lm_eval'] = None; from tersor.evaluate.harness import main; main()"
    done = run("-c", code, folder=tmp_path)
    assert done.returncode == 1
    assert "pip install 'lm-eval[hf]'" in done.stderr


def test_the_hook_is_there_before_the_harness_reads_a_config(tmp_path: Path) -> None:
    code = (
        "import tersor, tersor._hook; asked = []; tersor._hook.import_module = asked.append\n"
        "import lm_eval.models.huggingface; print(*asked)"
    )
    assert run("-c", code, folder=harness(tmp_path)).stdout == "tersor.hf\n"


def test_an_archive_loads_as_the_harness_loads_it(folders: dict[str, Path], tmp_path: Path) -> None:
    """It makes an object of config.json's quantization_config and hands that over with the path."""
    tersor.pack(folders["llama"], tmp_path / "packed")
    config = AutoConfig.from_pretrained(tmp_path / "packed")
    quantization = AutoQuantizationConfig.from_dict(config.quantization_config)
    with pytest.warns(UserWarning, match="already has a `quantization_config`"):
        model = AutoModelForCausalLM.from_pretrained(
            tmp_path / "packed", dtype="auto", quantization_config=quantization, trust_remote_code=False
        )
    expected = AutoModelForCausalLM.from_pretrained(folders["llama"])
    for name, weight in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight)
