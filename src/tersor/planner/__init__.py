"""Planning: a method for each tensor, how fine the steps are, and carrying it out."""

from __future__ import annotations

from tersor.planner.budget import Solution, solve_step
from tersor.planner.execute import quantize_model, quantize_tensor
from tersor.planner.plan import Plan, TensorPlan, check_budget, make_plan
from tersor.planner.rate import estimate_bytes

__all__ = [
    "Plan",
    "Solution",
    "TensorPlan",
    "check_budget",
    "estimate_bytes",
    "make_plan",
    "quantize_model",
    "quantize_tensor",
    "solve_step",
]
