"""Optimisers of the one loop: AdamW for everything, or Muon for the matrices of the blocks."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from flowlib.errors import InputError
from flowlib.training.plan import Plan


def optimizer_of(model: nn.Module, plan: Plan) -> Optimizer:
    """Return the optimiser that ``plan.optimizer`` names, for the parameters that are trained."""
    return adamw(model, plan) if plan.optimizer == "adamw" else MuonAdamW(model, plan)


def adamw(model: nn.Module, plan: Plan) -> Optimizer:
    """Return AdamW on the parameters that are trained, in one fused kernel."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return AdamW(parameters, lr=plan.lr, weight_decay=plan.weight_decay, fused=True)


class MuonAdamW(Optimizer):
    """Muon for the matrices of the blocks, AdamW for all other parameters, in one set of states.

    Muon moves a matrix by its momentum made orthogonal: the singular values of the step are about equal, so that it
    goes as far in rare directions as in common ones. A step is scaled to the size that AdamW's have,
    ``0.2 sqrt(max(rows, columns))``, so that one learning rate serves both.

    Args:
        model: the blocks are what its ``nn.ModuleList``s hold; a matrix is the weight of an ``nn.Linear``.
        plan: learning rate and weight decay of both.

    Raises:
        InputError: a model without blocks.

    Source: Jordan et al. 2024 (Muon); Liu et al. 2025, Muon is scalable for LLM training, equation 4, for the scale.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        lists = (part for part in model.modules() if isinstance(part, nn.ModuleList))
        inside = chain.from_iterable(part.modules() for part in lists)
        linear = [part.weight for part in inside if isinstance(part, nn.Linear)]
        matrices = [p for p in dict.fromkeys(linear) if p.requires_grad]
        if not matrices:
            raise InputError("plan.optimizer", expected="adamw, for a model without blocks", got=repr(plan.optimizer))
        rest = [p for p in model.parameters() if p.requires_grad and p not in set(matrices)]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": rest}]
        super().__init__(groups, {"lr": plan.lr})
        muon = Muon(matrices, lr=plan.lr, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw")
        self._parts = (muon, AdamW(rest, lr=plan.lr, weight_decay=plan.weight_decay, fused=True))
        self.param_groups = [group for part in self._parts for group in part.param_groups]
        for part in self._parts:
            part.state = self.state  # what one remembers of a parameter is found where the other's is

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter from its gradient."""
        for part in self._parts:
            part.step()
