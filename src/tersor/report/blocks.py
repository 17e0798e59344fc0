"""What a page is made of: sections of charts, tables, facts, code and paragraphs. Plain values; `page` draws them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tersor.report.figures import NONE

Value = str | float | int | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. show: a number as text, None: it holds text and is set left. hint: below the table."""

    title: str
    show: Callable[[float | None], str] | None = None
    hint: str = ""

    def text(self, value: Value) -> str:
        if self.show is None or isinstance(value, str):
            return NONE if value is None or value == "" else str(value)
        return self.show(value)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values, as long as `columns`; the first cell names its row. more: what was left out, "" if nothing.

    is_folded: shown when asked for, as the numbers behind a chart are.
    """

    kind: ClassVar[str] = "table"
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    more: str = ""
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture. spec: Vega-Lite without data, equal specs are sent once. fields, rows: its data, by column.

    description: what it shows, for those who cannot see it. table: the same numbers to read.
    """

    kind: ClassVar[str] = "chart"
    title: str
    description: str
    spec: dict[str, Any]
    fields: Sequence[str]
    rows: Sequence[Sequence[Value]]
    table: Table | None = None
    caption: str = ""
    is_small: bool = False


@dataclass(frozen=True, slots=True)
class Gallery:
    """Small charts beside each other, with one table for all."""

    kind: ClassVar[str] = "gallery"
    charts: Sequence[Chart]
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """A few large figures: (value, what it is)."""

    kind: ClassVar[str] = "facts"
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Code:
    """Text to copy: a recipe, commands."""

    kind: ClassVar[str] = "code"
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph. is_missing: it says what the page lacks and how to get it. command: to be typed, "" for none."""

    kind: ClassVar[str] = "note"
    text: str
    is_missing: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section."""

    kind: ClassVar[str] = "heading"
    text: str


Block = Table | Chart | Gallery | Facts | Code | Note | Heading


@dataclass(slots=True)
class Section:
    """One part of the page. name: its anchor, unique."""

    name: str
    title: str
    blocks: list[Block] = field(default_factory=list)
