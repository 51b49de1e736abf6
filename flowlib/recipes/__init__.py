"""Runs, one file each: a function from a scale to a frozen ``Recipe``."""

from functools import partial

from flowlib.recipes.glow_digits import glow_digits
from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.nf_toy import FAMILIES, TOYS, nf_toy
from flowlib.recipes.recipe import Recipe, Run, Scale
from flowlib.recipes.rf_digits import draw_digits, rf_digits
from flowlib.recipes.rf_toy import rf_toy

RECIPES = {recipe.__name__: recipe for recipe in (glow_digits, judge_digits, rf_digits, rf_toy)} | {
    f"{family}_{toy}": partial(nf_toy, family=family, toy=toy) for family in FAMILIES for toy in TOYS
}

__all__ = [
    "RECIPES",
    "Recipe",
    "Run",
    "Scale",
    "draw_digits",
    "glow_digits",
    "judge_digits",
    "nf_toy",
    "rf_digits",
    "rf_toy",
]
