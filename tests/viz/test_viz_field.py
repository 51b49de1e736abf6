import numpy as np
import torch
from matplotlib.axes import Axes

from flowlib import viz


def shear(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return torch.stack([t * x[:, 1], 2 * t], 1)


def test_arrows_are_the_field_at_the_cell_centres(ax: Axes) -> None:
    viz.field(shear, 0.5, limits=(-2.0, 2.0), n=4, ax=ax)
    (arrows,) = ax.collections
    x, y = arrows.X, arrows.Y
    speed = np.hypot(0.5 * y, 1.0)
    np.testing.assert_allclose(sorted(set(x)), [-1.5, -0.5, 0.5, 1.5])
    np.testing.assert_allclose(arrows.get_array(), speed, rtol=1e-6)
    np.testing.assert_allclose(arrows.U, 0.5 * y / speed.max(), rtol=1e-6)  # the fastest is one cell, 1.0, long
    np.testing.assert_allclose(arrows.V, 1.0 / speed.max(), rtol=1e-6)
    assert (arrows.angles, arrows.scale_units, arrows.scale) == ("xy", "xy", 1.0)


def test_max_speed_is_a_scale_for_several_panels(ax: Axes) -> None:
    viz.field(lambda x, t: torch.full_like(x, 3.0), 0.0, limits=(0.0, 4.0), n=4, ax=ax, max_speed=100.0)
    viz.field(lambda x, t: torch.full_like(x, 3.0), 0.0, limits=(0.0, 4.0), n=4, ax=ax, max_speed=1.0)
    slow, clipped = ax.collections
    np.testing.assert_allclose(slow.U, 0.03, rtol=1e-6)
    np.testing.assert_allclose(np.hypot(clipped.U, clipped.V), 1.0, rtol=1e-6)
    assert slow.get_clim() == (0.0, 100.0)


def test_the_time_reaches_the_field_as_one_number_a_sample() -> None:
    seen = []

    def v(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append((x.shape, t))
        return x

    viz.field(v, torch.tensor(0.25), n=3)
    ((shape, t),) = seen
    assert shape == (9, 2)
    np.testing.assert_array_equal(t, np.full(9, 0.25))


def test_a_field_at_rest_can_be_drawn(ax: Axes) -> None:
    viz.field(lambda x, t: torch.zeros_like(x), 0.0, ax=ax)
    assert np.isfinite(ax.collections[0].U).all()
    ax.figure.canvas.draw()
