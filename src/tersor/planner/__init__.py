"""Planning: a method for each tensor, how fine the steps are, and carrying it out."""

from __future__ import annotations

from tersor.planner.budget import Solution, solve_step
from tersor.planner.execute import Rounding, quantize_matrix, quantize_model, store_tensor
from tersor.planner.plan import Plan, TensorPlan, check_budget, make_plan
from tersor.planner.pruned import PrunedReader
from tersor.planner.rate import estimate_bytes

__all__ = [
    "Plan",
    "PrunedReader",
    "Rounding",
    "Solution",
    "TensorPlan",
    "check_budget",
    "estimate_bytes",
    "make_plan",
    "quantize_matrix",
    "quantize_model",
    "solve_step",
    "store_tensor",
]
