"""The kinds of charts, as Vega-Lite made by altair, without data: the page sends each kind once.

Colours are variables of the page's style sheet, so that dark mode and print need no second drawing. No expression
holds a text from outside: those are data, under fixed field names. Each is made once and must not be changed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import altair as alt

N_COLOURS = 8
COLOURS = [f"var(--series-{number})" for number in range(1, N_COLOURS + 1)]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"]
# Seven shapes and eight colours: 56 series differ in one or the other.
QUIET, STRONG, PAPER = "var(--ink-soft)", "var(--ink)", "var(--paper)"
ACCENT = COLOURS[0]
_HEIGHT = 280


def _spec(chart: Any, height: int = _HEIGHT) -> dict[str, Any]:
    """The chart as wide as its place, without altair's own configuration and without the data, which the page adds."""
    sized = chart.properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )
    spec: dict[str, Any] = sized.to_dict()
    for part in [spec, *spec.get("layer", [])]:
        for name in ("config", "data", "datasets", "usermeta"):
            part.pop(name, None)
    return spec


def _chart() -> Any:
    return alt.Chart(alt.NamedData(name="rows"))


def _series(field: str, title: str | None) -> tuple[Any, Any, Any]:
    """Colour and shape by one field, with one legend below the chart (a phone has no room beside it); and a stroke.

    The stroke is for lines. Coloured lines would get a legend of their own beside that of the points.
    """
    columns = alt.ExprRef(expr="width<520 ? 1 : 2")
    legend = alt.Legend(title=title, orient="bottom", columns=columns, symbolLimit=56, labelLimit=280)
    scale = alt.Scale(range=COLOURS)
    return (
        alt.Color(f"{field}:N", sort=None, scale=scale, legend=legend),
        alt.Shape(f"{field}:N", sort=None, scale=alt.Scale(range=SHAPES), legend=legend),
        alt.Stroke(f"{field}:N", sort=None, scale=scale, legend=None),
    )


@cache
def size_against_quality() -> dict[str, Any]:
    """Fields: model, size (bytes), value, low, high, kind ("original", "compressed"), side ("up", "down").

    side: of the label.
    """
    x = alt.X("size:Q", scale=alt.Scale(type="log", nice=False, padding=44)).title(
        "weight files, bytes (log)"
    )
    x = x.axis(format="~s", grid=False, tickCount=5, labelOverlap="greedy")
    y = alt.Y("value:Q", scale=alt.Scale(zero=False, padding=20)).title(None)
    base = _chart().encode(x=x)
    colour = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=["original", "compressed"], range=[QUIET, ACCENT]),
        legend=None,
    )
    bars = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q").title(None), y2="high:Q", color=colour)
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        y=y,
        color=colour,
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("size:Q", format=",", title="bytes"),
            alt.Tooltip("value:Q", format=".5~g"),
            alt.Tooltip("low:Q", format=".5~g", title="95 % from"),
            alt.Tooltip("high:Q", format=".5~g", title="to"),
        ],
    )
    names = base.encode(text="model:N")
    above = names.transform_filter("datum.side === 'up'").mark_text(
        dy=-8, baseline="bottom", limit=110, color=STRONG
    )
    below = names.transform_filter("datum.side === 'down'").mark_text(
        dy=8, baseline="top", limit=110, color=STRONG
    )
    return _spec(alt.layer(bars, points, above.encode(y="high:Q"), below.encode(y="low:Q")))


@cache
def tree_map() -> dict[str, Any]:
    """Fields: name, left, top, right, bottom (0..1), how, bytes, share, bits."""
    x = alt.X("left:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=None)
    y = alt.Y("top:Q", scale=alt.Scale(domain=[1, 0], nice=False), axis=None)
    colour, _, _ = _series("how", "layout and codec")
    boxes = (
        _chart()
        .mark_rect(stroke=PAPER, strokeWidth=1.5)
        .encode(
            x=x,
            y=y,
            x2="right:Q",
            y2="bottom:Q",
            color=colour,
            tooltip=[
                alt.Tooltip("name:N"),
                alt.Tooltip("bytes:Q", format=","),
                alt.Tooltip("share:Q", format=".2%"),
                alt.Tooltip("bits:Q", format=".3~f", title="bits per weight"),
                alt.Tooltip("how:N", title="stored as"),
            ],
        )
    )
    # A label is drawn where it has room for some letters, and cut to its box.
    room = "width*(datum.right-datum.left)-10"
    fits = f"{room}>44 && height*(datum.bottom-datum.top)>18"
    labels = _chart().mark_text(
        align="left",
        baseline="top",
        dx=5,
        dy=5,
        limit=alt.ExprRef(expr=f"max(1,{room})"),
        opacity=alt.ExprRef(expr=f"{fits} ? 1 : 0"),
        color="var(--on-series)",
    )
    return _spec(alt.layer(boxes, labels.encode(x=x, y=y, text="label:N")), height=380)


@cache
def by_layer(title: str, *, is_logarithmic: bool) -> dict[str, Any]:
    """Fields: place ("outside" or the layer's number), order, role, value."""
    x = alt.X("place:N", sort=alt.EncodingSortField(field="order", op="min"), title="layer")
    x = x.axis(labelAngle=0, labelOverlap="greedy")
    # With zero off, a log axis is not stretched to a power of ten.
    scale = (
        alt.Scale(type="log", nice=False, padding=8) if is_logarithmic else alt.Scale(zero=True, nice=True)
    )
    axis = alt.Axis(format=".1~e" if is_logarithmic else "~g", tickCount=6, labelOverlap="greedy")
    colour, shape, stroke = _series("role", None)
    base = _chart().encode(x=x, y=alt.Y("value:Q", scale=scale, axis=axis, title=title))
    lines = base.mark_line(strokeWidth=1.5, opacity=0.75).encode(stroke=stroke)
    points = base.mark_point(filled=True, size=46, opacity=1).encode(
        color=colour,
        shape=shape,
        tooltip=[
            alt.Tooltip("role:N", title="tensor"),
            alt.Tooltip("place:N", title="layer"),
            alt.Tooltip("value:Q", format=".4~g", title=title),
        ],
    )
    return _spec(alt.layer(lines, points))


@cache
def code_histogram() -> dict[str, Any]:
    """Fields: code (middle of the bar), width, share, fitted (per code)."""
    axis = alt.Axis(grid=False, tickCount=5, format="d", tickMinStep=1)
    y = alt.Y("share:Q", title=None, axis=alt.Axis(format=".0%", tickCount=3))
    bars = (
        _chart()
        .transform_calculate(begin="datum.code-datum.width/2", end="datum.code+datum.width/2")
        .mark_rect(color=ACCENT, opacity=0.5)
        .encode(
            x=alt.X("begin:Q", title="code", axis=axis),
            x2="end:Q",
            y=y,
            y2=alt.Y2Datum(0),
            tooltip=[
                alt.Tooltip("code:Q"),
                alt.Tooltip("share:Q", format=".3%"),
                alt.Tooltip("fitted:Q", format=".3%"),
            ],
        )
    )
    line = _chart().mark_line(color=STRONG, strokeWidth=1.5)
    return _spec(
        alt.layer(bars, line.encode(x=alt.X("code:Q", title="code", axis=axis), y="fitted:Q")), height=120
    )


@cache
def training_curve() -> dict[str, Any]:
    """Fields: step, value."""
    x = alt.X("step:Q", title="step", axis=alt.Axis(grid=False, tickCount=5, format="~s"))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4))
    tooltip = [alt.Tooltip("step:Q"), alt.Tooltip("value:Q", format=".5~g")]
    line = _chart().mark_line(strokeWidth=2, color=ACCENT).encode(x=x, y=y)
    points = (
        _chart().mark_point(filled=True, size=14, color=ACCENT, opacity=1).encode(x=x, y=y, tooltip=tooltip)
    )
    return _spec(alt.layer(line, points), height=160)


@cache
def rate_curves() -> dict[str, Any]:
    """Fields: bits, error, name."""
    colour, shape, stroke = _series("name", None)
    log = alt.Scale(type="log")
    chart = _chart().encode(
        x=alt.X("bits:Q", title="bits per weight", axis=alt.Axis(grid=False, tickCount=6)),
        y=alt.Y("error:Q", title="expected error", scale=log, axis=alt.Axis(format=".1~e", tickCount=5)),
    )
    tooltip = [
        alt.Tooltip("name:N"),
        alt.Tooltip("bits:Q", format=".3~f"),
        alt.Tooltip("error:Q", format=".3~g"),
    ]
    lines = chart.mark_line(strokeWidth=1.5).encode(stroke=stroke)
    points = chart.mark_point(filled=True, size=30, opacity=1)
    return _spec(alt.layer(lines, points.encode(color=colour, shape=shape, tooltip=tooltip)))


@cache
def intervals(title: str, n_names: int, n_models: int) -> dict[str, Any]:
    """Fields: name, model, value, low, high. n_names, n_models: different ones, which set the height."""
    colour, shape, stroke = _series("model", None)
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(grid=False, labelLimit=120))
    base = _chart().encode(y=y, yOffset=alt.YOffset("model:N", sort=None))
    x = alt.X("value:Q", title=title, scale=alt.Scale(zero=False, padding=8), axis=alt.Axis(tickCount=5))
    rules = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=alt.X("low:Q").title(title), x2="high:Q", stroke=stroke
    )
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=x,
        color=colour,
        shape=shape,
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("name:N"),
            alt.Tooltip("value:Q", format=".4~g"),
            alt.Tooltip("low:Q", format=".4~g", title="95 % from"),
            alt.Tooltip("high:Q", format=".4~g", title="to"),
        ],
    )
    return _spec(alt.layer(rules, points), height=max(120, n_names * (14 + 7 * n_models)))


CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": QUIET,
        "titleColor": QUIET,
        "gridColor": "var(--rule)",
        "domainColor": "var(--rule-strong)",
        "tickColor": "var(--rule-strong)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
    "legend": {
        "labelColor": STRONG,
        "titleColor": QUIET,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "symbolSize": 80,
        "rowPadding": 3,
    },
    "text": {"fontSize": 12},
}
"""For all charts."""
