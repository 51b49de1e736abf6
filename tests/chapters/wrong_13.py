"""Plausible wrong answers to the exercises of chapter 13, each under its number and the mistake it makes."""

WRONG = {
    ("13.1", "two softmaxes"): "rho, first_word = 0.5, 0.75",
    ("13.1", "forgets the exponential"): "rho, first_word = 0.4421, 0.4421",
    ("13.2", "each stream asks the other alone"): """
def joint_attention(text, image, heads):
    def split(u):
        return u.unflatten(-1, (heads, -1)).transpose(1, 2)
    (qt, kt, vt), (qi, ki, vi) = ([split(u) for u in qkv(x).chunk(3, -1)] for x, qkv, _ in (text, image))
    d = qt.shape[-1] ** 0.5
    a = ((qt @ ki.mT / d).softmax(-1) @ vi).transpose(1, 2).flatten(2)
    b = ((qi @ kt.mT / d).softmax(-1) @ vt).transpose(1, 2).flatten(2)
    return text[2](a), image[2](b)""",
    ("13.2", "cuts as if the picture came first"): """
def joint_attention(text, image, heads):
    parts = [
        [u.unflatten(-1, (heads, -1)).transpose(1, 2) for u in qkv(x).chunk(3, -1)] for x, qkv, _ in (text, image)
    ]
    q, k, v = (torch.cat(pair, 2) for pair in zip(*parts, strict=True))
    o = ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
    n = image[0].shape[1]
    return text[2](o[:, n:]), image[2](o[:, :n])""",
    ("13.2", "divides by the root of the width"): """
def joint_attention(text, image, heads):
    parts = [
        [u.unflatten(-1, (heads, -1)).transpose(1, 2) for u in qkv(x).chunk(3, -1)] for x, qkv, _ in (text, image)
    ]
    q, k, v = (torch.cat(pair, 2) for pair in zip(*parts, strict=True))
    o = ((q @ k.mT / text[0].shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
    m = text[0].shape[1]
    return text[2](o[:, :m]), image[2](o[:, m:])""",
    ("13.2", "one map out for both"): """
def joint_attention(text, image, heads):
    parts = [
        [u.unflatten(-1, (heads, -1)).transpose(1, 2) for u in qkv(x).chunk(3, -1)] for x, qkv, _ in (text, image)
    ]
    q, k, v = (torch.cat(pair, 2) for pair in zip(*parts, strict=True))
    o = ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
    m = text[0].shape[1]
    return image[2](o[:, :m]), image[2](o[:, m:])""",
    ("13.3", "one stream"): "block, last_block = 18, 23",
    ("13.3", "the last text keeps its map out"): "block, last_block = 36, 24",
    ("13.3", "forgets the modulations"): "block, last_block = 24, 15",
    ("13.4", "from the corner"): """
def places(rows, grid, base):
    return torch.arange(rows, dtype=torch.float64) * base / grid""",
    ("13.4", "does not round down"): """
def places(rows, grid, base):
    return ((grid - rows) / 2 + torch.arange(rows, dtype=torch.float64)) * base / grid""",
    ("13.4", "stretches the picture over the grid"): """
def places(rows, grid, base):
    return torch.arange(rows, dtype=torch.float64) * base / rows""",
    ("13.5", "the same vector twice"): """
def extreme(d):
    return torch.ones(d), torch.ones(d)""",
    ("13.5", "orthogonal vectors"): """
def extreme(d):
    return torch.eye(d)[0], torch.eye(d)[1]""",
    ("13.5", "large but not parallel"): """
def extreme(d):
    return 100 * torch.ones(d), 100 * torch.arange(1.0, d + 1)""",
    ("13.6", "noise on the small picture"): """
def snr_of_large(x, t, a, generator):
    noisy = t * x + (1 - t) * torch.randn(x.shape, generator=generator)
    return t**2 / float((noisy - t * x).var())""",
    ("13.6", "the ratio of amplitudes"): """
def snr_of_large(x, t, a, generator):
    large = x.repeat_interleave(a, -1).repeat_interleave(a, -2)
    noisy = t * large + (1 - t) * torch.randn(large.shape, generator=generator)
    rest = torch.nn.functional.avg_pool2d(noisy, a) - t * x
    return t / float(rest.std())""",
    ("13.6", "looks at one pixel of each block"): """
def snr_of_large(x, t, a, generator):
    large = x.repeat_interleave(a, -1).repeat_interleave(a, -2)
    noisy = t * large + (1 - t) * torch.randn(large.shape, generator=generator)
    return t**2 / float((noisy[..., ::a, ::a] - t * x).var())""",
}
