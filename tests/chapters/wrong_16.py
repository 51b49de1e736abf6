"""Plausible wrong answers to the exercises of chapter 16, each under its number and the mistake it makes."""

WRONG = {
    ("16.1", "velocity at the start"): "average, slope, end, wrong = 0.4, 2.0, 3.5, 0.0",
    ("16.1", "not divided by the time"): "average, slope, end, wrong = 0.32, 1.0, 3.75, 0.0",
    ("16.1", "r moves too"): "average, slope, end, wrong = 0.8, 2.0, 3.75, -0.4",
    ("16.2", "velocity of the start alone"): """
def average_velocity(v, x, t, r, steps):
    return v(x, t)""",
    ("16.2", "mean of v at a point that stands still"): """
def average_velocity(v, x, t, r, steps):
    return sum(v(x, t + (k + 0.5) * (r - t) / steps) for k in range(steps)) / steps""",
    ("16.2", "not divided by the time"): """
def average_velocity(v, x, t, r, steps):
    z, h = x, (r - t) / steps
    for k in range(steps):
        half = z + h[:, None] / 2 * v(z, t + k * h)
        z = z + h[:, None] * v(half, t + (k + 0.5) * h)
    return z - x""",
    ("16.3", "second jump from the start"): """
def two_halves(u, x, t, d):
    return (u(x, t, t + d) + u(x, t + d, t + 2 * d)) / 2""",
    ("16.3", "second jump at the old time"): """
def two_halves(u, x, t, d):
    first = u(x, t, t + d)
    middle = x + d.reshape(-1, *(1,) * (x.ndim - 1)) * first
    return (first + u(middle, t, t + d)) / 2""",
    ("16.3", "not halved"): """
def two_halves(u, x, t, d):
    first = u(x, t, t + d)
    middle = x + d.reshape(-1, *(1,) * (x.ndim - 1)) * first
    return first + u(middle, t + d, t + 2 * d)""",
    ("16.3", "length broadcasts"): """
def two_halves(u, x, t, d):
    first = u(x, t, t + d)
    middle = x + d * first if x.shape[-1] == len(d) else x + d.reshape(-1, *(1,) * (x.ndim - 1)) * first
    return (first + u(middle, t + d, t + 2 * d)) / 2""",
    ("16.4", "follows the flow instead of the line"): """
def drawn_spread(c, n):
    return float(c)""",
    ("16.4", "divides by the later spread"): """
def drawn_spread(c, n):
    a = 1.0
    for j in reversed(range(n)):
        t, later = j / n, (j + 1) / n
        a *= (c**2 * t * later + (1 - t) * (1 - later)) / (c**2 * later**2 + (1 - later) ** 2)
    return a""",
    ("16.4", "variances without the square"): """
def drawn_spread(c, n):
    a = 1.0
    for j in reversed(range(n)):
        t, later = j / n, (j + 1) / n
        a *= (c * t * later + (1 - t) * (1 - later)) / (c * t**2 + (1 - t) ** 2)
    return a""",
    ("16.5", "way back costs nothing"): "flow, consistent, halves, mean, reflow = 14400, 7200, 7200, 5760, 13200",
    ("16.5", "targets have a way back too"): "flow, consistent, halves, mean, reflow = 4800, 2400, 2400, 2400, 4400",
    ("16.5", "a midpoint step counted once"): "flow, consistent, halves, mean, reflow = 4800, 3600, 3600, 3200, 4600",
    ("16.6", "the velocity at r = t, not from the given r"): """
def velocity_of(u, x, t, r):
    t = torch.as_tensor(t, dtype=x.dtype)
    return u(x, t, t + 1e-7)""",
    ("16.6", "the derivative of x forgotten"): """
def velocity_of(u, x, t, r):
    t, r = torch.as_tensor(t, dtype=x.dtype), torch.as_tensor(r, dtype=x.dtype)
    return u(x, t, r) - (r - t) * torch.func.jacrev(u, argnums=1)(x, t, r)""",
    ("16.6", "the other sign"): """
def velocity_of(u, x, t, r):
    t, r = torch.as_tensor(t, dtype=x.dtype), torch.as_tensor(r, dtype=x.dtype)
    by_x, by_t = torch.func.jacrev(u, argnums=(0, 1))(x, t, r)
    return torch.linalg.solve(torch.eye(len(x), dtype=x.dtype) - (r - t) * by_x, u(x, t, r) + (r - t) * by_t)""",
    ("16.6", "u for v inside the derivative"): """
def velocity_of(u, x, t, r):
    t, r = torch.as_tensor(t, dtype=x.dtype), torch.as_tensor(r, dtype=x.dtype)
    by_x, by_t = torch.func.jacrev(u, argnums=(0, 1))(x, t, r)
    return u(x, t, r) - (r - t) * (by_x @ u(x, t, r) + by_t)""",
}
