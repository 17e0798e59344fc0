"""An archive rewritten with some tensors replaced: the rest stays what it is, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from archives import small_lossy, write_archive
from models import tiny_bert
from tersor.archive.index import FolderRecord
from tersor.archive.reader import open_archive
from tersor.archive.verify import verify
from tersor.errors import ShapeError, UnknownNameError, UsageError
from tersor.layouts.base import Dense
from tersor.load import load
from tersor.pipeline import compress
from tersor.pipeline.rewrite import Changes, rewrite
from tersor.pipeline.stored_values import stored_value
from tersor.types import TensorSpec

NORM = "encoder.layer.0.output.LayerNorm.weight"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    folder = tmp_path_factory.mktemp("rewrite")
    compress(tiny_bert(folder / "bert"), folder / "small", size="0.2x", calibration=text)
    return folder / "small"


def _digests(folder: Path) -> dict[str, bytes | None]:
    with open_archive(folder) as archive:
        return {name: archive.digest(name) for name in archive}


def test_nothing_replaced_gives_the_same_tensors_and_a_sound_archive(small: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    n_bytes = rewrite(small, Changes(), tmp_path / "out")
    assert _digests(tmp_path / "out") == _digests(small)
    assert verify(tmp_path / "out")["ok"]
    assert abs(n_bytes - (small / "model.tersor.safetensors").stat().st_size) < 64


def test_rewriting_is_deterministic(small: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rewrite(small, Changes(), tmp_path / name, threads=1 if name == "a" else 2)
    first, second = (tmp_path / name / "model.tersor.safetensors" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_a_replaced_tensor_is_there_and_the_others_are_untouched(small: Path, tmp_path: Path) -> None:
    with open_archive(small) as archive:
        new = archive[NORM] + np.float32(0.25)
    (tmp_path / "out").mkdir()
    rewrite(
        small,
        Changes({NORM: Dense(new)}, provenance={"finetune": {"task": "ner"}}),
        tmp_path / "out",
    )
    with open_archive(tmp_path / "out") as archive:
        np.testing.assert_array_equal(archive[NORM], new)
        assert archive.provenance["finetune"] == {"task": "ner"}
        assert archive.provenance["recipe"]["size"] == "0.2x"
    before, after = _digests(small), _digests(tmp_path / "out")
    assert {name for name in before if before[name] != after[name]} == {NORM}
    assert load(tmp_path / "out").encoder.layer[0].output.LayerNorm.weight.tolist() == new.tolist()


def test_an_added_head_and_a_new_configuration_load(small: Path, tmp_path: Path) -> None:
    config = json.loads((small / "config.json").read_text())
    config.pop("quantization_config")
    config |= {
        "architectures": ["BertForTokenClassification"],
        "id2label": {"0": "O", "1": "B-X", "2": "I-X"},
    }
    config["label2id"] = {"O": 0, "B-X": 1, "I-X": 2}
    weight = np.arange(96, dtype=np.float32).reshape(3, 32)
    added = {
        "classifier.weight": (TensorSpec("classifier.weight", "F32", (3, 32)), Dense(weight)),
        "classifier.bias": (TensorSpec("classifier.bias", "F32", (3,)), Dense(np.ones(3, np.float32))),
    }
    (tmp_path / "out").mkdir()
    rewrite(small, Changes(added=added, config=json.dumps(config).encode()), tmp_path / "out")
    model = load(tmp_path / "out")
    assert type(model).__name__ == "BertForTokenClassification"
    assert model.classifier.weight.tolist() == weight.tolist()
    assert verify(tmp_path / "out")["ok"]


def test_stored_values_decode_to_the_tensors(small: Path) -> None:
    with open_archive(small) as archive:
        for file in archive.files:
            for name, number in file.numbers.items():
                value = stored_value(file, number)
                if hasattr(value, "to_dense"):
                    found = value.to_dense().reshape(archive.specs[name].shape)
                    np.testing.assert_array_equal(found, archive[name])


def test_transposed_and_tied_tensors_survive(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    folder = FolderRecord(False, [], [], [], False)
    write_archive(tmp_path / "small" / "model.tersor.safetensors", small_lossy(), folder=folder)
    (tmp_path / "out").mkdir()
    rewrite(tmp_path / "small", Changes(), tmp_path / "out")
    assert _digests(tmp_path / "out") == _digests(tmp_path / "small")
    with open_archive(tmp_path / "out") as archive:
        assert dict(archive.aliases) == {"head": "embed"}


def test_a_name_that_is_not_there_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError, match=r"no tensor 'encoder\.layer\.0\.output\.LayerNorm\.wait' to replace"
    ):
        rewrite(small, Changes({NORM[:-6] + "wait": Dense(np.ones(32, np.float32))}), tmp_path)


def test_a_name_that_is_there_is_not_added(small: Path, tmp_path: Path) -> None:
    spec = TensorSpec(NORM, "F32", (32,))
    with pytest.raises(UsageError, match="is there already; replace it instead"):
        rewrite(small, Changes(added={NORM: (spec, Dense(np.ones(32, np.float32)))}), tmp_path)


def test_another_shape_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"the replacement has shape \[3\], needs \[32\]"):
        rewrite(small, Changes({NORM: Dense(np.ones(3, np.float32))}), tmp_path)
