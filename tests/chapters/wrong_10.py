"""Plausible wrong answers to the exercises of chapter 10, each under its number and the mistake it makes."""

WRONG = {
    ("10.1", "counts the class token"): "tokens, multiply_adds, factor = 61, 12 * 61 * 256**2 + 2 * 61**2 * 256, 16",
    ("10.1", "forgets the scores"): "tokens, multiply_adds, factor = 60, 12 * 60 * 256**2, 16",
    ("10.1", "tokens, not their square"): ("tokens, multiply_adds, factor = 60, 12 * 60 * 256**2 + 2 * 60**2 * 256, 4"),
    ("10.2", "forgets the root"): "weights, taken = (1 / 17, 16 / 17), 10 / 17 + 320 / 17",
    ("10.2", "takes the largest"): "weights, taken = (0.2, 0.8), 20.0",
    ("10.3", "channels first"): """
def put_together(tokens, p, grid):
    h, w = grid
    x = tokens.reshape(len(tokens), h, w, -1, p, p)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, h * p, w * p)""",
    ("10.3", "assumes a square"): """
def put_together(tokens, p, grid):
    h = w = int(tokens.shape[1] ** 0.5)
    x = tokens.reshape(len(tokens), h, w, p, p, -1)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(len(tokens), -1, h * p, w * p)""",
    ("10.3", "rows and columns of a patch swapped"): """
def put_together(tokens, p, grid):
    h, w = grid
    x = tokens.reshape(len(tokens), h, w, p, p, -1)
    return x.permute(0, 5, 1, 4, 2, 3).reshape(len(tokens), -1, h * p, w * p)""",
    ("10.4", "weights to zero after the softmax"): """
def causal_attention(q, k, v):
    n = q.shape[2]
    return ((q @ k.mT / q.shape[3] ** 0.5).softmax(-1) * torch.ones(n, n).tril()) @ v""",
    ("10.4", "looks ahead only"): """
def causal_attention(q, k, v):
    n = q.shape[2]
    behind = torch.ones(n, n, dtype=torch.bool).tril(-1)
    return (q @ k.mT / q.shape[3] ** 0.5).masked_fill(behind, -torch.inf).softmax(-1) @ v""",
    ("10.4", "may not see itself"): """
def causal_attention(q, k, v):
    n = q.shape[2]
    ahead = torch.ones(n, n, dtype=torch.bool).triu(0)
    return (q @ k.mT / q.shape[3] ** 0.5).masked_fill(ahead, -1e9).softmax(-1) @ v""",
    ("10.4", "overflows"): """
def causal_attention(q, k, v):
    n = q.shape[2]
    weights = (q @ k.mT / q.shape[3] ** 0.5).exp() * torch.ones(n, n).tril()
    return weights / weights.sum(-1, keepdim=True) @ v""",
    ("10.5", "root of the width"): """
def multi_head(z, w_q, w_k, w_v, w_o, heads):
    q, k, v = ((z @ w.T).unflatten(2, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
    weights = (q @ k.mT / z.shape[2] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2) @ w_o.T""",
    ("10.5", "matrices from the right"): """
def multi_head(z, w_q, w_k, w_v, w_o, heads):
    q, k, v = ((z @ w).unflatten(2, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
    weights = (q @ k.mT / q.shape[3] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2) @ w_o""",
    ("10.5", "heads not brought back together"): """
def multi_head(z, w_q, w_k, w_v, w_o, heads):
    q, k, v = ((z @ w.T).unflatten(2, (heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
    weights = (q @ k.mT / q.shape[3] ** 0.5).softmax(-1)
    return (weights @ v).reshape(z.shape) @ w_o.T""",
    ("10.6", "the entropy itself"): """
def keys_looked_at(sizes):
    lists = [], []
    for d in sizes:
        q, k = torch.randn(2000, d), torch.randn(64, d)
        for numbers, root in zip(lists, (d**0.5, 1.0), strict=True):
            a = (q @ k.T / root).log_softmax(-1)
            numbers.append(float(-(a.exp() * a).sum(-1).mean()))
    return lists""",
    ("10.6", "lists swapped"): """
def keys_looked_at(sizes):
    lists = [], []
    for d in sizes:
        q, k = torch.randn(2000, d), torch.randn(64, d)
        for numbers, root in zip(lists, (1.0, d**0.5), strict=True):
            a = (q @ k.T / root).log_softmax(-1)
            numbers.append(float((-(a.exp() * a).sum(-1)).exp().mean()))
    return lists""",
    ("10.7", "the left neighbour"): """
def shift_by_attention(n):
    places = 20 * n**0.25 * torch.eye(n)
    return places.roll(1, 0), places""",
    ("10.7", "not sure enough"): """
def shift_by_attention(n):
    return torch.eye(n).roll(-1, 0), torch.eye(n)""",
}
