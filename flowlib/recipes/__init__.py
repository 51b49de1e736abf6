"""Runs, one file each: a function from a scale to a frozen ``Recipe``."""

from collections.abc import Callable
from functools import partial

from flowlib.recipes.chain_cifar10 import chain_cifar10
from flowlib.recipes.conditioning_digits import conditioning_digits
from flowlib.recipes.ddpm_digits import ddpm_digits, diffuse_digits
from flowlib.recipes.dit_cifar10 import dit_cifar10
from flowlib.recipes.dit_digits import dit_digits
from flowlib.recipes.dit_imagenet256_xl2 import dit_imagenet256_xl2
from flowlib.recipes.dit_latents_cifar10 import dit_latents_cifar10
from flowlib.recipes.encoders_shapes import encoders_shapes
from flowlib.recipes.families_2d import ROADS, families_2d, family_2d
from flowlib.recipes.few_digits import few_digits
from flowlib.recipes.flux_shapes import draw_guided, flux_shapes, flux_shapes_guided
from flowlib.recipes.glow_cifar10 import glow_cifar10
from flowlib.recipes.glow_digits import glow_digits
from flowlib.recipes.judge_cifar10 import judge_cifar10
from flowlib.recipes.judge_digits import judge_digits
from flowlib.recipes.judge_fashion import judge_fashion
from flowlib.recipes.latents_digits import latents_digits
from flowlib.recipes.ledger import ledger
from flowlib.recipes.mar_digits import mar_digits, mar_digits_raster
from flowlib.recipes.mmdit_2b import mmdit_2b
from flowlib.recipes.mmdit_emoji import mmdit_emoji
from flowlib.recipes.mmdit_shapes import draw_captions, mmdit_shapes
from flowlib.recipes.nf_toy import FAMILIES, TOYS, nf_toy
from flowlib.recipes.one_step_digits import one_step_digits
from flowlib.recipes.orders_digits import orders_digits
from flowlib.recipes.pairings_2d import pairings_2d
from flowlib.recipes.paths_digits import paths_digits
from flowlib.recipes.rate_digits import rate_digits
from flowlib.recipes.recipe import Recipe, Scale
from flowlib.recipes.reflow_2d import reflow_2d
from flowlib.recipes.reflow_pictures import (
    rf2_cifar10,
    rf2_cifar10_distilled,
    rf2_fashion,
    rf2_fashion_distilled,
    transfer_cifar10,
    transfer_fashion,
)
from flowlib.recipes.rf2_digits import judge_drawn, judge_floor, judge_samples, rf2_digits, rf2_digits_distilled
from flowlib.recipes.rf_cifar10 import rf_cifar10, rf_cifar10_small
from flowlib.recipes.rf_digits import draw_digits, rf_digits
from flowlib.recipes.rf_fashion import rf_fashion
from flowlib.recipes.rf_toy import rf_toy
from flowlib.recipes.times_shapes import times_shapes
from flowlib.recipes.timesteps_digits import timesteps_digits
from flowlib.recipes.transfer_digits import transfer_digits
from flowlib.recipes.vae_cifar10 import vae_cifar10
from flowlib.recipes.vae_digits import vae_digits
from flowlib.recipes.vit_cifar10 import vit_cifar10
from flowlib.recipes.vit_digits import vit_digits

RECIPES = {
    recipe.__name__: recipe
    for recipe in (
        ddpm_digits,
        dit_cifar10,
        dit_digits,
        dit_imagenet256_xl2,
        dit_latents_cifar10,
        flux_shapes,
        flux_shapes_guided,
        glow_cifar10,
        glow_digits,
        judge_cifar10,
        judge_digits,
        judge_fashion,
        mar_digits,
        mar_digits_raster,
        mmdit_2b,
        mmdit_emoji,
        mmdit_shapes,
        rf2_cifar10,
        rf2_cifar10_distilled,
        rf2_digits,
        rf2_digits_distilled,
        rf2_fashion,
        rf2_fashion_distilled,
        rf_cifar10,
        rf_cifar10_small,
        rf_digits,
        rf_fashion,
        rf_toy,
        transfer_cifar10,
        transfer_digits,
        transfer_fashion,
        vae_cifar10,
        vae_digits,
        vit_cifar10,
        vit_digits,
    )
} | {f"{family}_{toy}": partial(nf_toy, family=family, toy=toy) for family in FAMILIES for toy in TOYS}
RECIPES |= {f"{road}_pinwheel": partial(family_2d, road=road) for road in ROADS}

RESULTS: dict[str, Callable] = {
    "chain_cifar10": chain_cifar10,
    "families_2d": families_2d,
    "conditioning_digits": conditioning_digits,
    "encoders_shapes": encoders_shapes,
    "few_digits": few_digits,
    "latents_digits": latents_digits,
    "ledger": ledger,
    "one_step_digits": one_step_digits,
    "orders_digits": orders_digits,
    "pairings_2d": pairings_2d,
    "paths_digits": paths_digits,
    "rate_digits": rate_digits,
    "reflow_2d": reflow_2d,
    "times_shapes": times_shapes,
    "timesteps_digits": timesteps_digits,
}  # name -> function(path, seeds), which fills the table at path

__all__ = [
    "RECIPES",
    "RESULTS",
    "Recipe",
    "Scale",
    "chain_cifar10",
    "conditioning_digits",
    "ddpm_digits",
    "diffuse_digits",
    "dit_cifar10",
    "dit_digits",
    "dit_imagenet256_xl2",
    "dit_latents_cifar10",
    "draw_captions",
    "draw_digits",
    "draw_guided",
    "encoders_shapes",
    "families_2d",
    "family_2d",
    "few_digits",
    "flux_shapes",
    "flux_shapes_guided",
    "glow_cifar10",
    "glow_digits",
    "judge_cifar10",
    "judge_digits",
    "judge_drawn",
    "judge_fashion",
    "judge_floor",
    "judge_samples",
    "latents_digits",
    "ledger",
    "mar_digits",
    "mar_digits_raster",
    "mmdit_2b",
    "mmdit_emoji",
    "mmdit_shapes",
    "nf_toy",
    "one_step_digits",
    "orders_digits",
    "pairings_2d",
    "paths_digits",
    "rate_digits",
    "reflow_2d",
    "rf2_cifar10",
    "rf2_cifar10_distilled",
    "rf2_digits",
    "rf2_digits_distilled",
    "rf2_fashion",
    "rf2_fashion_distilled",
    "rf_cifar10",
    "rf_cifar10_small",
    "rf_digits",
    "rf_fashion",
    "rf_toy",
    "times_shapes",
    "timesteps_digits",
    "transfer_cifar10",
    "transfer_digits",
    "transfer_fashion",
    "vae_cifar10",
    "vae_digits",
    "vit_cifar10",
    "vit_digits",
]
