"""A pickle read without running it: plain values come out, and the names of what an unpickler would call.

Only the opcodes and names that a file of tensors needs are known; a pickle with any other is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from tersor.sources.extents import StructureError, short

MAX_PICKLE_BYTES = 4 << 20
ORDERED_DICT = "collections.OrderedDict"


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """A class or function, by its full name; never looked up."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call that an unpickler would make."""

    function: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Persistent:
    """What stands for an object that is stored elsewhere in the file."""

    identifier: Any


class _Mark:
    """Where a run of values on the stack begins."""


class InertUnpickler:
    """Reads pickles that follow one another.

    data: the bytes; names: the full names that may occur; calls: those of them that may be called.
    position: of the first byte that is not read yet.
    An OrderedDict becomes a dict; attributes set on it are dropped (torch puts `_metadata` there).
    Guarantee: time and memory are proportional to the bytes that are read, at most MAX_PICKLE_BYTES a pickle.
    Raises: StructureError. Values may share parts or contain themselves: walk them with care.
    """

    def __init__(self, data: memoryview, names: Collection[str], calls: Collection[str]) -> None:
        self._data = data
        self._names = names
        self._calls = calls
        self.position = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Return the value of the next pickle."""
        self._stack, self._memo = [], {}
        limit = self.position + MAX_PICKLE_BYTES
        while True:
            opcode = self._take(1)
            if opcode == b".":
                return self._pop()
            action = _ACTIONS.get(opcode)
            if action is None:
                raise StructureError(
                    f"pickle opcode {opcode!r} at {self.position - 1} is not of a state dict"
                )
            action(self)
            if self.position > limit:
                raise StructureError(f"a pickle of more than {MAX_PICKLE_BYTES} bytes")

    def _take(self, n_bytes: int) -> bytes:
        end = self.position + n_bytes
        if end > len(self._data):
            raise StructureError(f"the pickle is cut off at {len(self._data)}")
        taken = bytes(self._data[self.position : end])
        self.position = end
        return taken

    def _number(self, n_bytes: int) -> int:
        return int.from_bytes(self._take(n_bytes), "little")

    def _text(self, n_bytes: int) -> str:
        try:
            return self._take(n_bytes).decode("utf-8")
        except UnicodeDecodeError as exc:
            raise StructureError("a string in the pickle is not UTF-8") from exc

    def _line(self) -> str:
        start = self.position
        while self._take(1) != b"\n":
            if self.position - start > 256:
                raise StructureError("a name in the pickle is longer than 256 bytes")
        end, self.position = self.position - 1, start
        text = self._text(end - start)
        self.position = end + 1
        return text

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack or isinstance(self._stack[-1], _Mark):
            raise StructureError("the pickle takes more values than it gives")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            raise StructureError(f"the pickle fills what is no {kind.__name__}")
        return self._stack[-1]

    def _since_mark(self) -> list[Any]:
        values = []
        while self._stack and not isinstance(self._stack[-1], _Mark):
            values.append(self._stack.pop())
        if not self._stack:
            raise StructureError("the pickle ends a run of values that it never began")
        self._stack.pop()
        return values[::-1]

    def _push_tuple(self, length: int) -> None:
        self._push(tuple([self._pop() for _ in range(length)][::-1]))

    def _push_name(self, name: str) -> None:
        if name not in self._names:
            raise StructureError(f"the pickle names {short(name)}, which no state dict needs")
        self._push(Name(name))

    def _push_global(self) -> None:
        module = self._line()
        self._push_name(f"{module}.{self._line()}")

    def _push_stack_global(self) -> None:
        attribute, module = self._pop(), self._pop()
        if not isinstance(attribute, str) or not isinstance(module, str):
            raise StructureError("a name in the pickle is no string")
        self._push_name(f"{module}.{attribute}")

    def _remember(self, key: int) -> None:
        value = self._pop()
        self._push(value)
        self._memo[key] = value

    def _recall(self, key: int) -> None:
        if key not in self._memo:
            raise StructureError(f"the pickle recalls value {key}, which it never stored")
        self._push(self._memo[key])

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Name) or function.name not in self._calls or type(arguments) is not tuple:
            raise StructureError("the pickle calls what no state dict needs")
        if function.name != ORDERED_DICT:
            self._push(Call(function.name, arguments))
        elif arguments:
            raise StructureError("the pickle makes an OrderedDict in an unusual way")
        else:
            self._push({})

    def _build(self) -> None:
        self._pop()
        self._top(dict)

    def _set_items(self, flat: list[Any]) -> None:
        target = self._top(dict)
        if len(flat) % 2:
            raise StructureError("the pickle sets a key without a value")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            # No tuples: nested ones may take for ever to hash.
            if not isinstance(key, str | int | float | None):
                raise StructureError(f"a dict in the pickle has a key of type {type(key).__name__}")
            target[key] = value

    def _set_one(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _append_one(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _append_many(self) -> None:
        values = self._since_mark()
        self._top(list).extend(values)


_ACTIONS: dict[bytes, Callable[[InertUnpickler], object]] = {
    b"\x80": lambda self: self._take(1),  # protocol
    b"\x95": lambda self: self._take(8),  # frame
    b"(": lambda self: self._push(_Mark()),
    b"N": lambda self: self._push(None),
    b"\x88": lambda self: self._push(True),
    b"\x89": lambda self: self._push(False),
    b"K": lambda self: self._push(self._number(1)),
    b"M": lambda self: self._push(self._number(2)),
    b"J": lambda self: self._push(int.from_bytes(self._take(4), "little", signed=True)),
    b"\x8a": lambda self: self._push(int.from_bytes(self._take(self._number(1)), "little", signed=True)),
    b"G": lambda self: self._push(struct.unpack(">d", self._take(8))[0]),
    b"X": lambda self: self._push(self._text(self._number(4))),
    b"\x8c": lambda self: self._push(self._text(self._number(1))),
    b"\x8d": lambda self: self._push(self._text(self._number(8))),
    b"U": lambda self: self._push(self._text(self._number(1))),  # strings of Python 2
    b"T": lambda self: self._push(self._text(self._number(4))),
    b"}": lambda self: self._push({}),
    b"]": lambda self: self._push([]),
    b")": lambda self: self._push(()),
    b"t": lambda self: self._push(tuple(self._since_mark())),
    b"\x85": lambda self: self._push_tuple(1),
    b"\x86": lambda self: self._push_tuple(2),
    b"\x87": lambda self: self._push_tuple(3),
    b"a": lambda self: self._append_one(),
    b"e": lambda self: self._append_many(),
    b"s": lambda self: self._set_one(),
    b"u": lambda self: self._set_items(self._since_mark()),
    b"c": lambda self: self._push_global(),
    b"\x93": lambda self: self._push_stack_global(),
    b"Q": lambda self: self._push(Persistent(self._pop())),
    b"R": lambda self: self._call(),
    b"b": lambda self: self._build(),
    b"q": lambda self: self._remember(self._number(1)),
    b"r": lambda self: self._remember(self._number(4)),
    b"\x94": lambda self: self._remember(len(self._memo)),
    b"h": lambda self: self._recall(self._number(1)),
    b"j": lambda self: self._recall(self._number(4)),
}
