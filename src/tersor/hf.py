"""The hook that lets `AutoModel.from_pretrained(OUT)` open a tersor archive; the only file that knows HfQuantizer.

How transformers (5.23) is led through it:

1. config.json says `"quant_method": "tersor"`, so transformers builds our `TersorQuantizer`. Before it looks for weight
   files it calls `update_attn_implementation`, where we name ours (`*.tersor.safetensors`).
2. Each file is a safetensors file whose tensors are coded streams under the weights' own names, so transformers' key
   renaming, prefixes, device maps and reports work as ever. Every key is claimed by one of our converters, which drops
   the stream and puts the decoded tensor in its place, one at a time.
3. Afterwards every trace is removed: the model is a plain one, and `save_pretrained` writes a plain checkpoint.

Without `import tersor` none of this happens, and transformers finds no file that it would load: an error.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.core_model_loading import ConversionOps, WeightConverter, WeightTransform
from transformers.quantizers import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.hub import cached_file
from transformers.utils.quantization_config import QuantizationConfigMixin

from tersor.archive.folder import LOADED_NAMES, MODULES_KEY, PLAIN_WEIGHTS, reduced_quantization_config
from tersor.errors import CorruptError, UsageError
from tersor.runtime.low_rank import keeps_factors, use_factors
from tersor.sources.torch_pickle import SUFFIXES as TORCH_SUFFIXES
from tersor.types import FLOAT_DTYPES, TensorSpec

if TYPE_CHECKING:
    from tersor.archive import Archive

WEIGHTS_FILE, SHARD_INDEX, TORCH_FILE = LOADED_NAMES
_INDEX_KEY = r"^tersor\.index$"
_PART_KEY = r"\.tersor\.(left|right|residual)$"  # of low-rank tensors: read with the tensor itself
_TORCH_DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E8M0": torch.float8_e8m0fnu,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "C64": torch.complex64,
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
}


def to_torch(array: np.ndarray, spec: TensorSpec) -> torch.Tensor:
    """The tensor with the array's bytes; shares its memory if that is writable.

    array: C-contiguous, numpy_shape and numpy_dtype of `spec`. torch has no sub-byte types: UsageError.
    """
    if spec.dtype not in _TORCH_DTYPES:
        raise UsageError(
            f"tensor {spec.name!r}: torch has no dtype for {spec.dtype}; read it with tersor.open"
        )
    writable = array if array.flags.writeable else array.copy()
    if writable.size == 0:
        return torch.empty(spec.shape, dtype=_TORCH_DTYPES[spec.dtype])
    # By way of bytes: torch cannot take ml_dtypes' arrays, and numpy's flat view works for scalars too.
    flat = torch.from_numpy(writable.reshape(-1).view(np.uint8))
    return flat.view(_TORCH_DTYPES[spec.dtype]).reshape(spec.shape)


class WeightReader:
    """Tensors of the archive files that transformers resolved, decoded when asked for."""

    def __init__(self, files: list[str]) -> None:
        # Here: this module is imported whenever transformers is, also by those who never open an archive.
        from tersor.archive import open_archive

        self._archives: list[Archive] = [open_archive(Path(file)) for file in files]
        _check_same_version(self._archives)
        self._home = {name: archive for archive in self._archives for name in archive.specs}

        self.placed: dict[str, str] = {}  # parameter of the model -> its tensor, where they are the same

    def __deepcopy__(self, memo: dict[int, object]) -> WeightReader:
        # transformers deep-copies a converter for every tensor; the open files are shared.
        return self

    def read(self, name: str, dtype: torch.dtype | None) -> torch.Tensor:
        """The decoded tensor, cast to `dtype` (None: its own)."""
        archive = self._home[name]
        return to_torch(archive[name], archive.specs[name]).to(dtype=dtype)

    def use_factors(self, model: Any) -> None:
        """Let the model's linear layers compute with factors where the archive holds them."""
        for parameter, name in self.placed.items():
            factors = self._home[name].factors(name)
            if factors is not None:
                use_factors(model, parameter, factors)

    def float_dtype(self) -> torch.dtype:
        """The dtype of the first floating-point tensor; float32 if there is none."""
        specs = (spec for archive in self._archives for spec in archive.specs.values())
        found = next((spec.dtype for spec in specs if spec.dtype in FLOAT_DTYPES), "F32")
        return _TORCH_DTYPES[found]

    def check_all_named(self) -> None:
        _check_all_named(self._archives)

    def check_bases(self) -> None:
        """Raise UsageError unless the base of an archive of deltas lies where its files say, or at $TERSOR_BASE."""
        for file in (file for archive in self._archives for file in archive.files):
            file.check_base()

    def close(self) -> None:
        for archive in self._archives:
            archive.close()


def _check_same_version(archives: list[Archive]) -> None:
    """Raise CorruptError if a shard is not the one that the folder was written with."""
    expected = {record.path: record.crc for a in archives if a.folder for record in a.folder.archives}
    for file in (file for archive in archives for file in archive.files):
        if expected.get(file.name, file.crc) != file.crc:
            raise CorruptError(
                f"{file.name}: is of another version than the files beside it (index CRC-32C {file.crc:#010x}, "
                f"needed {expected[file.name]:#010x}); fetch the whole folder again"
            )


class _DecodingConverter(WeightConverter):  # type: ignore[misc]  # transformers carries no types
    """A model's own converter (merge experts, split qkv, ...) that is fed decoded tensors instead of streams."""

    __slots__ = ("dtype", "original", "reader")

    def add_tensor(
        self, target_key: str, source_key: str, source_pattern: str, future: Future[Any] | Callable[[], Any]
    ) -> None:
        """Called once for each key of the files; `source_key` is the name in the archive."""
        if isinstance(future, Future):
            future.cancel()  # the stream is not needed
        # A callable is what transformers uses to load late: it runs just before the tensor is set in the model.
        decode = partial(self.reader.read, source_key, self.dtype)
        super().add_tensor(target_key, source_key, source_pattern, decode)


class _PlainConverter(_DecodingConverter):
    """Takes every key that no other converter claims, and leaves its name alone."""

    __slots__ = ()

    def add_tensor(
        self, target_key: str, source_key: str, source_pattern: str, future: Future[Any] | Callable[[], Any]
    ) -> None:
        self.reader.placed[target_key] = source_key
        super().add_tensor(target_key, source_key, source_pattern, future)

    def rename_source_key(self, source_key: str) -> tuple[str, str]:
        self._was_used = True  # type: ignore[misc]  # a slot of the base class, which mypy does not see
        return source_key, self.source_patterns[0]

    def convert(self, layer_name: str, **_: Any) -> dict[str, list[torch.Tensor]]:
        (tensors,) = self.materialize_tensors().values()
        return {layer_name: tensors}


class _Unchanged(ConversionOps):  # type: ignore[misc]
    """The operation of a converter that does nothing but decode."""

    def convert(self, input_dict: dict[str, Any], **_: Any) -> dict[str, Any]:
        return input_dict

    @property
    def reverse_op(self) -> ConversionOps:
        return self


def _decoding(original: WeightConverter, reader: WeightReader) -> _DecodingConverter:
    converter = _DecodingConverter(
        list(original._original_source_patterns),
        list(original._original_target_patterns),
        original.operations,
        force_cpu=True,
    )
    converter.scope_prefix, converter.base_model_prefix = original.scope_prefix, original.base_model_prefix
    converter.original, converter.reader, converter.dtype = original, reader, None
    return converter


def _plain(reader: WeightReader) -> _PlainConverter:
    # force_cpu: decoded on the CPU, moved to the parameter's device by transformers afterwards.
    converter = _PlainConverter(["tersor"], ["tersor"], [_Unchanged()], force_cpu=True)
    converter.original, converter.reader, converter.dtype = None, reader, None
    return converter


def weights_file(location: str, revision: str | None = None) -> str:
    """The name of the file that transformers shall open in a folder or Hub repository.

    Raises: UsageError if a folder has archive files, but none of these names.
    """
    if (
        not location
    ):  # a model class of its own does not say where from; config.json names what is not the usual file
        return LOADED_NAMES[0]
    folder = Path(location)
    if not folder.is_dir():
        return next((name for name in LOADED_NAMES if _hub_has(location, name, revision)), LOADED_NAMES[0])
    for name in LOADED_NAMES:
        if (folder / name).is_file():
            return name
    packed = sorted(path.name for path in folder.glob("*.tersor.safetensors"))
    if packed:
        raise UsageError(
            f"{location}: no {WEIGHTS_FILE}, only {', '.join(packed)}: these files are packed as bytes, "
            f"which no model loads directly; run `tersor unpack {location} -o FOLDER` and load FOLDER"
        )
    return WEIGHTS_FILE


def _check_all_named(archives: list[Archive]) -> None:
    """Raise UsageError if a file does not hold all its tensors by name: the model would miss weights.

    It was packed as bytes, or holds storages of a torch file that are more than one tensor (`data/KEY`).
    """
    for file in (file for archive in archives for file in archive.files):
        is_torch = any(record.path.endswith(TORCH_SUFFIXES) for record in file.index.files)
        unnamed = [name for name in file.numbers if is_torch and name.startswith("data/")]
        if unnamed or any(record.is_plain for record in file.index.files):
            raise UsageError(
                f"{file.name}: is packed {'with storages that several tensors view' if unnamed else 'as bytes'}, "
                "which no model loads directly; run `tersor unpack ARCHIVE -o FOLDER` and load FOLDER"
            )


def _hub_has(repository: str, name: str, revision: str | None) -> bool:
    if not repository:
        return False
    found = cached_file(
        repository,
        name,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return found is not None


@register_quantization_config("tersor")
class TersorConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """config.json's `quantization_config`: says that the weights are a tersor archive, nothing else."""

    def __init__(self, **options: Any) -> None:
        self.quant_method = "tersor"
        self.dequantize = True  # the loaded model is a plain one
        for name, value in options.items():
            setattr(self, name, value)


@register_quantizer("tersor")
class TersorQuantizer(HfQuantizer):  # type: ignore[misc]
    """Leads transformers' loader through an archive."""

    requires_calibration = True  # a model cannot be made small by passing TersorConfig to from_pretrained

    def validate_environment(self, *_: Any, **__: Any) -> None:
        """Refuse a checkpoint that another method had quantized before it was packed."""
        earlier = getattr(self.quantization_config, "original", None)
        if earlier is not None:
            method = earlier.get("quant_method") if isinstance(earlier, dict) else earlier
            raise UsageError(
                f"this checkpoint was quantized with {method!r} before it was packed, and transformers can undo one "
                "only; run `tersor unpack ARCHIVE -o FOLDER` and load FOLDER"
            )

    def update_attn_implementation(self, config: Any) -> Any:
        """Called before the weight files are looked for: name ours."""
        self._location = config.name_or_path
        # config.json says it; a location is known only when the model was asked for through an Auto class.
        named = getattr(self.quantization_config, "weights", None)
        if named == PLAIN_WEIGHTS:
            return config
        config.transformers_weights = (
            named
            if named in LOADED_NAMES
            else weights_file(config.name_or_path, getattr(config, "_commit_hash", None))
        )
        return config

    def update_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """dtype="auto" without a dtype in config.json takes uint8 from the streams: answer with the archive's."""
        if dtype.is_floating_point:
            return dtype
        if not self._location or not Path(self._location).is_dir():
            return torch.float32
        archive = WeightReader([self._location])
        found = archive.float_dtype()
        archive.close()
        return found

    def get_new_dtype(
        self, converter: WeightTransform, param: object, dtype: torch.dtype | None
    ) -> torch.dtype | None:
        """Keep the dtype that the parameter shall have for our converter; the stream itself is never cast."""
        if self._is_plain:
            return super().get_new_dtype(converter, param, dtype)  # type: ignore[no-any-return]
        if not isinstance(converter, _DecodingConverter):
            raise UsageError(
                f"{self._location}: this version of transformers would load a coded stream as the weight "
                f"{converter.target_patterns[0]!r}; run `tersor unpack` or `tersor export` and load the result"
            )
        converter.dtype = dtype
        return None

    @property
    def _is_plain(self) -> bool:
        """A smaller model saved without compression: only its modules are ours."""
        return getattr(self.quantization_config, "weights", None) == PLAIN_WEIGHTS

    def _process_model_before_weight_loading(self, model: Any, **options: Any) -> Any:
        modules = getattr(self.quantization_config, MODULES_KEY, None)
        if modules is not None:
            # Here, as in WeightReader: few models need it.
            from tersor.structured.heads import resize_modules

            resize_modules(model, modules)
        if self._is_plain:
            return model
        self._reader = WeightReader(options["checkpoint_files"])
        self._reader.check_all_named()
        self._reader.check_bases()
        # The index and the parts of low-rank tensors are no weights of the model: keep them out of the report of
        # unexpected keys. Removed again after loading.
        model._keys_to_ignore_on_load_unexpected |= {_INDEX_KEY, _PART_KEY}
        return model

    def update_weight_conversions(
        self, weight_conversions: list[WeightTransform], model: Any
    ) -> list[WeightTransform]:
        """Put a decoding converter in the place of each of the model's own, and one for all other keys last."""
        if self._is_plain:
            return weight_conversions
        decoding = [
            _decoding(transform, self._reader) if isinstance(transform, WeightConverter) else transform
            for transform in weight_conversions
        ]
        return [*decoding, _plain(self._reader)]

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
        modules = getattr(self.quantization_config, MODULES_KEY, None)
        if modules is not None:
            # What save_pretrained then writes opens as a plain checkpoint of these shapes.
            model.config.quantization_config = reduced_quantization_config(modules)
        if self._is_plain:
            return model
        model._weight_conversions = _restored(model._weight_conversions)
        model._keys_to_ignore_on_load_unexpected -= {_INDEX_KEY, _PART_KEY}
        vars(model.config).pop("transformers_weights", None)
        if keeps_factors():
            self._reader.use_factors(model)
        self._reader.close()
        return model

    def is_serializable(self, *_: Any, **__: Any) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return True


def _restored(transforms: list[WeightTransform]) -> list[WeightTransform]:
    """The model's own conversions again, so that saving knows nothing of archives."""
    restored = []
    for transform in transforms:
        if isinstance(transform, _DecodingConverter):
            transform = transform.original
        if transform is not None:
            restored.append(transform)
    return restored
