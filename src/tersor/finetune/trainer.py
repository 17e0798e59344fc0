"""transformers' Trainer, told what we want: our loss, our order of batches, learning rates by kind of parameter."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from tersor.finetune.features import Collator, Feature, Sequences, TaskData, labelled_rows
from tersor.finetune.grid_weights import rate_of
from tersor.finetune.objective import Objective
from tersor.finetune.order import LengthGrouped
from tersor.finetune.settings import Settings
from tersor.finetune.student import Student
from tersor.finetune.threads import torch_threads

EVAL_BATCH = 64
LOGS_PER_RUN = 50
_DECAYED_RANK = 2


@dataclass(frozen=True, slots=True)
class Rates:
    """Names of the parameters that train at another rate: a new head, the steps of grids."""

    head: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Trained:
    """log: the Trainer's own, by step. best: of the metric on the development set. n_steps: taken."""

    log: list[dict[str, Any]]
    best: float | None
    n_steps: int


class TaskTrainer(Trainer):  # type: ignore[misc]  # transformers carries no types
    """Trains a Student on a task's features."""

    def __init__(
        self,
        student: Student,
        arguments: TrainingArguments,
        data: TaskData,
        objective: Objective,
        settings: Settings,
        rates: Rates,
        pad_id: int,
        callbacks: Sequence[TrainerCallback] = (),
        extra_logs: Callable[[TaskTrainer], Mapping[str, float]] | None = None,
    ) -> None:
        self._extra_logs = extra_logs
        self._data = data
        self._objective = objective
        self._settings = settings
        self._rates = rates
        self._features: Sequence[Feature] = data.dev
        super().__init__(
            model=student,
            args=arguments,
            data_collator=Collator(pad_id, data.kind),
            train_dataset=Sequences(data.train),
            eval_dataset=Sequences(data.dev),
            compute_metrics=None if data.measure is None else self._measure,
            callbacks=list(callbacks),
        )
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader[Any]:
        features = self._data.train
        order = LengthGrouped(
            [len(feature) for feature in features], self.args.train_batch_size, self.args.seed
        )
        loader: DataLoader[Any] = DataLoader(
            self.train_dataset,
            batch_size=self.args.train_batch_size,
            sampler=order,
            collate_fn=self.data_collator,
        )
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, torch.Tensor], return_outputs: bool = False, **_: Any
    ) -> Any:
        output = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            output_hidden_states=model.training and self._objective.needs_hidden,
        )
        if not model.training:
            loss = self._objective.plain_loss(output.logits, inputs)
        else:
            loss = self._objective.loss(output.logits, output.hidden_states or (), inputs)
            bits = rate_of(self.model) if self._settings.rate else None
            if bits is not None:
                loss = loss + self._settings.rate * bits
        return (loss, {"logits": output.logits}) if return_outputs else loss

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW; matrices decay, vectors do not; a new head and steps have rates of their own."""
        if self.optimizer is None:  # type: ignore[has-type]
            self.optimizer = torch.optim.AdamW(
                _groups(self.model, self._settings, self._rates),
                lr=self._settings.learning_rate,
                betas=(0.9, 0.98),
                eps=1e-8,
                fused=True,
            )
        return self.optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """To logs of an evaluation during training also what `extra_logs` says, before the trackers see them."""
        if self._extra_logs is not None and any(name.startswith("eval_") for name in logs):
            logs = {**logs, **self._extra_logs(self)}
        super().log(logs, start_time)

    def judge(self, features: Sequence[Feature], prefix: str) -> dict[str, float]:
        """Loss and metrics of other features, names with the prefix."""
        self._features = features
        try:
            found = self.evaluate(Sequences(features), metric_key_prefix=prefix)
        finally:
            self._features = self._data.dev
        return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}

    def _measure(self, prediction: EvalPrediction) -> dict[str, float]:
        logits, labels = torch.from_numpy(np.asarray(prediction.predictions)), prediction.label_ids
        rows, _ = labelled_rows(logits, torch.from_numpy(np.asarray(labels)), self._data.kind)
        assert self._data.measure is not None
        return self._data.measure(rows.numpy(), self._features)


def _groups(student: Student, settings: Settings, rates: Rates) -> list[dict[str, Any]]:
    """Parameter groups of the optimizer: rate and decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in student.model.named_parameters():
        if not parameter.requires_grad:
            continue
        factor = 1.0
        if name in rates.head:
            factor = settings.head_rate
        elif name in rates.steps:
            factor = settings.step_rate
        decays = parameter.ndim >= _DECAYED_RANK and factor == 1.0
        key = (settings.learning_rate * factor, settings.weight_decay if decays else 0.0)
        groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def make_arguments(
    settings: Settings, data: TaskData, folder: Path, *, seed: int, trackers: Sequence[str], run_name: str
) -> TrainingArguments:
    """The Trainer's arguments: one evaluation and one checkpoint at a time, the best kept."""
    per_epoch = math.ceil(len(data.train) / settings.batch_size)
    n_steps = settings.max_steps or math.ceil(per_epoch * settings.epochs)
    every = min(n_steps, max(1, math.ceil(min(per_epoch, n_steps) / settings.evaluations)))
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=n_steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=EVAL_BATCH,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=int(settings.warmup * n_steps),
        max_grad_norm=settings.max_grad_norm,
        bf16=multiplies_bf16() if settings.bf16 is None else settings.bf16,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=max(1, n_steps // LOGS_PER_RUN),
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{data.metric}",
        greater_is_better=data.greater_is_better,
        restore_callback_states_from_checkpoint=True,
        prediction_loss_only=data.measure is None,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to=list(trackers) or "none",
        run_name=run_name,
        seed=seed,
        use_cpu=True,
    )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in a folder; what a kill left half written is removed."""
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        try:
            step = json.loads((path / "trainer_state.json").read_bytes())["global_step"]
        except (OSError, ValueError, KeyError):  # the Trainer writes this file last
            shutil.rmtree(path)
            continue
        found[int(step)] = path
    return found[max(found)] if found else None


def multiplies_bf16() -> bool:
    """Whether the processor has instructions for products of bfloat16: 4.6x float32 on one with AVX512_BF16."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def train(trainer: TaskTrainer, settings: Settings, *, threads: int) -> Trained:
    """Train from the newest checkpoint in the trainer's folder, or from the start; the best model is then loaded."""
    if settings.patience:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=settings.patience))
    newest = last_checkpoint(Path(trainer.args.output_dir))
    with torch_threads(threads):
        trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
    trainer.remove_callback(EarlyStoppingCallback)  # what is measured from here on stops nothing
    state = trainer.state
    return Trained(list(state.log_history), state.best_metric, state.global_step)
