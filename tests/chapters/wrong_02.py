"""Plausible wrong answers to the exercises of chapter 02, each under its number and the mistake it makes."""

WRONG = {
    ("2.1", "integral added"): "end, integral, log_p = 2.71828, 1.0, -0.5 - 0.918939 + 1.0",
    ("2.1", "field at the end alone"): "end, integral, log_p = 7.38906, 2.0, -0.5 - 0.918939 - 2.0",
    ("2.1", "base at the end point"): "end, integral, log_p = 2.71828, 1.0, -0.5 * 7.38906 - 0.918939 - 1.0",
    ("2.2", "events not flattened"): """
def exact_divergence(f, x):
    x = x.detach().requires_grad_()
    u = f(x)
    rows = [torch.autograd.grad(u[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(x.shape[1])]
    return sum(row.flatten(1).sum(1) if row.ndim > 1 else row for row in rows)""",
    ("2.2", "sum of all derivatives"): """
def exact_divergence(f, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(f(x).sum(), x)[0].flatten(1).sum(1)""",
    ("2.2", "summed over the batch"): """
def exact_divergence(f, x):
    x = x.detach().requires_grad_()
    u = f(x).flatten(1)
    rows = [torch.autograd.grad(u[:, i].sum(), x, retain_graph=True)[0].flatten(1) for i in range(u.shape[1])]
    return sum(row[:, i] for i, row in enumerate(rows)).sum()""",
    ("2.3", "mean over the event"): """
def one_pass(f, x, eps):
    x = x.detach().requires_grad_()
    (row,) = torch.autograd.grad(f(x), x, eps)
    return (row * eps).flatten(1).mean(1)""",
    ("2.3", "probe used once"): """
def one_pass(f, x, eps):
    x = x.detach().requires_grad_()
    (row,) = torch.autograd.grad(f(x), x, eps)
    return row.flatten(1).sum(1)""",
    ("2.3", "a pass for each coordinate"): """
def one_pass(f, x, eps):
    x = x.detach().requires_grad_()
    u, e = f(x).flatten(1), eps.flatten(1)
    rows = [torch.autograd.grad(u[:, i].sum(), x, retain_graph=True)[0].flatten(1) for i in range(u.shape[1])]
    return sum(e[:, i] * (row * e).sum(1) for i, row in enumerate(rows))""",
    ("2.4", "J in place of S"): """
mean, variance_signs, variance_gaussian = 3, 32, 42
exact = {"diagonal": True, "symmetric": False, "antisymmetric": True, "triangular": False}""",
    ("2.4", "triangular taken for exact"): """
mean, variance_signs, variance_gaussian = 3, 16, 26
exact = {"diagonal": True, "symmetric": False, "antisymmetric": True, "triangular": True}""",
    ("2.4", "standard deviations"): """
mean, variance_signs, variance_gaussian = 3, 4, 5.1
exact = {"diagonal": True, "symmetric": False, "antisymmetric": True, "triangular": False}""",
    ("2.5", "sign of the adjoint"): """
def linear_adjoint(A, x_1):
    x, a, gradient = x_1, x_1, torch.zeros_like(A)
    for _ in range(2000):
        gradient = gradient + torch.outer(a, x) / 2000
        x, a = x - A @ x / 2000, a - A.T @ a / 2000
    return a, gradient""",
    ("2.5", "A not transposed"): """
def linear_adjoint(A, x_1):
    x, a, gradient = x_1, x_1, torch.zeros_like(A)
    for _ in range(2000):
        gradient = gradient + torch.outer(a, x) / 2000
        x, a = x - A @ x / 2000, a + A @ a / 2000
    return a, gradient""",
    ("2.5", "gradient transposed"): """
def linear_adjoint(A, x_1):
    x, a, gradient = x_1, x_1, torch.zeros_like(A)
    for _ in range(2000):
        gradient = gradient + torch.outer(x, a) / 2000
        x, a = x - A @ x / 2000, a + A.T @ a / 2000
    return a, gradient""",
    ("2.6", "log of the mean twice"): """
def two_means(model, x, n, generator):
    log_p = model.log_prob(x.expand(n, -1), generator=generator).detach()
    return float(log_p.mean()), float(log_p.mean().exp().log())""",
    ("2.6", "one probe"): """
def two_means(model, x, n, generator):
    log_p = model.log_prob(x[None], generator=generator).detach()
    return float(log_p.mean()), float(log_p.exp().mean().log())""",
    ("2.7", "the other way round"): """
def only_map(x_0):
    normal = torch.distributions.Normal(0.0, 1.0)
    below = (normal.cdf((x_0 + 2) / 0.5) + normal.cdf((x_0 - 2) / 0.5)) / 2
    return normal.icdf(below.clamp(1e-6, 1 - 1e-6))""",
    ("2.7", "jumps to the nearer component"): """
def only_map(x_0):
    return 2 * x_0.sign() + 0.5 * x_0""",
    ("2.7", "scaled to the variance"): """
def only_map(x_0):
    return x_0 * (4 + 0.25) ** 0.5""",
    ("2.7", "torn in the middle"): """
def only_map(x_0):
    normal = torch.distributions.Normal(0.0, 1.0)
    u = 2 * normal.cdf(x_0)
    left, right = -2 + 0.5 * normal.icdf(u.clamp(max=1)), 2 + 0.5 * normal.icdf((u - 1).clamp(min=0))
    return torch.where(x_0 < 0, left, right)""",
}
