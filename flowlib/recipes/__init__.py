"""Runs, one file each: a function from a scale to a frozen ``Recipe``."""

from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.recipe import Recipe, Run, Scale
from flowlib.recipes.rf_digits import draw_digits, rf_digits
from flowlib.recipes.rf_toy import rf_toy

RECIPES = {recipe.__name__: recipe for recipe in (judge_digits, rf_digits, rf_toy)}

__all__ = ["RECIPES", "Recipe", "Run", "Scale", "draw_digits", "judge_digits", "rf_digits", "rf_toy"]
