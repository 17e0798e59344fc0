"""All targets by name."""

from __future__ import annotations

from fuzz import archive_targets, block_targets, source_targets
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (*archive_targets.TARGETS, *block_targets.TARGETS, *source_targets.TARGETS)
}
