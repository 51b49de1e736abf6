"""Plausible wrong answers to the exercises of chapter 01, each under its number and the mistake it makes."""

WRONG = {
    ("1.1", "forgets the slope"): "density, mass_below, mirrored = 0.2420, 0.5, 0.3989",
    ("1.1", "mean taken for median"): "density, mass_below, mirrored = 0.006023, 0.8413, 0.3989",
    ("1.1", "negative density"): "density, mass_below, mirrored = 0.006023, 0.5, -0.3989",
    ("1.2", "second coupling told by x"): """
z, logdet, x, area = (1 + 1 / math.e, 1 + math.e), 0.0, (1.0, -2 / math.e), 0.01""",
    ("1.2", "undone in the wrong order"): """
z, logdet, area = (1 + math.exp(-1 - math.e), 1 + math.e), -math.e, 0.01 * math.exp(-math.e)
x = (math.e**-2.718, -2.0)""",
    ("1.2", "area of the inverse"): """
z, logdet, area = (1 + math.exp(-1 - math.e), 1 + math.e), -math.e, 0.01 * math.exp(math.e)
x = (1.0, -2 / math.e)""",
    ("1.3", "logdet a sum over channels only"): """
def coupling(x, net):
    a, b = x.chunk(2, 1)
    s, t = net(a)
    return torch.cat([a, b * s.exp() + t], 1), s.sum(1)""",
    ("1.3", "logdet of the whole batch"): """
def coupling(x, net):
    a, b = x.chunk(2, 1)
    s, t = net(a)
    return torch.cat([a, b * s.exp() + t], 1), s.sum()""",
    ("1.3", "the direction of sampling"): """
def coupling(x, net):
    a, b = x.chunk(2, 1)
    s, t = net(a)
    return torch.cat([a, (b - t) * (-s).exp()], 1), -s.flatten(1).sum(1)""",
    ("1.4", "no absolute value"): """
def planar_logdet(x, w, u, b):
    return (1 + (1 - torch.tanh(x @ w + b) ** 2) * (u @ w)).log()""",
    ("1.4", "tanh not differentiated"): """
def planar_logdet(x, w, u, b):
    return (1 + torch.tanh(x @ w + b) * (u @ w)).abs().log()""",
    ("1.5", "slope by xi"): """
def one_bin(x, low, high, d_0, d_1):
    w, h = high[0] - low[0], high[1] - low[1]
    s, xi = h / w, (x - low[0]) / w
    D = s + (d_0 + d_1 - 2 * s) * xi * (1 - xi)
    y = low[1] + h * (s * xi**2 + d_0 * xi * (1 - xi)) / D
    slope = s**2 * (d_1 * xi**2 + 2 * s * xi * (1 - xi) + d_0 * (1 - xi) ** 2) / D**2
    return y, (w * slope).log()""",
    ("1.5", "slopes exchanged"): """
def one_bin(x, low, high, d_0, d_1):
    w, h = high[0] - low[0], high[1] - low[1]
    s, xi = h / w, (x - low[0]) / w
    D = s + (d_0 + d_1 - 2 * s) * xi * (1 - xi)
    y = low[1] + h * (s * xi**2 + d_1 * xi * (1 - xi)) / D
    slope = s**2 * (d_0 * xi**2 + 2 * s * xi * (1 - xi) + d_1 * (1 - xi) ** 2) / D**2
    return y, slope.log()""",
    ("1.6", "always 256 levels"): """
def bits(log_q, n, levels):
    return -log_q / (n * math.log(2)) + 7""",
    ("1.6", "constant left out"): """
def bits(log_q, n, levels):
    return -log_q / (n * math.log(2))""",
    ("1.6", "nats"): """
def bits(log_q, n, levels):
    return -(log_q / n + math.log(2 / (levels - 1)))""",
    ("1.7", "counts add up"): """
def count_calls(flow):
    calls = []
    for part in flow.bijection.parts:
        if hasattr(part, "conditioner"):
            part.conditioner.register_forward_hook(lambda *_: calls.append(1))
    flow.log_prob(torch.zeros(3, *flow.event_shape))
    forward = len(calls)
    flow.sample(3)
    return forward, len(calls)""",
    ("1.7", "a prediction instead of a count"): """
def count_calls(flow):
    layers = sum(hasattr(part, "conditioner") for part in flow.bijection.parts)
    return layers, layers""",
    ("1.8", "the whole gap on one side"): """
def least_steepness(leak, gap):
    return gap / torch.special.ndtri(torch.tensor((1 + leak) / 2, dtype=torch.float64)).item()""",
    ("1.8", "quantile of the leak"): """
def least_steepness(leak, gap):
    return gap / (2 * torch.special.ndtri(torch.tensor(0.5 + leak, dtype=torch.float64)).item())""",
}
