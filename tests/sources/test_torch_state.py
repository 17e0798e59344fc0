"""State dicts that are made to cost time or memory, or that describe what cannot be."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tersor.sources import inert_pickle
from tersor.sources.extents import MAX_TENSORS, StructureError
from tersor.sources.inert_pickle import Call, Name, Persistent
from tersor.sources.torch_state import find_tensors, place_tensors, unpickler

REBUILD = "torch._utils._rebuild_tensor_v2"


def storage(key: object = "0", n_elements: object = 6, kind: str = "torch.FloatStorage") -> Persistent:
    return Persistent(("storage", Name(kind), key, "cpu", n_elements))


def tensor(shape: Any = (2, 3), strides: Any = (3, 1), offset: int = 0, of: object = None) -> Call:
    return Call(REBUILD, (of or storage(), offset, shape, strides, False, {}))


def test_whole_tensor_has_its_name_and_place() -> None:
    contents = place_tensors(find_tensors({"a": tensor()}), {"0": (10, 34)})
    (place,) = contents.places
    assert (place.spec.name, place.spec.shape, place.begin, place.end) == ("a", (2, 3), 10, 34)


def test_dimensions_of_one_may_have_any_stride() -> None:
    found = find_tensors({"a": tensor((1, 6, 1), (99, 1, 7)), "b": tensor((6,), (1,))})
    assert all(stored.is_whole for stored in found.values())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": Call(REBUILD, ())}, "unusual way"),
        (
            {"a": Call("torch._utils._rebuild_tensor_v3", (storage(), 0, (1,), (1,), 0, {}, 5))},
            "element type",
        ),
        ({"a": tensor(of=Persistent("x"))}, "no storage that is known"),
        (
            {"a": tensor(of=Persistent(("storage", Name("torch.FloatStorage"), "0", "cpu", 6, ("v", 0, 1))))},
            "no storage",
        ),
        ({"a": tensor(of=storage(key=3))}, "unknown element type, key or size"),
        ({"a": tensor(of=storage(n_elements=-1))}, "unknown element type, key or size"),
        ({"a": tensor(of=storage(n_elements=True))}, "unknown element type, key or size"),
        ({"a": tensor(of=storage(kind="torch.Size"))}, "unknown element type, key or size"),
        ({"a": tensor(shape=(2, -3))}, "no natural numbers"),
        ({"a": tensor(shape=7)}, "no natural numbers"),
        ({"a": tensor(strides=(1,))}, "more dimensions than strides"),
    ],
)
def test_unusual_descriptions_are_refused(value: object, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        find_tensors(value)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": tensor(of=storage("1"))}, "storage '1' needs 24 bytes, the file holds 0"),
        ({"a": tensor(), "b": tensor(of=storage(n_elements=5))}, "described in two ways"),
        ({"data/0": tensor(of=storage("1")), "b": tensor(offset=1)}, "two tensors are called 'data/0'"),
    ],
)
def test_storages_that_do_not_fit_are_refused(tensors: dict[str, Call], message: str) -> None:
    extents = {"0": (0, 24)} | ({"1": (24, 48)} if "data/0" in tensors else {})
    with pytest.raises(StructureError, match=message):
        place_tensors(find_tensors(tensors), extents)


def test_containers_that_hold_themselves_are_entered_once() -> None:
    loop: dict[str, Any] = {"a": tensor()}
    loop["again"] = loop
    doubled: list[Any] = [loop]
    for _ in range(50):
        doubled = [doubled, doubled]
    assert list(find_tensors(doubled)) == [".".join("0" * 51 + "a")]


def test_deep_nesting_is_refused() -> None:
    value: Any = tensor()
    for _ in range(100):
        value = [value]
    with pytest.raises(StructureError, match="nested more than 64 deep"):
        find_tensors(value)


def test_one_tensor_under_countless_names_is_refused() -> None:
    one = tensor()
    with pytest.raises(StructureError, match="too many tensors"):
        find_tensors([one] * (MAX_TENSORS + 1))


def test_long_key_that_is_used_often_is_refused() -> None:
    key = "k" * (1 << 20)
    with pytest.raises(StructureError, match="names are too long"):
        find_tensors({key: {key: [tensor()] * 1000}})


@pytest.mark.parametrize("filler", [b"N", b"]", b"(t", b"h\x00", b")\x85"])
def test_pickle_of_nothing_but_fillers_takes_time_by_its_length(filler: bytes) -> None:
    pickled = b"\x80\x02}q\x00(" + filler * ((1 << 18) // len(filler)) + b"t."
    started = time.perf_counter()
    with pytest.raises(StructureError, match=r"no tensors|deep"):
        find_tensors(unpickler(memoryview(pickled)).load())
    assert time.perf_counter() - started < 10


def test_pickle_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inert_pickle, "MAX_PICKLE_BYTES", 1000)
    with pytest.raises(StructureError, match="more than 1000 bytes"):
        unpickler(memoryview(b"N" * 2000 + b".")).load()
