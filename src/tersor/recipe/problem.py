"""What is wrong with a recipe, and where."""

from __future__ import annotations

# ("targets", 0, "options", "bits"): where a value stands.
Path = tuple[object, ...]
Problem = tuple[Path, str]
