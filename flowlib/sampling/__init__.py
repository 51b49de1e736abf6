"""Ways from a trained field to samples."""

from flowlib.sampling.ode import sample

__all__ = ["sample"]
