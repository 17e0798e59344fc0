"""Planning: which method each tensor gets (`make_plan`), how fine the steps are (`solve_step`), doing it (`quantize_model`)."""

from __future__ import annotations

from tersor.planner.budget import Solution, parse_size, solve_step
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
    "parse_size",
    "quantize_model",
    "quantize_tensor",
    "solve_step",
]
