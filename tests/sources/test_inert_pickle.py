"""Pickles are read, never run."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.sources.extents import StructureError
from tersor.sources.inert_pickle import Call, InertUnpickler, Name

SIMPLE = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
)


def load(pickled: bytes, calls: tuple[str, ...] = ("collections.OrderedDict",)) -> Any:
    return InertUnpickler(memoryview(pickled), calls, calls).load()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@given(value=VALUES)
def test_plain_values_come_back(protocol: int, value: object) -> None:
    assert load(pickle.dumps(value, protocol)) == value


def test_ordered_dict_becomes_a_dict_and_its_attributes_are_dropped() -> None:
    state = OrderedDict(a=1)
    state._metadata = {"version": 1}  # type: ignore[attr-defined]
    assert load(pickle.dumps(state, 2)) == {"a": 1}


def test_pickles_that_follow_one_another_are_read_in_turn() -> None:
    reader = InertUnpickler(memoryview(pickle.dumps(1, 2) + pickle.dumps("b", 2) + b"rest"), (), ())
    assert [reader.load(), reader.load(), reader.position] == [1, "b", 5 + len(pickle.dumps("b", 2))]


def test_known_names_and_calls_are_recorded_not_made() -> None:
    function, call = load(b"\x80\x02cposix\nmkdir\nq\x00h\x00X\x01\x00\x00\x00a\x85R\x86.", ("posix.mkdir",))
    assert isinstance(function, Name)
    assert isinstance(call, Call)
    assert (call.function, call.arguments) == ("posix.mkdir", ("a",))


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"", "cut off"),
        (b"\x80\x02N", "cut off"),
        (b".", "takes more values"),
        (b"(.", "takes more values"),
        (b"t.", "never began"),
        (b"cposix\nsystem\n.", r"names 'posix\.system'"),
        (b"X\x06\x00\x00\x00posix\nX\x01\x00\x00\x00a\x93.", "no state dict needs"),
        (b"NN\x93.", "is no string"),
        (b"ccollections\nOrderedDict\n(NtR.", "unusual way"),
        (b"NNR.", "calls what"),
        (b"Ns.", "takes more values"),
        (b"N(K\x01u.", "fills what is no dict"),
        (b"}(K\x01u.", "without a value"),
        (b"}(K\x01\x85K\x01u.", "a key of type tuple"),
        (b"N(K\x01e.", "fills what is no list"),
        (b"NNb.", "fills what is no dict"),
        (b"h\x05.", "recalls value 5"),
        (b"X\xff\xff\xff\xffab.", "cut off"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fab.", "cut off"),
        (b"X\x01\x00\x00\x00\xff.", "not UTF-8"),
        (b"c" + b"a" * 300 + b"\nb\n.", "longer than 256"),
        (b"I01\n.", "opcode b'I'"),
        (b"imodule\nname\n.", "opcode b'i'"),
    ],
)
def test_anything_else_is_refused(pickled: bytes, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        load(pickled)


@given(st.binary(max_size=60))
def test_noise_is_refused_or_read(noise: bytes) -> None:
    with suppress(StructureError):
        load(noise)
