"""Plausible wrong answers to the exercises of chapter 07, each under its number and the mistake it makes."""

WRONG = {
    ("7.1", "in the given order"): "index, given, least = (0, 1, 2), 42, 42",
    ("7.1", "greedy from the first"): "index, given, least = (2, 0, 1), 42, 6",
    ("7.1", "lengths for squares"): "index, given, least = (2, 1, 0), 10, 2",
    ("7.2", "permutes the other set"): """
def pair_by_trying(x_0, x_1):
    cost = lambda p: float((x_0 - x_1[list(p)]).square().sum())
    return torch.tensor(min(permutations(range(len(x_0))), key=cost))""",
    ("7.2", "nearest neighbour"): """
def pair_by_trying(x_0, x_1):
    return torch.cdist(x_1.flatten(1), x_0.flatten(1)).argmin(1)""",
    ("7.2", "greedy"): """
def pair_by_trying(x_0, x_1):
    distance, index = torch.cdist(x_1.flatten(1), x_0.flatten(1)), []
    for row in distance:
        row = row.clone()
        row[index] = torch.inf
        index.append(int(row.argmin()))
    return torch.tensor(index)""",
    ("7.3", "variance for deviation"): """
def bridge(x_0, x_1, t, sigma, eps):
    t = t[:, None]
    return t * x_1 + (1 - t) * x_0 + sigma * t * (1 - t) * eps, x_1 - x_0 + sigma * (1 - 2 * t) * eps""",
    ("7.3", "velocity of the line"): """
def bridge(x_0, x_1, t, sigma, eps):
    t = t[:, None]
    return t * x_1 + (1 - t) * x_0 + sigma * (t * (1 - t)).sqrt() * eps, x_1 - x_0""",
    ("7.3", "sign of the pull"): """
def bridge(x_0, x_1, t, sigma, eps):
    t = t[:, None]
    width = (t * (1 - t)).sqrt()
    return t * x_1 + (1 - t) * x_0 + sigma * width * eps, x_1 - x_0 - sigma * (1 - 2 * t) / (2 * width) * eps""",
    ("7.4", "forgets the mean"): "independent_cost, w2_squared, npe = 5, 1, 0.0",
    ("7.4", "variances for deviations"): "independent_cost, w2_squared, npe = 14, 6, 0.0",
    ("7.4", "NPE of the independent pairs"): "independent_cost, w2_squared, npe = 14, 10, 0.4",
    ("7.5", "underflows"): """
def plan(x_0, x_1, reg):
    kernel = torch.exp(-torch.cdist(x_0, x_1).square() / reg)
    u = torch.ones(len(x_0), dtype=kernel.dtype)
    for _ in range(500):
        v = 1 / len(x_0) / (u @ kernel)
        u = 1 / len(x_0) / (kernel @ v)
    return u[:, None] * kernel * v""",
    ("7.5", "distances not squared"): """
def plan(x_0, x_1, reg):
    n, cost = len(x_0), torch.cdist(x_0, x_1) / reg
    f = torch.zeros(n, dtype=cost.dtype)
    for _ in range(500):
        g = -math.log(n) - torch.logsumexp(f[:, None] - cost, 0)
        f = -math.log(n) - torch.logsumexp(g - cost, 1)
    return torch.exp(f[:, None] + g - cost)""",
    ("7.5", "rows alone"): """
def plan(x_0, x_1, reg):
    return (-torch.cdist(x_0, x_1).square() / reg).softmax(1) / len(x_0)""",
    ("7.6", "ignores the classes"): """
def pair_within(x_0, x_1, c):
    return optimal_transport(x_0, x_1)""",
    ("7.6", "index of the class, not of the batch"): """
def pair_within(x_0, x_1, c):
    index = torch.arange(len(c))
    for k in c.unique():
        here = (c == k).nonzero()[:, 0]
        index[here] = optimal_transport(x_0[here], x_1[here])
    return index""",
    ("7.6", "leaves them as they are"): """
def pair_within(x_0, x_1, c):
    return torch.arange(len(c))""",
    ("7.7", "mean over coordinates"): """
def costs_by_block(x_0, x_1, sizes):
    indices = [optimal_transport(x_0, x_1, block=size) for size in sizes]
    return [float((x_0[index] - x_1).square().mean()) for index in indices]""",
    ("7.7", "always the whole batch"): """
def costs_by_block(x_0, x_1, sizes):
    index = optimal_transport(x_0, x_1)
    return [float((x_0[index] - x_1).square().sum(1).mean()) for size in sizes]""",
    ("7.7", "number of blocks for their size"): """
def costs_by_block(x_0, x_1, sizes):
    indices = [optimal_transport(x_0, x_1, block=len(x_0) // size) for size in sizes]
    return [float((x_0[index] - x_1).square().sum(1).mean()) for index in indices]""",
}
