"""Ways from a trained field to samples."""

from flowlib.sampling.ddim import ddim, posterior_variance
from flowlib.sampling.guidance import guide, rescale
from flowlib.sampling.ode import sample
from flowlib.sampling.sde import sample_sde

__all__ = ["ddim", "guide", "posterior_variance", "rescale", "sample", "sample_sde"]
