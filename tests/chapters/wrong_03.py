"""Plausible wrong answers to the exercises of chapter 03, each under its number and the mistake it makes."""

WRONG = {
    ("3.1", "rounds down"): "steps, alpha_0 = 34, 0.00657",
    ("3.1", "forgets the half"): "steps, alpha_0 = 35, math.exp(-10.05)",
    ("3.1", "last rate for all"): "steps, alpha_0 = 35, math.exp(-10)",
    ("3.2", "counts from one"): """
def add_noise(y_0, k, betas, noise):
    abar = torch.cat([torch.ones(1), (1 - betas).cumprod(0)])[k].reshape(-1, *(1,) * (y_0.ndim - 1))
    return abar.sqrt() * y_0 + (1 - abar).sqrt() * noise""",
    ("3.2", "forgets the roots"): """
def add_noise(y_0, k, betas, noise):
    abar = (1 - betas).cumprod(0)[k].reshape(-1, *(1,) * (y_0.ndim - 1))
    return abar * y_0 + (1 - abar) * noise""",
    ("3.2", "the last beta alone"): """
def add_noise(y_0, k, betas, noise):
    beta = betas[k].reshape(-1, *(1,) * (y_0.ndim - 1))
    return (1 - beta).sqrt() * y_0 + beta.sqrt() * noise""",
    ("3.3", "ignores the spread of the data"): """
def best_noise(x, t, m, c):
    alpha_t, sigma_t = VP().alpha(t)[:, None], VP().sigma(t)[:, None]
    return (x - alpha_t * m) / sigma_t""",
    ("3.3", "gives the score"): """
def best_noise(x, t, m, c):
    alpha_t, sigma_t = VP().alpha(t)[:, None], VP().sigma(t)[:, None]
    return -(x - alpha_t * m) / (alpha_t**2 * c**2 + sigma_t**2)""",
    ("3.4", "keeps all of the old noise"): """
def step(x, eps, alpha, sigma, alpha_next, sigma_next, eta, z):
    b = sigma_next**2 * (1 - (alpha * sigma_next / (sigma * alpha_next)) ** 2)
    return alpha_next * (x - sigma * eps) / alpha + sigma_next * eps + eta * math.sqrt(b) * z""",
    ("3.4", "variance in place of its root"): """
def step(x, eps, alpha, sigma, alpha_next, sigma_next, eta, z):
    b = sigma_next**2 * (1 - (alpha * sigma_next / (sigma * alpha_next)) ** 2)
    return alpha_next * (x - sigma * eps) / alpha + math.sqrt(sigma_next**2 - eta**2 * b) * eps + eta * b * z""",
    ("3.4", "noise of the forward step"): """
def step(x, eps, alpha, sigma, alpha_next, sigma_next, eta, z):
    b = min(1 - (alpha / alpha_next) ** 2, sigma_next**2)
    return alpha_next * (x - sigma * eps) / alpha + math.sqrt(sigma_next**2 - eta**2 * b) * eps + eta * b**0.5 * z""",
    ("3.5", "noise not scaled"): """
def end_point(x, eps, alpha, sigma):
    return (x - eps) / alpha""",
    ("3.5", "not divided by alpha"): """
def end_point(x, eps, alpha, sigma):
    return x - sigma * eps""",
    ("3.6", "compares with the mean"): """
def ddim_errors(v, x_0, m, c, steps):
    results = [ddim(v, x_0, path=VP(), have="velocity", steps=n) for n in steps]
    return [(x - m).abs().max().item() for x in results]""",
    ("3.6", "variance in place of the spread"): """
def ddim_errors(v, x_0, m, c, steps):
    results = [ddim(v, x_0, path=VP(), have="velocity", steps=n) for n in steps]
    return [(x - m - c**2 * x_0).abs().max().item() for x in results]""",
    ("3.7", "shift without scale"): """
def mend(betas):
    a = (1 - betas).cumprod(0).sqrt()
    a = a - a[-1]
    return 1 - torch.cat([a[:1], a[1:] / a[:-1]]) ** 2""",
    ("3.7", "shifts abar, not its root"): """
def mend(betas):
    a = (1 - betas).cumprod(0)
    a = (a - a[-1]) * a[0] / (a[0] - a[-1])
    return 1 - torch.cat([a[:1], a[1:] / a[:-1]])""",
    ("3.7", "sets the last beta alone"): """
def mend(betas):
    return torch.cat([betas[:-1], torch.ones(1).to(betas)])""",
    ("3.8", "forgets the number of pixels"): """
def drawn_spread(alpha_0, n, c):
    sigma_0 = math.sqrt(1 - alpha_0**2)
    return c * sigma_0 / math.sqrt(alpha_0**2 * c**2 + sigma_0**2)""",
    ("3.8", "gives the ratio"): """
def drawn_spread(alpha_0, n, c):
    sigma_0 = math.sqrt(1 - alpha_0**2)
    return sigma_0 / math.sqrt(n * alpha_0**2 * c**2 + sigma_0**2)""",
}
