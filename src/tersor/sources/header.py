"""The header of a safetensors file: bytes in, checked specs and offsets out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from tersor.errors import CorruptError
from tersor.types import TensorSpec

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
MAX_RANK = 64  # numpy's limit
LENGTH_BYTES = 8
METADATA_KEY = "__metadata__"


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a safetensors file says, checked.

    specs: tensors in data order (ties between empty tensors: header order).
    offsets: per spec, begin and end relative to the first byte after the header.
    """

    metadata: dict[str, str]
    specs: tuple[TensorSpec, ...]
    offsets: tuple[tuple[int, int], ...]


class _HeaderError(ValueError):
    """A rule of the format that the header breaks; `parse_header` adds the file's name."""


def header_length(prefix: bytes, n_file_bytes: int, where: str) -> int:
    """Return the length of the JSON from the file's first 8 bytes.

    Raises: CorruptError unless the prefix is 8 bytes and 2 <= length <= min(100,000,000, n_file_bytes - 8).
    """
    if len(prefix) < LENGTH_BYTES:
        raise CorruptError(
            f"{where}: {n_file_bytes} bytes is too short for a safetensors file, which needs 10"
        )
    length = int.from_bytes(prefix, "little")
    limit = min(MAX_HEADER_BYTES, n_file_bytes - LENGTH_BYTES)
    if not 2 <= length <= limit:
        raise CorruptError(
            f"{where}: header length is {length}, but a file of {n_file_bytes} bytes allows 2 to {limit}; "
            "the file is truncated or no safetensors file, fetch it again"
        )
    return length


def parse_header(text: bytes, n_data_bytes: int, where: str) -> Header:
    """Return the checked content of a safetensors header.

    text: the JSON, without the 8 bytes of its length.
    n_data_bytes: bytes in the file after the header; gaps between tensors are allowed.
    Guarantee: 0 <= begin <= end <= n_data_bytes, end - begin == spec.n_bytes, no two tensors overlap,
        names are unique and valid Unicode.
    Raises: CorruptError naming the tensor and the rule, NewerFormatError for an unknown dtype.
    """
    try:
        entries = _parse_json(text)
        metadata = _check_metadata(entries.pop(METADATA_KEY, {}))
        rows = [_check_entry(name, entry, n_data_bytes) for name, entry in entries.items()]
        rows.sort(key=lambda row: row[1])
        _check_no_overlap(rows)
    except _HeaderError as exc:
        raise CorruptError(
            f"{where}: safetensors header: {exc}; the file is damaged, fetch it again"
        ) from exc
    return Header(metadata, tuple(spec for spec, _ in rows), tuple(extent for _, extent in rows))


def _short(name: str) -> str:
    """Return the name quoted, cut to a length that fits a message: the file may make it 100 MB long."""
    return repr(name if len(name) <= 200 else name[:200] + "...")


def _parse_json(text: bytes) -> dict[str, object]:
    if text[:1] != b"{":
        raise _HeaderError(f"starts with {text[:1]!r}, needs '{{'")
    try:
        parsed = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
    except _HeaderError:
        raise
    except (ValueError, RecursionError) as exc:  # ValueError: bad UTF-8, bad JSON, numbers over 4,300 digits
        raise _HeaderError(f"not valid JSON ({exc})") from exc
    if not isinstance(parsed, dict):
        raise _HeaderError("not a JSON object")
    return parsed


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _HeaderError(f"key {_short(twice)} appears twice")
    return result


def _refuse_constant(text: str) -> object:
    raise _HeaderError(f"{text} is not JSON")


def _check_metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise _HeaderError(f"{METADATA_KEY} is not an object of strings")
    return value


def _check_entry(name: str, entry: object, n_data_bytes: int) -> tuple[TensorSpec, tuple[int, int]]:
    _check_unicode(name)
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise _HeaderError(f"tensor {_short(name)} needs dtype, shape and data_offsets")
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or len(dtype) > 40:
        raise _HeaderError(f"tensor {_short(name)}: dtype needs a string of at most 40 characters")
    spec = TensorSpec(name, dtype, _check_shape(name, entry["shape"]))
    _check_addressable(spec)
    begin, end = _check_offsets(name, entry["data_offsets"], n_data_bytes)
    if end - begin != spec.n_bytes:
        raise _HeaderError(
            f"tensor {_short(name)}: {dtype} {list(spec.shape)} is {spec.n_bytes} bytes, "
            f"data_offsets give {end - begin}"
        )
    return spec, (begin, end)


def _check_unicode(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise _HeaderError(f"tensor name {_short(name)} holds half of a surrogate pair") from exc


def _natural_numbers(value: object) -> tuple[int, ...] | None:
    """Return the value as a tuple if it is a list of integers (not true) from 0 to 2**63 - 1, else None."""
    if isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value):
        return tuple(value)
    return None


def _check_shape(name: str, value: object) -> tuple[int, ...]:
    shape = _natural_numbers(value)
    if shape is None or len(shape) > MAX_RANK:
        raise _HeaderError(
            f"tensor {_short(name)}: shape needs a list of at most {MAX_RANK} integers from 0 to 2**63 - 1"
        )
    return shape


def _check_addressable(spec: TensorSpec) -> None:
    # Without the zeros: numpy refuses (0, 2**62, 2**62) although it is empty.
    widest = prod(size for size in spec.shape if size) * spec.numpy_dtype.itemsize
    if widest >= 1 << 63:
        raise _HeaderError(f"tensor {_short(spec.name)}: shape {list(spec.shape)} does not fit a 64-bit size")


def _check_offsets(name: str, value: object, n_data_bytes: int) -> tuple[int, int]:
    offsets = _natural_numbers(value)
    if offsets is None or len(offsets) != 2 or not offsets[0] <= offsets[1] <= n_data_bytes:
        raise _HeaderError(
            f"tensor {_short(name)}: data_offsets needs two integers, "
            f"0 <= begin <= end <= {n_data_bytes} (bytes of data in the file), got {offsets}"
        )
    return offsets[0], offsets[1]


def _check_no_overlap(rows: list[tuple[TensorSpec, tuple[int, int]]]) -> None:
    for (first, (_, end)), (second, (begin, _)) in pairwise(rows):
        if begin < end:
            raise _HeaderError(
                f"tensors {_short(first.name)} and {_short(second.name)} overlap at data offset {begin}"
            )
