"""Plausible wrong answers to the exercises of chapter 04, each under its number and the mistake it makes."""

WRONG = {
    ("4.1", "meets too early"): "time, place, velocity, end = 0.25, (1.0, 1.0), (2.0, 0.0), (2.0, 0.0)",
    ("4.1", "velocity of one line"): "time, place, velocity, end = 0.5, (1.0, 1.0), (2.0, 2.0), (2.0, 0.0)",
    ("4.1", "follows its line"): "time, place, velocity, end = 0.5, (1.0, 1.0), (2.0, 0.0), (2.0, 2.0)",
    ("4.2", "time broadcasts"): """
def interpolate(x_0, x_1, t):
    return t * x_1 + (1 - t) * x_0, x_1 - x_0""",
    ("4.2", "time reversed"): """
def interpolate(x_0, x_1, t):
    t = t.reshape(-1, *(1,) * (x_1.ndim - 1))
    return t * x_0 + (1 - t) * x_1, x_0 - x_1""",
    ("4.2", "no return"): """
def interpolate(x_0, x_1, t):
    x_t = x_0""",
    ("4.3", "target reversed"): """
def rectified_flow_loss(v, x_0, x_1, t):
    x_t = t[:, None] * x_1 + (1 - t[:, None]) * x_0
    return (v(x_t, t) - (x_0 - x_1)).square().mean()""",
    ("4.3", "sum over coordinates"): """
def rectified_flow_loss(v, x_0, x_1, t):
    x_t = t[:, None] * x_1 + (1 - t[:, None]) * x_0
    return (v(x_t, t) - (x_1 - x_0)).square().sum(1).mean()""",
    ("4.3", "field at the wrong place"): """
def rectified_flow_loss(v, x_0, x_1, t):
    return (v(x_0, t) - (x_1 - x_0)).square().mean()""",
    ("4.4", "underflows"): """
def finite_set_velocity(x, t, points):
    t = t[:, None]
    weight = torch.exp(-(x[:, None] - t[..., None] * points).square().sum(2) / (2 * (1 - t) ** 2))
    return (weight / weight.sum(1, keepdim=True) @ points - x) / (1 - t)""",
    ("4.4", "variance is not squared"): """
def finite_set_velocity(x, t, points):
    t = t[:, None]
    r = (-(x[:, None] - t[..., None] * points).square().sum(2) / (2 * (1 - t))).softmax(1)
    return (r @ points - x) / (1 - t)""",
    ("4.4", "points not moved towards the noise"): """
def finite_set_velocity(x, t, points):
    t = t[:, None]
    r = (-(x[:, None] - points).square().sum(2) / (2 * (1 - t) ** 2)).softmax(1)
    return (r @ points - x) / (1 - t)""",
    ("4.5", "forgets to divide by 1 - t"): "velocity, flow_end, euler_end = 0.2759, 2.4, 2.0",
    ("4.5", "flow taken for the mean"): "velocity, flow_end, euler_end = 0.5517, 2.0, 2.0",
    ("4.5", "Euler taken for exact"): "velocity, flow_end, euler_end = 0.5517, 2.4, 2.4",
    ("4.5", "a straight path of its own"): "velocity, flow_end, euler_end = 1.143, 2.4, 2.0",
    ("4.5", "1 - t not squared"): "velocity, flow_end, euler_end = 0.296, 2.4, 2.0",
    ("4.6", "compares with the start"): """
def euler_errors(v, z_0, steps):
    results = [solve(v, z_0, torch.linspace(0, 1, n + 1), EULER).x for n in steps]
    return [float((x - z_0).square().sum(1).mean().sqrt()) for x in results]""",
    ("4.6", "another method"): """
def euler_errors(v, z_0, steps):
    right = solve(v, z_0, torch.linspace(0, 1, 401), RK4).x
    results = [solve(v, z_0, torch.linspace(0, 1, n + 1)).x for n in steps]
    return [float((x - right).square().sum(1).mean().sqrt()) for x in results]""",
    ("4.7", "costs swapped"): """
def transport_costs(v, x_0, x_1):
    z_1 = solve(v, x_0, torch.linspace(0, 1, 101), RK4).x
    return float((x_1 - x_0).square().sum(1).mean()), float((z_1 - x_0).square().sum(1).mean())""",
    ("4.7", "one step"): """
def transport_costs(v, x_0, x_1):
    z_1 = x_0 + v(x_0, torch.zeros(len(x_0)))
    return float((z_1 - x_0).square().sum(1).mean()), float((x_1 - x_0).square().sum(1).mean())""",
}
