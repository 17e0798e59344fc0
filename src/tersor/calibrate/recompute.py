"""Trading time for memory: blocks whose activations are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

MIN_BLOCKS = 2


@contextmanager
def recomputed(model: nn.Module, mode: AbstractContextManager[Any] | None) -> Iterator[None]:
    """Inside, each block of the model keeps its inputs alone; its inside is computed again when the gradient arrives.

    mode: entered around each second computation (a torch function mode is not active in backward); None: nothing is
    recomputed. The model's blocks are the elements of its outermost lists of modules.
    """
    if mode is None:
        yield
        return
    originals = [(block, vars(block).get("forward")) for block in blocks_of(model)]
    for block, _ in originals:
        block.forward = _twice(block.forward, mode)
    try:
        yield
    finally:
        for block, original in originals:
            if original is None:
                del block.forward
            else:
                block.forward = original


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Elements of the outermost module lists of at least MIN_BLOCKS equal elements, in order."""
    found: list[nn.Module] = []
    stack = [model]
    while stack:
        module = stack.pop()
        for child in module.children():
            if (
                isinstance(child, nn.ModuleList)
                and len(child) >= MIN_BLOCKS
                and len({type(m) for m in child}) == 1
            ):
                found += child
            else:
                stack.append(child)
    return found


def _twice(forward: Callable[..., Any], mode: AbstractContextManager[Any]) -> Callable[..., Any]:
    """`forward` that runs without a graph, and again with one in the backward pass."""

    def run(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = pytree.tree_flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
        if not places or not torch.is_grad_enabled():
            return forward(*args, **kwargs)

        def again(*tensors: torch.Tensor) -> list[Any]:
            filled = list(leaves)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            again_args, again_kwargs = pytree.tree_unflatten(filled, structure)
            flat, shape = pytree.tree_flatten(forward(*again_args, **again_kwargs))
            shapes.append(shape)
            return flat

        shapes: list[Any] = []
        flat = _Recompute.apply(again, mode, *(leaves[i] for i in places))  # type: ignore[no-untyped-call]
        return pytree.tree_unflatten(list(flat), shapes[0])

    return run


class _Recompute(torch.autograd.Function):
    """Runs a function without a graph; backward runs it again with one, and through it."""

    @staticmethod
    def forward(
        ctx: Any, function: Callable[..., Any], mode: AbstractContextManager[Any], *tensors: torch.Tensor
    ) -> Any:
        ctx.function, ctx.mode = function, mode
        ctx.save_for_backward(*tensors)
        return tuple(function(*tensors))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> Any:
        tensors = [tensor.detach().requires_grad_(True) for tensor in ctx.saved_tensors]
        with torch.enable_grad(), ctx.mode:
            outputs = ctx.function(*tensors)
        felt = [
            (output, gradient)
            for output, gradient in zip(outputs, gradients, strict=True)
            if gradient is not None and isinstance(output, torch.Tensor) and output.requires_grad
        ]
        torch.autograd.backward([output for output, _ in felt], [gradient for _, gradient in felt])
        return (None, None, *(tensor.grad for tensor in tensors))
