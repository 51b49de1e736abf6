"""Plausible wrong answers to the exercises of chapter 00, each under its number and the mistake it makes."""

WRONG = {
    ("0.1", "noise and velocity exchanged"): """
a, b, c, d, e = "rectified", "autoregressive", "normalizing", "continuous", "diffusion\"""",
    ("0.1", "couplings taken for autoregression"): """
a, b, c, d, e = "diffusion", "normalizing", "autoregressive", "continuous", "rectified\"""",
    ("0.1", "another word"): """
a, b, c, d, e = "ddpm", "autoregressive", "normalizing", "continuous", "rectified\"""",
    ("0.2", "determinant of the inverse"): "logdet, log_q = 1.098612, -0.91894 - 0.5 + 1.098612",
    ("0.2", "determinant forgotten"): "logdet, log_q = -1.098612, -0.91894 - 0.5",
    ("0.2", "base at x"): "logdet, log_q = -1.098612, -0.91894 - 8 - 1.098612",
    ("0.3", "one root for both"): "by_flow, by_autoregression = (2.0, 1.0), (2.0, 1.0)",
    ("0.3", "the matrix itself"): "by_flow, by_autoregression = (5.0, 4.0), (5**0.5, 4 / 5**0.5)",
    ("0.3", "second coordinate without the first"): "by_flow, by_autoregression = (2.0, 1.0), (5**0.5, 0.0)",
    ("0.4", "sign of the noise"): """
def velocity_from_noise(x_t, noise, alpha, sigma, d_alpha, d_sigma):
    r, s = d_alpha / alpha, d_sigma - d_alpha * sigma / alpha
    r, s = (u.reshape(-1, *(1,) * (x_t.ndim - 1)) for u in (r, s))
    return r * x_t - s * noise""",
    ("0.4", "forgets that the data hold noise too"): """
def velocity_from_noise(x_t, noise, alpha, sigma, d_alpha, d_sigma):
    shape = (-1, *(1,) * (x_t.ndim - 1))
    return (d_alpha / alpha).reshape(shape) * x_t + d_sigma.reshape(shape) * noise""",
    ("0.4", "time broadcasts"): """
def velocity_from_noise(x_t, noise, alpha, sigma, d_alpha, d_sigma):
    return d_alpha / alpha * x_t + (d_sigma - d_alpha * sigma / alpha) * noise""",
    ("0.4", "straight lines only"): """
def velocity_from_noise(x_t, noise, alpha, sigma, d_alpha, d_sigma):
    return (x_t - noise) / alpha.reshape(-1, *(1,) * (x_t.ndim - 1))""",
    ("0.5", "no area"): """
def table_log_prob(x, first, second):
    bins = ((x + 4) / (8 / len(first))).long()
    return first.log_softmax(0)[bins[:, 0]] + second.log_softmax(1)[bins[:, 0], bins[:, 1]]""",
    ("0.5", "one width"): """
def table_log_prob(x, first, second):
    width = 8 / len(first)
    bins = ((x + 4) / width).long()
    log_p = first.log_softmax(0)[bins[:, 0]] + second.log_softmax(1)[bins[:, 0], bins[:, 1]]
    return log_p - torch.tensor(width).log()""",
    ("0.5", "columns for rows"): """
def table_log_prob(x, first, second):
    width = 8 / len(first)
    bins = ((x + 4) / width).long()
    log_p = first.log_softmax(0)[bins[:, 0]] + second.log_softmax(0)[bins[:, 1], bins[:, 0]]
    return log_p - 2 * torch.tensor(width).log()""",
    ("0.5", "logits taken for log-probabilities"): """
def table_log_prob(x, first, second):
    width = 8 / len(first)
    bins = ((x + 4) / width).long()
    return first[bins[:, 0]] + second[bins[:, 0], bins[:, 1]] - 2 * torch.tensor(width).log()""",
    ("0.6", "points of the model"): """
def kl_divergence(p, q, n, generator):
    x = q.sample(n, generator)
    difference = p.log_prob(x) - q.log_prob(x)
    return float(difference.mean()), float(difference.std() / n**0.5)""",
    ("0.6", "sign"): """
def kl_divergence(p, q, n, generator):
    x = p.sample(n, generator)
    difference = q.log_prob(x) - p.log_prob(x)
    return float(difference.mean()), float(difference.std() / n**0.5)""",
    ("0.6", "two sets of points"): """
def kl_divergence(p, q, n, generator):
    a, b = p.log_prob(p.sample(n, generator)), q.log_prob(p.sample(n, generator))
    return float(a.mean() - b.mean()), float(((a.var() + b.var()) / n) ** 0.5)""",
    ("0.6", "spread of one sample"): """
def kl_divergence(p, q, n, generator):
    x = p.sample(n, generator)
    difference = p.log_prob(x) - q.log_prob(x)
    return float(difference.mean()), float(difference.std())""",
    ("0.7", "pixels, not numbers"): "autoregression, ddpm, heun, one_step = 10.24, 2.5, 0.2, 0.01",
    ("0.7", "Heun once a step"): "autoregression, ddpm, heun, one_step = 30.72, 2.5, 0.1, 0.01",
    ("0.7", "milliseconds"): "autoregression, ddpm, heun, one_step = 30720, 2500, 200, 10",
}
