"""Plausible wrong answers to the exercises of chapter 09, each under its number and the mistake it makes."""

WRONG = {
    ("9.1", "divides by D, not by D / 2"): "frequencies, squared_length, product = (1.0, 0.1), 2.0, 0.5636",
    ("9.1", "counts every feature"): "frequencies, squared_length, product = (1.0, 0.01), 4.0, 0.58365",
    ("9.1", "adds the places"): "frequencies, squared_length, product = (1.0, 0.01), 2.0, 0.8513",
    ("9.2", "shifts back"): """
def shift_matrix(k, dim):
    half = dim // 2
    angle = -k * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    cos, sin = torch.diag(angle.cos()), torch.diag(angle.sin())
    return torch.cat([torch.cat([cos, sin], 1), torch.cat([-sin, cos], 1)])""",
    ("9.2", "pairs of neighbours"): """
def shift_matrix(k, dim):
    angle = k * 10_000.0 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    blocks = [torch.stack([torch.stack([a.cos(), a.sin()]), torch.stack([-a.sin(), a.cos()])]) for a in angle]
    return torch.block_diag(*blocks)""",
    ("9.3", "clockwise"): """
def rotate_complex(x, p):
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    f = 10_000.0 ** (-torch.arange(pairs.shape[-1], dtype=x.dtype) / pairs.shape[-1])
    turn = torch.polar(torch.ones_like(p[:, None] * f), -p[:, None] * f)
    return torch.view_as_real(pairs * turn).flatten(-2)""",
    ("9.3", "pairs of halves"): """
def rotate_complex(x, p):
    half = x.shape[-1] // 2
    pairs = torch.complex(x[..., :half], x[..., half:])
    f = 10_000.0 ** (-torch.arange(half, dtype=x.dtype) / half)
    turned = pairs * torch.polar(torch.ones_like(p[:, None] * f), p[:, None] * f)
    return torch.cat([turned.real, turned.imag], -1)""",
    ("9.4", "m minus n"): """
def bias_of_a_grid(ids, table):
    r = len(table) // 2
    offset = (ids[None] - ids[:, None]).clamp(-r, r) + r
    return table[offset[..., 0], offset[..., 1]]""",
    ("9.4", "columns first"): """
def bias_of_a_grid(ids, table):
    r = len(table) // 2
    offset = (ids[:, None] - ids[None]).clamp(-r, r) + r
    return table[offset[..., 1], offset[..., 0]]""",
    ("9.4", "does not clip"): """
def bias_of_a_grid(ids, table):
    offset = ids[:, None] - ids[None] + len(table) // 2
    return table[offset[..., 0] % len(table), offset[..., 1] % len(table)]""",
    ("9.5", "squeezes the score"): """
def neighbour_scores(d, s):
    f = 10_000.0 ** (-torch.arange(d // 2, dtype=torch.float64) / (d // 2))
    return float(f.cos().mean()), float(f.cos().mean() / s)""",
    ("9.5", "stretches"): """
def neighbour_scores(d, s):
    f = 10_000.0 ** (-torch.arange(d // 2, dtype=torch.float64) / (d // 2))
    return float(f.cos().mean()), float((f * s).cos().mean())""",
    ("9.6", "looks at lengths alone"): """
def is_relative(encode, d):
    x = torch.randn(20, d, dtype=torch.float64)
    return all(bool((encode(x, p).norm(dim=-1) - x.norm(dim=-1)).abs().max() < 1e-6) for p in range(20))""",
    ("9.6", "starts at place 0 alone"): """
def is_relative(encode, d):
    q, k = torch.randn(2, 20, d, dtype=torch.float64)
    scores = torch.stack([(encode(q, 0) * encode(k, 3)).sum(-1) for _ in range(5)])
    return bool((scores - scores[0]).abs().max() < 1e-6)""",
}
