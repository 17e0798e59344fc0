"""An attempt as transformers loads it."""

from __future__ import annotations

from typing import Any

from tersor.archive.folder import CONFIG_NAME
from tersor.pipeline.attempts import Attempt
from tersor.pipeline.job import Job
from tersor.pipeline.side_files import copy_side_files


def load_attempt(job: Job, attempt: Attempt) -> Any:
    """The model that the attempt's files hold, in float32; its side files then lie beside them."""
    from tersor.load import load_checked

    if not (attempt.folder / CONFIG_NAME).exists():
        copy_side_files(job, attempt.folder)
    return load_checked(attempt.folder, dtype="float32")[0]
