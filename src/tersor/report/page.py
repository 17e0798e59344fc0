"""Sections as one HTML file that needs nothing else: style, charts' library and data inside, no request leaves it.

A policy in the page lets the browser run the two scripts whose hashes it names and load nothing from anywhere, so a
name or a text from an archive could not run even if the escaping here failed.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from tersor.report.blocks import Section
from tersor.report.charts import CONFIG
from tersor.report.layout import charts_of
from tersor.report.untrusted import visible

_FOLDER = Path(__file__).parent / "assets"
_N_DIGITS = 7


@dataclass(frozen=True, slots=True)
class _Library:
    """What draws the charts. text: the script; packed: the same by gzip, in base64."""

    text: str
    packed: str


def render(title: str, sections: Sequence[Section]) -> bytes:
    """The page as UTF-8. Deterministic; what UTF-8 cannot hold (half a surrogate pair) becomes "?"."""
    library, script = _library(), _asset("page.js")
    names = {id(chart): f"chart-{number}" for number, chart in enumerate(_charts(sections), 1)}
    text = _template().render(
        title=title,
        sections=sections,
        chart_name=lambda chart: names[id(chart)],
        policy=_policy(script, library.text),
        style=Markup(_asset("page.css")),
        library=Markup(library.packed),
        script=Markup(script),
        data=Markup(script_json(_data(sections))),
    )
    return text.encode("utf-8", errors="replace")


def script_json(value: object) -> str:
    """JSON that can stand in a script element: no "<" that could end it, only what can be seen."""
    text = json.dumps(_visible(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _data(sections: Sequence[Section]) -> dict[str, Any]:
    """What the script draws: each kind of chart once, and every chart's rows."""
    kinds: dict[str, int] = {}
    specs: list[dict[str, Any]] = []
    charts = []
    for chart in _charts(sections):
        key = json.dumps(chart.spec, sort_keys=True)
        if key not in kinds:
            kinds[key] = len(specs)
            specs.append(chart.spec)
        charts.append(
            {
                "spec": kinds[key],
                "description": chart.description,
                "fields": list(chart.fields),
                "rows": [[_short(value) for value in row] for row in chart.rows],
            }
        )
    return {"config": CONFIG, "specs": specs, "charts": charts}


def _charts(sections: Sequence[Section]) -> list[Any]:
    return [chart for section in sections for chart in charts_of(section.blocks)]


def _short(value: object) -> object:
    return float(f"{value:.{_N_DIGITS}g}") if isinstance(value, float) else value


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _visible(item) for key, item in value.items()}
    return [_visible(item) for item in value] if isinstance(value, list | tuple) else value


def _policy(*scripts: str) -> str:
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@lru_cache(maxsize=1)
def _library() -> _Library:
    """Vega, Vega-Lite and Vega-Embed as one script; takes a second to make."""
    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # 900 kB, packed and in base64 410; all browsers since 2023 unpack gzip. The policy holds the hash of the text.
    packed = gzip.compress(text.encode(), 9, mtime=0)
    return _Library(text, base64.b64encode(packed).decode())


@lru_cache(maxsize=8)
def _asset(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    return environment.get_template("page.html.j2")
