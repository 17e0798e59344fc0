"""Read everything, lay it out, write one page."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any

from tersor.errors import MissingExtraError, UsageError
from tersor.output import OutputFile

Path = str | PathLike[str]

MAX_MODELS = 12
MAX_PAGE_BYTES = 1_200_000
"""Of which the charts' library takes 410 kB. Detail is left out, first the smallest tensors, until the rest fits."""
_HISTOGRAMS = 24
"""Of all models together."""


def report(
    paths: Path | Sequence[Path],
    output: Path,
    *,
    original: Path | None = None,
    evaluations: Sequence[Path] = (),
    title: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write one self-contained HTML page on archives; return what it holds, for JSON.

    paths: archives (folders, files or URLs), 1 .. MAX_MODELS. original: the model they were made from.
    evaluations: files with what `tersor evaluate --json` printed, besides those in the archives' histories.
    title: None: made of the archives' names. force: replace an existing file.
    What an archive does not tell (no history, no evaluation) is said in the page. Equal inputs give equal bytes.
    Returns path, n_bytes, models, n_charts, n_evaluations, missing (what the page says is missing).
    Raises: UsageError, CorruptError, NewerFormatError, OutputError, MissingExtraError (altair, vl-convert, jinja2).
    """
    archives = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    if not 0 < len(archives) <= MAX_MODELS:
        raise UsageError(f"report: {len(archives)} archives given; needed: 1 to {MAX_MODELS}")
    inputs = [
        fspath(path) for path in [*archives, *([original] if original is not None else []), *evaluations]
    ]
    out = OutputFile(fspath(output), force=force, inputs=inputs)
    try:
        from tersor.report.detail import LEVELS
        from tersor.report.layout import default_title, evaluations_of, missing, n_charts, sections
        from tersor.report.page import render
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            f"report needs {exc.name}, which is not installed; run: pip install 'tersor[report]'"
        ) from exc
    from tersor.report.subject import read_evaluation_file, read_original, read_subjects

    subjects = read_subjects(archives, max(2, _HISTOGRAMS // len(archives)))
    known = None if original is None else read_original(original, subjects)
    found = evaluations_of(subjects, known, [read_evaluation_file(path) for path in evaluations])
    name = title or default_title(subjects)
    for detail in LEVELS:
        parts = sections(subjects, known, found, detail.shared_by(len(archives)))
        data = render(name, parts)
        if len(data) <= MAX_PAGE_BYTES:
            break
    else:
        raise UsageError(
            f"report: a page on {len(archives)} archives needs {len(data):,} bytes, more than {MAX_PAGE_BYTES:,}; "
            "give fewer of them"
        )
    with out as file:
        file.write(data)
    return {
        "path": fspath(output),
        "n_bytes": len(data),
        "models": [{"path": s.path, "n_bytes": s.n_bytes, "label": s.label} for s in subjects],
        "n_evaluations": len(found),
        "n_charts": n_charts(parts),
        "missing": missing(parts),
    }
