"""Where the bytes of a model go, and what each layer gets: tree map, bits and errors by layer, codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from tersor.report import charts
from tersor.report.blocks import Block, Chart, Column, Gallery, Note, Table, Value
from tersor.report.figures import figure_text, integer_text, percent_text, shape_text
from tersor.report.histograms import CodeHistogram
from tersor.report.names import layer_of, role_of, short_roles
from tersor.report.subject import Subject
from tersor.report.treemap import Box, squarify

MAX_KINDS = 7
"""Ways of storing that get a colour of their own; the rest share the eighth."""
MAX_ROLES = 40
"""Rows of a table of roles."""
N_CODES = 64
"""Bars of a histogram at most; of wider ones neighbouring codes share a bar."""
_OTHER = "other"
_ASPECT, _GAP = 1.8, 0.005
"""Width of the tree map in its heights, and the margin around a layer."""
Row = Mapping[str, Any]


def bytes_chart(subject: Subject, max_rows: int) -> Chart:
    """The tree map of all tensors: boxes of layers, in them boxes of tensors. max_rows: tensors shown one by one."""
    rows = sorted(subject.tensors, key=lambda row: (-int(row["n_bytes"]), str(row["name"])))
    shown = [row for row in rows if row["n_bytes"]][:max_rows]
    total = sum(int(row["n_bytes"]) for row in rows)
    hows = _hows(shown)
    drawn: list[list[Value]] = []
    for row, box in _boxes(shown):
        how = hows[_stored(row)]
        corners = [round(edge, 4) for edge in (box.left, box.top, box.right, box.bottom)]
        bits = _rounded(row["bits_per_weight"])
        name = str(row["name"])
        drawn.append(
            [name, _short(name), *corners, how, row["n_bytes"], row["n_bytes"] / total if total else 0, bits]
        )
    return Chart(
        title="Where the bytes go",
        description=f"Tree map of the bytes of {len(shown)} tensors, grouped by layer",
        spec=charts.tree_map(),
        fields=("name", "label", "left", "top", "right", "bottom", "how", "bytes", "share", "bits"),
        rows=drawn,
        table=_tensor_table(subject, rows, max_rows, total),
        caption="Area: bytes in the file. The boxes of a layer lie together.",
    )


def _boxes(rows: Sequence[Row]) -> list[tuple[Row, Box]]:
    """A box for each row: those of a layer fill one larger box."""
    groups: dict[int | None, list[Row]] = {}
    for row in rows:
        groups.setdefault(layer_of(str(row["name"])), []).append(row)
    members = list(groups.values())
    outer = squarify([sum(row["n_bytes"] for row in group) for group in members], Box(0, 0, _ASPECT, 1))
    found = []
    for group, whole in zip(members, outer, strict=True):
        room = _inset(whole)
        inner = squarify([row["n_bytes"] for row in group], room)
        found += [
            (row, Box(box.left / _ASPECT, box.top, box.right / _ASPECT, box.bottom))
            for row, box in zip(group, inner, strict=True)
        ]
    return found


def _inset(box: Box) -> Box:
    """The box without a thin margin, which sets the boxes of one layer apart from the next."""
    x, y = min(_GAP, box.width / 4), min(_GAP, box.height / 4)
    return Box(box.left + x, box.top + y, box.right - x, box.bottom - y)


def _hows(rows: Sequence[Row]) -> dict[str, str]:
    """Way of storing -> how the legend calls it; the largest have their own names."""
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[_stored(row)] = sizes.get(_stored(row), 0) + int(row["n_bytes"])
    order = sorted(sizes, key=lambda how: (-sizes[how], how))
    return {how: how if place < MAX_KINDS else _OTHER for place, how in enumerate(order)}


def _stored(row: Row) -> str:
    return f"{row['layout']} {row['codec']}".strip()


def _short(name: str) -> str:
    """The layer and the last two words: "3 self.query"."""
    words = [word for word in name.split(".") if word != "weight" and not word.isdigit()]
    layer = layer_of(name)
    return ("" if layer is None else f"{layer} ") + ".".join(words[-2:])


def _tensor_table(subject: Subject, rows: Sequence[Row], max_rows: int, total: int) -> Table:
    columns = (
        Column("tensor"),
        Column("shape"),
        Column("stored as"),
        Column("bytes", integer_text),
        Column("of all", percent_text),
        Column("bits per weight", figure_text),
        Column("relative error", figure_text, "squared, against the original tensor"),
    )
    cells: list[list[Value]] = []
    for row in rows[:max_rows]:
        share = row["n_bytes"] / total if total else 0.0
        error = subject.errors.get(str(row["name"]))
        bits = _rounded(row["bits_per_weight"])
        cells.append(
            [str(row["name"]), shape_text(row["shape"]), _stored(row), row["n_bytes"], share, bits, error]
        )
    left = rows[max_rows:]
    more = (
        f"{len(left):,} smaller tensors, {sum(r['n_bytes'] for r in left):,} bytes, are left out."
        if left
        else ""
    )
    return Table(f"Tensors of {subject.label}", columns, cells, more, is_folded=True)


def bits_by_layer(subject: Subject, n_roles: int) -> Chart | None:
    """Bits per weight of the matrices; None without any."""
    values = {str(row["name"]): _rounded(row["bits_per_weight"]) for row in _matrices(subject)}
    return layer_chart(
        subject,
        {name: value for name, value in values.items() if value is not None},
        title="Bits per weight by layer",
        axis="bits per weight",
        n_roles=n_roles,
        is_logarithmic=False,
    )


def errors_by_layer(subject: Subject, n_roles: int) -> Block:
    """Relative squared error of the matrices, where the history tells it."""
    names = {str(row["name"]) for row in _matrices(subject)}
    values = {name: error for name, error in subject.errors.items() if name in names and error > 0}
    chart = layer_chart(
        subject,
        values,
        title="Relative error by layer",
        axis="relative squared error",
        n_roles=n_roles,
        is_logarithmic=True,
    )
    if chart is not None:
        return chart
    if subject.facts.get("lossless"):
        return Note("It was packed without loss: no tensor has an error.")
    return Note(
        "The errors of its tensors are not recorded; tersor compress records them.",
        is_missing=True,
    )


def layer_chart(
    subject: Subject,
    values: Mapping[str, float],
    *,
    title: str,
    axis: str,
    n_roles: int,
    is_logarithmic: bool,
) -> Chart | None:
    """A quantity of tensors by layer, a series for each of the `n_roles` largest roles; None without values."""
    if not values:
        return None
    groups = _by_role(subject, values)
    labels = short_roles(list(groups))
    kept = list(groups)[:n_roles]
    # Of several in one layer, such as experts, the middle one is drawn.
    drawn: list[list[Value]] = [
        ["outside" if layer < 0 else str(layer), layer, labels[role], float(f"{np.median(found):.4g}")]
        for role in kept
        for layer, found in sorted(groups[role].items())
    ]
    left_out = len(groups) - len(kept)
    more = f" Smaller kinds ({left_out}) are in the table only." if left_out else ""
    return Chart(
        title=title,
        description=f"{title} of {subject.label}",
        spec=charts.by_layer(axis, is_logarithmic=is_logarithmic),
        fields=("place", "order", "role", "value"),
        rows=sorted(drawn, key=lambda row: (row[1], row[2])),
        caption=f"“outside”: tensors of no layer, such as embeddings.{more}",
        table=_role_table(title, groups, labels),
    )


def _by_role(subject: Subject, values: Mapping[str, float]) -> dict[str, dict[int, list[float]]]:
    """Role -> layer (-1: none) -> values; roles with most elements first."""
    sizes = {role_of(name): 0 for name in values}
    for row in subject.tensors:
        if row["name"] in values:
            sizes[role_of(str(row["name"]))] += prod(row["shape"])
    groups: dict[str, dict[int, list[float]]] = {
        role: {} for role in sorted(sizes, key=lambda role: (-sizes[role], role))
    }
    for name, value in values.items():
        layer = layer_of(name)
        groups[role_of(name)].setdefault(-1 if layer is None else layer, []).append(value)
    return groups


def _role_table(
    title: str, groups: Mapping[str, Mapping[int, list[float]]], labels: Mapping[str, str]
) -> Table:
    columns = [Column("tensors"), Column("number", integer_text)]
    columns += [Column(word, figure_text) for word in ("least", "middle", "most")]
    rows: list[list[Value]] = []
    for role, layers in list(groups.items())[:MAX_ROLES]:
        found = sorted(value for of_layer in layers.values() for value in of_layer)
        rows.append([labels[role], len(found), found[0], float(np.median(found)), found[-1]])
    left_out = len(groups) - len(rows)
    more = f"{left_out:,} smaller kinds are left out." if left_out else ""
    return Table(title, columns, rows, more, is_folded=True)


def _matrices(subject: Subject) -> list[Row]:
    return [row for row in subject.tensors if len(row["shape"]) > 1 and row["n_bytes"]]


def code_charts(histograms: Sequence[CodeHistogram]) -> Gallery | None:
    """A small histogram of codes for each role, and what a code costs under each model; None without grids."""
    if not histograms:
        return None
    labels = short_roles([histogram.role for histogram in histograms])
    small = [
        Chart(
            title=labels[histogram.role],
            description=f"How often each code occurs in {labels[histogram.role]}, and the fitted distribution",
            spec=charts.code_histogram(),
            fields=("code", "width", "share", "fitted"),
            rows=_bars(histogram),
            caption=f"entropy {figure_text(histogram.entropy, 3)}, fitted {figure_text(histogram.fit.bits, 3)}, "
            f"stored {figure_text(histogram.stored, 3)} bits",
            is_small=True,
        )
        for histogram in histograms
    ]
    return Gallery(small, _code_table(histograms, labels))


def _bars(histogram: CodeHistogram) -> list[list[Value]]:
    """(middle, width, share per code, fitted share per code) of each bar, but for the rarest .1 % of codes."""
    counts = histogram.counts
    total = counts.sum()
    if not total:
        return []
    below = np.cumsum(counts) / total
    first, last = int(np.searchsorted(below, 0.0005)), int(np.searchsorted(below, 0.9995))
    codes = np.arange(histogram.first_code + first, histogram.first_code + last + 1)
    shares = counts[first : last + 1] / total
    reach = 4 * max(abs(int(codes[0])), abs(int(codes[-1])), 1)
    wide = np.arange(-reach, reach + 1)  # so that the probabilities sum to 1 over all that matters
    fitted = histogram.fit.probabilities(wide.astype(np.float64))[codes[0] + reach : codes[-1] + reach + 1]
    width = -(-len(codes) // N_CODES)
    bars: list[list[Value]] = []
    for start in range(0, len(codes), width):
        end = min(start + width, len(codes))
        share, expected = (float(f"{part[start:end].mean():.3g}") for part in (shares, fitted))
        bars.append([int(codes[start] + codes[end - 1]) / 2, end - start, share, expected])
    return bars


def _code_table(histograms: Sequence[CodeHistogram], labels: Mapping[str, str]) -> Table:
    show: Callable[[float | None], str] = figure_text
    columns = (
        Column("tensors"),
        Column("number", integer_text),
        Column("codes", integer_text),
        Column("counted", integer_text, "of more than 2 million, evenly spaced blocks"),
        Column("zeros", percent_text),
        Column("entropy", show, "bits per code, order 0"),
        Column("given its class", show, "bits per code when the coder knows each code's entropy class"),
        Column("fitted", show, "bits per code under the fitted generalised normal distribution"),
        Column("its shape", show, "2: normal, 1: Laplace"),
        Column("stored", show, "bits per weight in the file, steps and classes included"),
    )
    rows: list[list[Value]] = [
        [
            labels[h.role],
            h.n_tensors,
            h.n_all,
            h.n_codes,
            h.zeros,
            h.entropy,
            h.by_class,
            h.fit.bits,
            h.fit.shape,
            h.stored,
        ]
        for h in histograms
    ]
    return Table("Bits per code", columns, rows)


def _rounded(value: object) -> float | None:
    return float(f"{value:.5g}") if isinstance(value, float | int) else None
