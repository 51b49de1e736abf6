"""Plausible wrong answers to the exercises of chapter 08, each under its number and the mistake it makes."""

WRONG = {
    ("8.1", "time reversed"): "data, noise, score, data_error, noise_error = 1.4, 0.9, -4.5, 0.08, -0.02",
    ("8.1", "score without sigma"): "data, noise, score, data_error, noise_error = 1.1, 0.6, -0.6, 0.02, -0.08",
    ("8.1", "score of the wrong sign"): "data, noise, score, data_error, noise_error = 1.1, 0.6, 3.0, 0.02, -0.08",
    ("8.1", "errors all alike"): "data, noise, score, data_error, noise_error = 1.1, 0.6, -3.0, 0.1, 0.1",
    ("8.2", "time not turned"): """
def sd3_draws(n, m, b, generator):
    return torch.sigmoid(m + b * torch.randn(n, generator=generator))""",
    ("8.2", "log-normal taken literally"): """
def sd3_draws(n, m, b, generator):
    return 1 - torch.exp(m + b * torch.randn(n, generator=generator)).clamp(max=1)""",
    ("8.2", "global randomness"): """
def sd3_draws(n, m, b, generator):
    return torch.sigmoid(-m - b * torch.randn(n))""",
    ("8.3", "SNR without its root"): """
def quantile(u):
    r = u**2 / (1 - u)
    return r / (1 + r)


def density(t):
    return torch.ones_like(t)""",
    ("8.3", "density upside down"): """
def quantile(u):
    r = u / (1 - u).sqrt()
    return r / (1 + r)


def density(t):
    r = t / (1 - t)
    u = 0.5 * (r * (r**2 + 4).sqrt() - r**2)
    return t * (1 - t) * (1 / u + 0.5 / (1 - u))""",
    ("8.4", "another v"): """
def min_snr_of_velocity(t, gamma):
    snr = (t / (1 - t)) ** 2
    return snr.clamp(max=gamma) / (snr + 1)""",
    ("8.4", "weight of the data"): """
def min_snr_of_velocity(t, gamma):
    return ((t / (1 - t)) ** 2).clamp(max=gamma)""",
    ("8.4", "not a number at the end"): """
def min_snr_of_velocity(t, gamma):
    snr = (t / (1 - t)) ** 2
    return snr * (gamma / snr).clamp(max=1) / (1 + snr.sqrt()) ** 2""",
    ("8.5", "what SD3 used"): "shift, time, mean, change = 3.0, 0.25, -math.log(3), -2 * math.log(3)",
    ("8.5", "towards data"): "shift, time, mean, change = 4.0, 0.8, math.log(4), 2 * math.log(4)",
    ("8.5", "ratio of pixels"): "shift, time, mean, change = 16.0, 1 / 17, -math.log(16), -2 * math.log(16)",
    ("8.6", "counts twice"): """
def two_estimates(loss, pi, n, generator):
    t = pi.sample(n, generator)
    drawn = pi.density(t) * loss(t)
    t = torch.rand(n, generator=generator)
    weighted = pi.density(t) * loss(t)
    return drawn.mean(), weighted.mean(), drawn.std() / n**0.5, weighted.std() / n**0.5""",
    ("8.6", "spread instead of error"): """
def two_estimates(loss, pi, n, generator):
    drawn = loss(pi.sample(n, generator))
    t = torch.rand(n, generator=generator)
    weighted = pi.density(t) * loss(t)
    return drawn.mean(), weighted.mean(), drawn.std(), weighted.std()""",
    ("8.7", "without the root"): """
def least_noisy(pi, s):
    q = pi * s / (pi * s).mean()
    return q, (pi**2 / q * s).mean() / (pi * s).mean()""",
    ("8.7", "not normalised"): """
def least_noisy(pi, s):
    q = pi * s.sqrt()
    return q, (pi**2 / q * s).mean() / (pi * s).mean()""",
}
