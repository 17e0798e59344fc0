"""Sphinx: Markdown pages (myst) in the furo theme. `make docs`."""

from importlib.metadata import version as installed_version

project = "tersor"
author = "the tersor authors"
release = version = installed_version("tersor")

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"tersor {release}"
html_show_sphinx = False
