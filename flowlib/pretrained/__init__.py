"""Released weights in our modules: maps of their keys, and downloads only when asked."""

from flowlib.pretrained.dit import download_dit, load_dit, velocity
from flowlib.pretrained.files import download, read_weights
from flowlib.pretrained.flux import load_flux
from flowlib.pretrained.sd3 import load_sd3
from flowlib.pretrained.vae import load_vae

__all__ = ["download", "download_dit", "load_dit", "load_flux", "load_sd3", "load_vae", "read_weights", "velocity"]
