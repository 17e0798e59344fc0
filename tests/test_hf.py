"""transformers opens archives: through our hook exactly what was packed, without it an error."""

from __future__ import annotations

import copy
import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertModel,
    MixtralConfig,
    MixtralForCausalLM,
)

import tersor
from models import tiny_bert, tiny_gpt2, tiny_llama
from tersor.archive.folder import add_side_file
from tersor.archive.index import FolderRecord
from tersor.archive.writer import ArchiveWriter
from tersor.errors import CorruptError, UsageError
from tersor.hf import SHARD_INDEX, WEIGHTS_FILE, WeightReader, to_torch, weights_file
from tersor.layouts.base import Context, Dense
from tersor.layouts.file_tables import FileCounts
from tersor.layouts.grid import Grid
from tersor.packing import pack, unpack
from tersor.sources.safetensors import SafetensorsFile
from tersor.types import DTYPES, TensorSpec

MODELS = {"bert": tiny_bert, "llama": tiny_llama, "gpt2": tiny_gpt2}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("originals")
    return {name: make(root / name) for name, make in MODELS.items()}


@pytest.fixture(scope="module")
def archives(originals: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("archives")
    return {name: packed(folder, root / name) for name, folder in originals.items()}


def packed(folder: Path, output: Path) -> Path:
    pack(folder, output)
    return output


def torch_checkpoint(original: Path, folder: Path, *, zipped: bool = True, n_shards: int = 1) -> Path:
    """The model of a folder, saved by torch as transformers did before safetensors."""
    model = AutoModel.from_pretrained(original)
    model.config.save_pretrained(folder)
    state = model.state_dict()
    names = [f"pytorch_model-{number}.bin" for number in range(n_shards)]
    names = names if n_shards > 1 else ["pytorch_model.bin"]
    for number, name in enumerate(names):
        part = dict(list(state.items())[number::n_shards])
        torch.save(part, folder / name, _use_new_zipfile_serialization=zipped)
    if n_shards > 1:
        weight_map = {key: names[place % n_shards] for place, key in enumerate(state)}
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def assert_same_model(model: torch.nn.Module, original: Path) -> None:
    expected = AutoModel.from_pretrained(original).state_dict()
    assert model.state_dict().keys() == expected.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def quantized(folder: Path, output: Path) -> Path:
    """Write an archive whose matrices are grids with a step of 1/64, transposed ones for GPT-2's Conv1D."""
    output.mkdir()
    for file in folder.glob("*.json"):
        if file.name == "config.json":
            add_side_file(file, file.name, output, adapt=True)
        else:
            (output / file.name).write_bytes(file.read_bytes())
    values: dict[str, tuple[TensorSpec, Grid | Dense]] = {}
    with SafetensorsFile(folder / "model.safetensors") as source:
        for spec in source.specs:
            array = np.array(source.read(spec.name))
            is_matrix = len(spec.shape) == 2
            values[spec.name] = (spec, rounded(array, ".c_" in spec.name) if is_matrix else Dense(array))
    counts = FileCounts()
    for spec, value in values.values():
        counts.add(spec, value)
    with ArchiveWriter(output / WEIGHTS_FILE, Context(table_sets=counts.make("balanced"))) as writer:
        for spec, value in values.values():
            writer.add(spec, value)
        writer.finish(folder=FolderRecord(False, [], [], [], False))
    return output


def rounded(weight: np.ndarray, transposed: bool) -> Grid:
    matrix = weight.T if transposed else weight
    codes = np.ascontiguousarray(np.rint(matrix * 64).astype(np.int32))
    rows, columns = (np.zeros(size, np.int16) for size in codes.shape)
    return Grid(codes, rows - 24, columns, rows + 16, columns, transposed=transposed)


def assert_same_state(left: torch.nn.Module, right: torch.nn.Module) -> None:
    ours, theirs = left.state_dict(), right.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype, name
        assert torch.equal(tensor, theirs[name]), name


WITHOUT_TERSOR = """
import json, sys
from transformers import AutoConfig, AutoModel

folder, weights_file = sys.argv[1:]
named = AutoConfig.from_pretrained(folder)
named.transformers_weights = weights_file
attempts = {
    "plainly": {},
    "ignoring sizes": {"ignore_mismatched_sizes": True},
    "pickled weights": {"use_safetensors": False},
    "file named outright": {"config": named},
}
outcome = {}
for name, options in attempts.items():
    try:
        AutoModel.from_pretrained(folder, **options)
        outcome[name] = "loaded"
    except Exception as error:
        outcome[name] = f"{type(error).__name__}: {error}"
assert not any(name.startswith("tersor") for name in sys.modules)
print(json.dumps(outcome))
"""


@pytest.fixture(scope="module")
def attempts(archives: dict[str, Path]) -> dict[str, str]:
    """What comes of loading an archive in a process that never imports tersor."""
    command = [sys.executable, "-c", WITHOUT_TERSOR, str(archives["bert"]), WEIGHTS_FILE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class TestLoading:
    @pytest.mark.parametrize("name", MODELS)
    @pytest.mark.parametrize("auto_class", [AutoModel, AutoModelForCausalLM])
    @pytest.mark.parametrize("dtype", [None, "auto", torch.float32, torch.bfloat16, torch.float16])
    def test_model_equals_the_one_of_the_original(
        self, name: str, auto_class: type, dtype, originals: dict[str, Path], archives: dict[str, Path]
    ) -> None:
        if name == "bert" and auto_class is AutoModelForCausalLM:
            auto_class = AutoModelForSequenceClassification
        options = {} if dtype is None else {"dtype": dtype}
        torch.manual_seed(0)  # a new head is drawn at random
        expected = auto_class.from_pretrained(originals[name], **options)
        torch.manual_seed(0)
        model = auto_class.from_pretrained(archives[name], **options)
        assert type(model) is type(expected)
        assert not model.training
        assert_same_state(model, expected)

    @pytest.mark.parametrize("name", MODELS)
    def test_hook_and_tersor_open_give_the_same_bits(self, name: str, archives: dict[str, Path]) -> None:
        model = tersor.load(archives[name])
        state = model.state_dict()
        with tersor.open(archives[name]) as archive:
            assert set(archive) <= set(state)
            for tensor_name in archive:
                array = archive[tensor_name]
                assert state[tensor_name].numpy().tobytes() == np.ascontiguousarray(array).tobytes()

    @pytest.mark.parametrize("name", MODELS)
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_quantized_model_is_what_tersor_open_gives(
        self, name: str, dtype: str, originals: dict[str, Path], tmp_path: Path
    ) -> None:
        folder = quantized(originals[name], tmp_path / "archive")
        state = tersor.load(folder, dtype=dtype).state_dict()
        original = tersor.load(originals[name]).state_dict()
        with tersor.open(folder) as archive:
            assert set(archive) <= set(state)
            for tensor_name in archive:
                opened = torch.from_numpy(archive[tensor_name])
                assert torch.equal(state[tensor_name], opened.to(getattr(torch, dtype))), tensor_name
                assert (opened - original[tensor_name]).abs().max() <= 1 / 128 + 1e-6

    def test_hidden_states_are_equal(self, originals: dict[str, Path], archives: dict[str, Path]) -> None:
        tokens = AutoTokenizer.from_pretrained(archives["bert"])("some text", return_tensors="pt")
        with torch.no_grad():
            expected = AutoModel.from_pretrained(originals["bert"])(**tokens).last_hidden_state
            hidden = AutoModel.from_pretrained(archives["bert"])(**tokens).last_hidden_state
        assert torch.equal(hidden, expected)

    @pytest.mark.parametrize("name", ["llama", "gpt2"])
    def test_tied_weights_are_one_tensor(self, name: str, archives: dict[str, Path]) -> None:
        model = AutoModelForCausalLM.from_pretrained(archives[name])
        assert model.get_input_embeddings().weight is model.get_output_embeddings().weight

    def test_equal_but_untied_weights_stay_two_tensors(self, tmp_path: Path) -> None:
        folder = tiny_llama(tmp_path / "model", tied=False)
        model = AutoModelForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            model.lm_head.weight.copy_(model.model.embed_tokens.weight)
        model.save_pretrained(folder)
        loaded = AutoModelForCausalLM.from_pretrained(packed(folder, tmp_path / "packed"))
        assert_same_state(loaded, model)
        assert loaded.lm_head.weight is not loaded.model.embed_tokens.weight

    def test_shards_are_loaded(self, originals: dict[str, Path], tmp_path: Path) -> None:
        model = AutoModelForCausalLM.from_pretrained(originals["llama"])
        model.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
        archive = packed(tmp_path / "shards", tmp_path / "packed")
        assert weights_file(str(archive)) == SHARD_INDEX
        assert len(list(archive.glob("model-*.tersor.safetensors"))) > 1
        assert_same_state(AutoModelForCausalLM.from_pretrained(archive), model)

    def test_shards_are_loaded_from_the_hub_cache(self, originals: dict[str, Path], tmp_path: Path) -> None:
        model = AutoModelForCausalLM.from_pretrained(originals["llama"])
        model.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
        repository = tmp_path / "hub" / "models--org--name"
        snapshot = repository / "snapshots" / ("a" * 40)
        snapshot.parent.mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("a" * 40)
        packed(tmp_path / "shards", repository / "blobs")
        snapshot.mkdir()
        for blob in (repository / "blobs").iterdir():  # the cache is made of links
            (snapshot / blob.name).symlink_to(blob)
        code = (
            "import tersor\nfrom transformers import AutoModelForCausalLM\n"
            "model = AutoModelForCausalLM.from_pretrained('org/name')\n"
            f"model.save_pretrained({str(tmp_path / 'loaded')!r})\n"
        )
        environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub")}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        assert_same_state(AutoModelForCausalLM.from_pretrained(tmp_path / "loaded"), model)

    def test_parts_on_disk_are_decoded_too(
        self, originals: dict[str, Path], archives: dict[str, Path], tmp_path: Path
    ) -> None:
        places = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
        model = AutoModelForCausalLM.from_pretrained(
            archives["llama"],
            device_map={**places, "model.layers.0": "cpu", "model.layers.1": "disk"},
            offload_folder=tmp_path,
        )
        tokens = torch.arange(5, 25)[None]
        with torch.no_grad():
            expected = AutoModelForCausalLM.from_pretrained(originals["llama"])(tokens).logits
            assert torch.equal(model(tokens).logits, expected)

    def test_weights_that_transformers_merges_are_decoded_first(self, tmp_path: Path) -> None:
        config = MixtralConfig(
            vocab_size=64,
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_local_experts=3,
        )
        torch.manual_seed(0)
        model = MixtralForCausalLM(config)
        model.save_pretrained(tmp_path / "model")
        loaded = AutoModelForCausalLM.from_pretrained(packed(tmp_path / "model", tmp_path / "packed"))
        assert_same_state(loaded, model)
        loaded.save_pretrained(tmp_path / "again")
        again = (tmp_path / "again" / "model.safetensors").read_bytes()
        assert again == (tmp_path / "model" / "model.safetensors").read_bytes()

    def test_dtype_is_the_archives_when_config_names_none(self, tmp_path: Path) -> None:
        folder = tiny_bert(tmp_path / "model", dtype=torch.bfloat16)
        config = json.loads((folder / "config.json").read_text())
        del config["dtype"]
        (folder / "config.json").write_text(json.dumps(config))
        model = AutoModel.from_pretrained(packed(folder, tmp_path / "packed"), dtype="auto")
        assert model.dtype == torch.bfloat16

    def test_config_loaded_beforehand_works_and_stays_clean(self, archives: dict[str, Path]) -> None:
        config = AutoConfig.from_pretrained(archives["llama"])
        model = AutoModelForCausalLM.from_pretrained(archives["llama"], config=config)
        assert not hasattr(model.config, "transformers_weights")
        assert not hasattr(config, "transformers_weights")

    def test_index_is_not_reported_as_a_weight(self, archives: dict[str, Path]) -> None:
        _, report = AutoModel.from_pretrained(archives["bert"], output_loading_info=True)
        assert {key: list(value) for key, value in report.items() if value} == {}

    def test_device_map_is_obeyed(self, originals: dict[str, Path], archives: dict[str, Path]) -> None:
        model = AutoModel.from_pretrained(archives["bert"], device_map="cpu")
        assert_same_state(model, AutoModel.from_pretrained(originals["bert"]))

    def test_tensors_are_decoded_one_at_a_time(
        self, archives: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waiting: list[torch.Tensor] = []
        read = WeightReader.read

        def counted(self: WeightReader, name: str, dtype: torch.dtype | None) -> torch.Tensor:
            tensor = read(self, name, dtype)
            # A tensor that is in the model has been wrapped as a Parameter, so its storage is used twice.
            waiting[:] = [other for other in waiting if other.untyped_storage().data_ptr() not in in_model()]
            waiting.append(tensor)
            assert len(waiting) <= 2
            return tensor

        models: list[torch.nn.Module] = []

        def in_model() -> set[int]:
            found = [p for model in models for p in model.parameters() if p.device.type != "meta"]
            return {parameter.untyped_storage().data_ptr() for parameter in found}

        from tersor.hf import TersorQuantizer

        before = TersorQuantizer._process_model_before_weight_loading

        def remember(self: TersorQuantizer, model: torch.nn.Module, **options: object) -> object:
            models.append(model)
            return before(self, model, **options)

        monkeypatch.setattr(WeightReader, "read", counted)
        monkeypatch.setattr(TersorQuantizer, "_process_model_before_weight_loading", remember)
        AutoModel.from_pretrained(archives["bert"])


class TestAfterLoading:
    def test_saved_model_is_a_plain_checkpoint_that_reloads(
        self, originals: dict[str, Path], archives: dict[str, Path], tmp_path: Path
    ) -> None:
        for name, archive in archives.items():
            model = tersor.load(archive)
            model.save_pretrained(tmp_path / name)
            config = json.loads((tmp_path / name / "config.json").read_text())
            assert not {"quantization_config", "transformers_weights"} & set(config)
            saved = (tmp_path / name / "model.safetensors").read_bytes()
            assert saved == (originals[name] / "model.safetensors").read_bytes()
            assert_same_state(type(model).from_pretrained(tmp_path / name), model)

    def test_model_bears_no_trace_of_the_archive(self, archives: dict[str, Path]) -> None:
        model = tersor.load(archives["llama"])
        assert not getattr(model, "is_quantized", False)
        assert not hasattr(model, "hf_quantizer")
        assert not hasattr(model.config, "quantization_config")
        assert_same_state(copy.deepcopy(model), model)
        assert_same_state(pickle.loads(pickle.dumps(model)), model)

    def test_model_can_be_trained(self, archives: dict[str, Path]) -> None:
        model = tersor.load(archives["llama"])
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        tokens = torch.arange(5, 25)[None]
        losses = []
        for _ in range(3):
            loss = model(input_ids=tokens, labels=tokens).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        assert losses[-1] < losses[0]


class TestFailing:
    @pytest.mark.parametrize("attempt", ["plainly", "ignoring sizes", "pickled weights"])
    def test_without_tersor_the_folder_does_not_load(self, attempt: str, attempts: dict[str, str]) -> None:
        assert attempts[attempt].startswith("OSError: Error no file named")

    def test_without_tersor_the_file_named_outright_does_not_load(self, attempts: dict[str, str]) -> None:
        assert attempts["file named outright"].startswith("RuntimeError")
        assert "size" in attempts["file named outright"]

    def test_with_tersor_imported_the_same_process_loads(self, archives: dict[str, Path]) -> None:
        code = (
            "import tersor\nfrom transformers import AutoModel\n"
            f"print(type(AutoModel.from_pretrained({str(archives['bert'])!r})).__name__)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "BertModel"

    def test_damaged_stream_raises_corrupt(self, archives: dict[str, Path], tmp_path: Path) -> None:
        for file in archives["bert"].iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        content = bytearray((tmp_path / WEIGHTS_FILE).read_bytes())
        length = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + length])
        begin, end = header["embeddings.word_embeddings.weight"]["data_offsets"]
        content[8 + length + (begin + end) // 2] ^= 16
        (tmp_path / WEIGHTS_FILE).write_bytes(content)
        with pytest.raises(CorruptError, match=r"embeddings\.word_embeddings\.weight"):
            AutoModel.from_pretrained(tmp_path)

    def test_shard_of_another_version_is_refused(self, tmp_path: Path) -> None:
        for seed in (0, 1):
            model = AutoModelForCausalLM.from_pretrained(tiny_llama(tmp_path / f"model{seed}", seed=seed))
            model.save_pretrained(tmp_path / f"shards{seed}", max_shard_size="40KB")
            packed(tmp_path / f"shards{seed}", tmp_path / f"packed{seed}")
        last = sorted((tmp_path / "packed1").glob("model-*.tersor.safetensors"))[-1]
        (tmp_path / "packed0" / last.name).write_bytes(last.read_bytes())
        with pytest.raises(CorruptError, match="another version"):
            AutoModelForCausalLM.from_pretrained(tmp_path / "packed0")

    def test_checkpoint_quantized_by_others_before_is_refused(
        self, originals: dict[str, Path], tmp_path: Path
    ) -> None:
        folder = tmp_path / "model"
        AutoModel.from_pretrained(originals["bert"]).save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
        (folder / "config.json").write_text(json.dumps(config))
        archive = packed(folder, tmp_path / "packed")
        with pytest.raises(UsageError, match="quantized with 'gptq' before it was packed"):
            AutoModel.from_pretrained(archive)

    @pytest.mark.parametrize("zipped", [True, False])
    def test_torch_file_loads_as_the_original_does(
        self, zipped: bool, originals: dict[str, Path], tmp_path: Path
    ) -> None:
        folder = torch_checkpoint(originals["bert"], tmp_path / "model", zipped=zipped)
        assert_same_model(AutoModel.from_pretrained(packed(folder, tmp_path / "packed")), originals["bert"])

    def test_shards_of_torch_files_load_as_the_original_does(
        self, originals: dict[str, Path], tmp_path: Path
    ) -> None:
        folder = torch_checkpoint(originals["bert"], tmp_path / "model", n_shards=2)
        archive = packed(folder, tmp_path / "packed")
        assert (archive / SHARD_INDEX).is_file()
        assert_same_model(AutoModel.from_pretrained(archive), originals["bert"])
        unpack(archive, tmp_path / "back")
        for file in folder.iterdir():
            assert (tmp_path / "back" / file.name).read_bytes() == file.read_bytes()

    def test_torch_file_whose_storages_are_not_tensors_says_how_to_load_it(
        self, originals: dict[str, Path], tmp_path: Path
    ) -> None:
        folder = torch_checkpoint(originals["bert"], tmp_path / "model")
        state = torch.load(folder / "pytorch_model.bin", weights_only=True)
        state["pooler.dense.weight"] = state["pooler.dense.weight"].T
        torch.save(state, folder / "pytorch_model.bin")
        archive = packed(folder, tmp_path / "packed")
        with pytest.raises(UsageError, match=r"several tensors view.*tersor unpack"):
            AutoModel.from_pretrained(archive)

    def test_checkpoint_packed_as_bytes_says_how_to_load_it(
        self, originals: dict[str, Path], tmp_path: Path
    ) -> None:
        folder = torch_checkpoint(originals["bert"], tmp_path / "model")
        torch.save({"weights": np.float64}, folder / "pytorch_model.bin")
        archive = packed(folder, tmp_path / "packed")
        with pytest.raises(UsageError, match=r"as bytes.*tersor unpack"):
            AutoModel.from_pretrained(archive)

    def test_folder_of_other_archive_files_says_how_to_load_it(
        self, originals: dict[str, Path], tmp_path: Path
    ) -> None:
        folder = torch_checkpoint(originals["bert"], tmp_path / "model")
        (folder / "pytorch_model.bin").rename(folder / "weights.bin")
        archive = packed(folder, tmp_path / "packed")
        with pytest.raises(UsageError, match="tersor unpack"):
            AutoModel.from_pretrained(archive)

    def test_folder_without_any_archive_file_is_an_error(
        self, archives: dict[str, Path], tmp_path: Path
    ) -> None:
        (tmp_path / "config.json").write_bytes((archives["bert"] / "config.json").read_bytes())
        with pytest.raises(UsageError, match=WEIGHTS_FILE):
            AutoModel.from_pretrained(tmp_path)


class TestToTorch:
    @pytest.mark.parametrize("dtype", [name for name, (bits, _) in DTYPES.items() if bits >= 8])
    @pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
    def test_bytes_and_shape_are_kept(self, dtype: str, shape: tuple[int, ...]) -> None:
        spec = TensorSpec("t", dtype, shape)
        content = np.arange(spec.n_bytes, dtype=np.uint8) % (2 if dtype == "BOOL" else 64)
        array = content.view(spec.numpy_dtype).reshape(shape)
        tensor = to_torch(array, spec)
        assert tuple(tensor.shape) == shape
        assert tensor.reshape(-1).view(torch.uint8).numpy().tobytes() == content.tobytes()

    def test_read_only_array_is_copied(self) -> None:
        array = np.zeros(4, dtype=np.float32)
        array.flags.writeable = False
        to_torch(array, TensorSpec("t", "F32", (4,))).add_(1)
        assert not array.any()

    def test_sub_byte_type_is_refused_by_name(self) -> None:
        spec = TensorSpec("weight", "F4", (4,))
        with pytest.raises(UsageError, match=r"'weight': torch has no dtype for F4"):
            to_torch(np.zeros(2, dtype=np.uint8), spec)


def test_shards_load_through_a_class_of_their_own_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_bert(tmp_path / "model")
    model = AutoModel.from_pretrained(source)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    pack(tmp_path / "sharded", tmp_path / "packed")
    monkeypatch.chdir(tmp_path)  # a class of its own does not say where from: nothing may be looked for here
    for dtype in (None, "auto", "bfloat16"):
        loaded = BertModel.from_pretrained(Path("packed"), **({} if dtype is None else {"dtype": dtype}))
        expected = BertModel.from_pretrained(Path("sharded"), **({} if dtype is None else {"dtype": dtype}))
        assert all(
            torch.equal(a, b)
            for a, b in zip(loaded.state_dict().values(), expected.state_dict().values(), strict=True)
        )


def test_archive_of_deltas_loads_where_its_base_is_and_else_says_which_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TERSOR_BASE", raising=False)
    model = AutoModel.from_pretrained(tiny_bert(tmp_path / "base"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-4 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    model.save_pretrained(tmp_path / "tuned")
    pack(tmp_path / "tuned", tmp_path / "packed", base=tmp_path / "base")
    assert tersor.inspect(tmp_path / "packed")["base"]["path"] == "../base"
    loaded = AutoModel.from_pretrained(tmp_path / "packed").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"content hash [0-9a-f]{64}; it is not at .*TERSOR_BASE=PATH"):
        AutoModel.from_pretrained(tmp_path / "packed")
    monkeypatch.setenv("TERSOR_BASE", str(tmp_path / "moved"))
    loaded = AutoModel.from_pretrained(tmp_path / "packed").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
