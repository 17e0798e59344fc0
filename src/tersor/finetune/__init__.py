"""Fine-tuning: a task's model trained, compressed, and trained on in the form in which it is stored.

Training runs on transformers' Trainer. What comes out still meets its size: codes stay, or get wider steps.
"""

from __future__ import annotations

from tersor.finetune.run import finetune
from tersor.finetune.settings import Settings

__all__ = ["Settings", "finetune"]
