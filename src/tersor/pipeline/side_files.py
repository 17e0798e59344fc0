"""What loaders look for beside the weights: config.json that names the hook, tokenizer files, a shard index."""

from __future__ import annotations

import json
from pathlib import Path

from tersor.archive.folder import CONFIG_NAME, add_side_file
from tersor.archive.index import SideRecord
from tersor.errors import UsageError
from tersor.pipeline.job import Job

SHARD_INDEX = "model.tersor.safetensors.index.json"


def copy_side_files(job: Job, folder: Path) -> list[SideRecord]:
    """Copy the side files into `folder`; config.json names the hook, the shard index our shards."""
    outputs = {*job.names.values(), *([SHARD_INDEX] if len(job.names) > 1 else [])}
    records = []
    for entry in job.checkpoint.with_role("side"):
        is_config = entry.relative == CONFIG_NAME
        record = add_side_file(entry.path, entry.relative, folder, adapt=is_config, outputs=outputs)
        if record is None:
            raise UsageError(f"{entry.path}: is no JSON object; compress needs the model's configuration")
        records.append(record)
    if len(job.names) > 1:
        shards = {name: job.names[relative] for name, relative in job.weights.file_of.items()}
        text = json.dumps({"metadata": {}, "weight_map": shards}, indent=2) + "\n"
        (folder / SHARD_INDEX).write_text(text, encoding="utf-8")
    return records
