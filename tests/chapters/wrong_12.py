"""Plausible wrong answers to the exercises of chapter 12, each under its number and the mistake it makes."""

WRONG = {
    ("12.1", "forgets the minus one"): "first, second, unused = 2.5, 2.009, 0.5",
    ("12.1", "takes the variance for its logarithm"): "first, second, unused = 1.5, 1.509, 0.0",
    ("12.1", "forgets the variance"): "first, second, unused = 2.0, 1.5, 0.0",
    ("12.2", "nats"): """
def rate_in_bits(mean, logvar):
    return (mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1) / 2""",
    ("12.2", "standard deviation for variance"): """
def rate_in_bits(mean, logvar):
    nats = (mean.square() + (logvar / 2).exp() - 1 - logvar).flatten(1).sum(1) / 2
    return nats / torch.log(torch.tensor(2.0))""",
    ("12.2", "mean over latents"): """
def rate_in_bits(mean, logvar):
    nats = (mean.square() + logvar.exp() - 1 - logvar).flatten(1).mean(1) / 2
    return nats / torch.log(torch.tensor(2.0))""",
    ("12.2", "one number for all pictures"): """
def rate_in_bits(mean, logvar):
    nats = (mean.square() + logvar.exp() - 1 - logvar).sum() / 2
    return nats / torch.log(torch.tensor(2.0))""",
    ("12.3", "negative rates below the water"): """
def water_filling(lam, beta):
    return (2 * lam / beta).log2().sum() / 2, lam.clamp(max=beta / 2).sum()""",
    ("12.3", "water at beta"): """
def water_filling(lam, beta):
    told = lam.clamp(max=beta)
    return (lam / told).log2().sum() / 2, told.sum()""",
    ("12.3", "forgets what is not told"): """
def water_filling(lam, beta):
    seen = lam[lam > beta / 2]
    return (2 * seen / beta).log2().sum() / 2, beta / 2 * len(seen)""",
    ("12.4", "forgets the variance of the posteriors"): """
def constants(mean, logvar):
    return mean.mean(), 1 / mean.std()""",
    ("12.4", "scale upside down"): """
def constants(mean, logvar):
    return mean.mean(), (mean.var() + logvar.exp().mean()).sqrt()""",
    ("12.4", "second moment for variance"): """
def constants(mean, logvar):
    return mean.mean(), 1 / (mean.square() + logvar.exp()).mean().sqrt()""",
    ("12.5", "scale first"): """
def standardise(z, shift, scale):
    return z * scale - shift


def restore(z, shift, scale):
    return (z + shift) / scale""",
    ("12.5", "not the inverse"): """
def standardise(z, shift, scale):
    return (z - shift) * scale


def restore(z, shift, scale):
    return (z + shift) / scale""",
    ("12.6", "the other direction"): """
def good_time(t, a):
    return t / (a * (1 - t) + t) if a < 1 else t / (a - (a - 1) * t)""",
    ("12.6", "no normalisation"): """
def good_time(t, a):
    return a * t""",
}
