"""Pictures for notebooks: the only place that imports matplotlib and ipywidgets.

A drawing function takes arrays or tensors, draws on ``ax`` or on a new figure, and returns the axes. In a cell write
``_ = density(...)``, or the axes are printed too.

- style: `use` first; `row`, `plane`; colours by meaning (`NOISE`, `DATA`, `FLOW`, `EXACT`, `WRONG`, `PALETTE`) and
  colour maps (`SEQUENTIAL`, `SPEED`, `DIVERGING`)
- distributions: `density` of a function log p, `samples`, `histogram`
- flows: `field` at one time, `trajectories` through all, `straight_lines` between pairs
- pictures: `images`, `image_paths`
- training: `training_curve`
- time: `player`, a slider over frames with a still picture for readers without a kernel; its `gif` for a README
"""

from flowlib.viz.density import density, histogram, samples
from flowlib.viz.field import field
from flowlib.viz.images import image_paths, images
from flowlib.viz.player import Player, player
from flowlib.viz.style import (
    DATA,
    DIVERGING,
    EXACT,
    FLOW,
    NOISE,
    PALETTE,
    SEQUENTIAL,
    SPEED,
    WRONG,
    plane,
    row,
    use,
)
from flowlib.viz.training import training_curve
from flowlib.viz.trajectory import straight_lines, trajectories

__all__ = [
    "DATA",
    "DIVERGING",
    "EXACT",
    "FLOW",
    "NOISE",
    "PALETTE",
    "SEQUENTIAL",
    "SPEED",
    "WRONG",
    "Player",
    "density",
    "field",
    "histogram",
    "image_paths",
    "images",
    "plane",
    "player",
    "row",
    "samples",
    "straight_lines",
    "training_curve",
    "trajectories",
    "use",
]
