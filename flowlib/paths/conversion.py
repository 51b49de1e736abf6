"""A field trained on one path, used on another: same signal-to-noise ratio, same problem."""

from __future__ import annotations

from flowlib.paths.path import Path
from flowlib.shapes import Batch, Field, PerSample
from flowlib.tensors import per_sample


def change_path(v: Field, old: Path, new: Path) -> Field:
    """Velocity field on the path ``new`` of a field trained on the path ``old``.

    Where both have the same signal-to-noise ratio, at time t of the new path and s of the old one, their points differ
    by a scale, ``x_s = g x_t`` with ``g = alpha'_s / alpha_t = sigma'_s / sigma_t``. So both ask the same question,
    and the estimates of data and noise are the same::

        x_1_hat, x_0_hat  from  v(g x_t, s),    v_new(x_t, t) = d_alpha_t x_1_hat + d_sigma_t x_0_hat

    A solver with small steps then arrives at the same sample; with large ones the new path may be the better one.
    Where the new path has a ratio that the old one never reaches (VP keeps some data at t = 0, OT none), the nearest
    end of the old one answers: the approximation that sampling VP from pure noise makes as well.

    Args:
        v: velocity field of the old path, v(x, t, c).
        old: the path it was trained on.
        new: the path to use it on.

    Raises:
        InputError: when called at a time where the velocity of the new path is infinite (VP, t = 1).

    Source: Karras et al. 2022 (EDM), section 3; Lipman et al. 2024 (flow matching guide), section 4.6. Chapter 03.
    """

    def changed(x: Batch, t: PerSample, c: object = None) -> Batch:
        new.check_velocity(t)
        ends = old.snr(t.new_tensor([0.0, old.end]))
        s = old.time_at_snr(new.snr(t).clamp(ends[0], ends[1]))
        size_old, size_new = ((p.alpha(u) ** 2 + p.sigma(u) ** 2).sqrt() for p, u in ((old, s), (new, t)))
        x_s = per_sample(size_old / size_new, x) * x  # the same number as g, without dividing 0 by 0 at an end
        value = v(x_s, s, c)
        x_1 = old.convert(value, x_s, s, have="velocity", want="data")
        x_0 = old.convert(value, x_s, s, have="velocity", want="noise")
        return per_sample(new.d_alpha(t), x) * x_1 + per_sample(new.d_sigma(t), x) * x_0

    return changed
