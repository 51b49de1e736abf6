"""Pictures that a reader can touch: `explore`, thousands of particles on their paths, alive without a kernel.

The rest of `flowlib.viz` needs no widget library; these do, so they are imported by name.
"""

from flowlib.viz.widgets.explorer import Explorer, explore

__all__ = ["Explorer", "explore"]
