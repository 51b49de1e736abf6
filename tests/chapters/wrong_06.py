"""Plausible wrong answers to the exercises of chapter 06, each under its number and the mistake it makes."""

WRONG = {
    ("6.1", "velocity of a pair that starts at x"): "ot, cosine, ve = 1.0, 2.8721, 8.5172",
    ("6.1", "prime taken of the argument"): "ot, cosine, ve = 2.0, 2.8721, -8.5172",
    ("6.1", "forgets the motion of the mean"): "ot, cosine, ve = 2.0, 0.6506, 8.5172",
    ("6.2", "time broadcasts"): """
def conditional_velocity(path, x, x_1, t):
    a, s, da, ds = path.alpha(t), path.sigma(t), path.d_alpha(t), path.d_sigma(t)
    return ds / s * (x - a * x_1) + da * x_1""",
    ("6.2", "centre not scaled"): """
def conditional_velocity(path, x, x_1, t):
    shape = (-1, *(1,) * (x.ndim - 1))
    a, s, da, ds = (f(t).reshape(shape) for f in (path.alpha, path.sigma, path.d_alpha, path.d_sigma))
    return ds / s * (x - x_1) + da * x_1""",
    ("6.2", "only straight lines"): """
def conditional_velocity(path, x, x_1, t):
    return (x_1 - x) / (1 - t.reshape(-1, *(1,) * (x.ndim - 1)))""",
    ("6.3", "underflows"): """
def marginal_velocity(path, x, t, points):
    a, s, da, ds = (f(t)[:, None, None] for f in (path.alpha, path.sigma, path.d_alpha, path.d_sigma))
    away = x[:, None] - a * points
    weight = torch.exp(-away.square().sum(2) / (2 * s[..., 0] ** 2))
    weight = weight / weight.sum(1, keepdim=True)
    return (weight[..., None] * (ds / s * away + da * points)).sum(1)""",
    ("6.3", "plain mean of the conditional fields"): """
def marginal_velocity(path, x, t, points):
    a, s, da, ds = (f(t)[:, None, None] for f in (path.alpha, path.sigma, path.d_alpha, path.d_sigma))
    return (ds / s * (x[:, None] - a * points) + da * points).mean(1)""",
    ("6.3", "variance is not squared"): """
def marginal_velocity(path, x, t, points):
    a, s, da, ds = (f(t)[:, None, None] for f in (path.alpha, path.sigma, path.d_alpha, path.d_sigma))
    away = x[:, None] - a * points
    weight = (-away.square().sum(2) / (2 * s[..., 0])).softmax(1)
    return (weight[..., None] * (ds / s * away + da * points)).sum(1)""",
    ("6.4", "floors are zero"): 'floor_ot, floor_cosine, closer = 0.0, 0.0, "OT"',
    ("6.4", "compares the losses"): 'floor_ot, floor_cosine, closer = math.pi * 0.2, math.pi**2 * 0.1, "OT"',
    ("6.4", "forgets D"): 'floor_ot, floor_cosine, closer = math.pi * 0.2, 0.4, "Cosine"',
    ("6.5", "same point, same time"): """
def on_another_path(v, path):
    return v""",
    ("6.5", "clock without magnifying glass"): """
def on_another_path(v, path):
    def other(x, t, c=None):
        a, s, da, ds = (f(t)[:, None] for f in (path.alpha, path.sigma, path.d_alpha, path.d_sigma))
        t_ot = (a / (a + s))[:, 0]
        velocity = v(x, t_ot)
        x_1, x_0 = (OT().convert(velocity, x, t_ot, have="velocity", want=w) for w in ("data", "noise"))
        return da * x_1 + ds * x_0
    return other""",
    ("6.5", "velocity carried over"): """
def on_another_path(v, path):
    def other(x, t, c=None):
        a, s = path.alpha(t)[:, None], path.sigma(t)[:, None]
        return (a + s) * v(x / (a + s), (a / (a + s))[:, 0])
    return other""",
    ("6.6", "OT is always straight"): """
def bend(path, c):
    z_0 = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1))
    v = exact_velocity(path, Gaussian(torch.zeros(1), c**2))
    return straightness(v, path.source(z_0), steps=100).value
straighter = {0.1: "OT", 1.0: "OT", 3.0: "OT"}""",
    ("6.6", "takes c for the variance"): """
def bend(path, c):
    z_0 = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1))
    v = exact_velocity(path, Gaussian(torch.zeros(1), c))
    return straightness(v, path.source(z_0), steps=100).value
straighter = {0.1: "OT", 1.0: "VP", 3.0: "OT"}""",
    ("6.7", "medians and means swapped"): 'squared, absolute, flow = 0.0, 1.0, "squared"',
    ("6.7", "both losses alike"): 'squared, absolute, flow = 1.0, 1.0, "squared"',
    ("6.7", "the median as a flow"): 'squared, absolute, flow = 1.0, 0.0, "absolute"',
}
