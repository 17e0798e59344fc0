"""Showing: one page on what was made of a model, from archives and what is recorded beside them.

`report(paths, output)` reads (subject, evaluations, training, histograms, ...), lays out (sections, charts, tables)
and writes (page). Names and figures come from files that others may have made: everything is checked on its way in
(`untrusted`) and escaped on its way out (`page`).
"""

from __future__ import annotations

from tersor.report.run import report as report

__all__ = ["report"]
