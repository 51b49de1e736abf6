"""Ways from a trained field to samples."""

from flowlib.sampling.ddim import ddim, posterior_variance
from flowlib.sampling.guidance import guide, rescale
from flowlib.sampling.jump import jump, jump_and_renoise
from flowlib.sampling.ode import sample
from flowlib.sampling.sde import sample_sde

__all__ = ["ddim", "guide", "jump", "jump_and_renoise", "posterior_variance", "rescale", "sample", "sample_sde"]
