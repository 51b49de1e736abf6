"""Plausible wrong answers to the exercises of chapter 14, each under its number and the mistake it makes."""

RIGHT_1 = """
h, d = 2048, 128
double, single = 36 * h**2 + 30 * h + 4 * d, 15 * h**2 + 11 * h + 2 * d
blocks, all_double, modulations = 10 * double + 20 * single, 30 * double, (3 * h**2 + 3 * h) / single
"""

WRONG = {
    ("14.1", "one stream of the double block"): RIGHT_1.replace(
        "36 * h**2 + 30 * h + 4 * d", "18 * h**2 + 15 * h + 2 * d"
    ),
    ("14.1", "no biases"): RIGHT_1.replace(" + 30 * h + 4 * d", "").replace(" + 11 * h + 2 * d", ""),
    ("14.1", "six modulations in the single block"): RIGHT_1.replace("(3 * h**2 + 3 * h)", "(6 * h**2 + 6 * h)"),
    ("14.2", "patches first"): """
def flux_ids(words, rows, columns):
    return torch.cat([grid_ids(1, rows, columns), torch.zeros(words, 3, dtype=torch.long)])
""",
    ("14.2", "words in a row"): """
def flux_ids(words, rows, columns):
    return torch.cat([grid_ids(1, 1, words), grid_ids(1, rows, columns)])
""",
    ("14.2", "columns before rows"): """
def flux_ids(words, rows, columns):
    return torch.cat([torch.zeros(words, 3, dtype=torch.long), grid_ids(1, rows, columns)[:, [0, 2, 1]]])
""",
    ("14.3", "rotation first"): """
def prepared(q, gain, angles):
    q = rotate(q, angles)
    return gain * q / (q.square().mean(-1, keepdim=True) + 1e-6).sqrt()
""",
    ("14.3", "no gain"): """
def prepared(q, gain, angles):
    return rotate(q / (q.square().mean(-1, keepdim=True) + 1e-6).sqrt(), angles)
""",
    ("14.3", "length instead of root mean square"): """
def prepared(q, gain, angles):
    return rotate(gain * q / (q.square().sum(-1, keepdim=True) + 1e-6).sqrt(), angles)
""",
    ("14.4", "bias twice"): """
def taken_apart(weight, bias):
    h = len(bias)
    return lambda a: a @ weight[:, :h].T + bias, lambda m: m @ weight[:, h:].T + bias
""",
    ("14.4", "perceptron first"): """
def taken_apart(weight, bias):
    h = len(bias)
    return lambda a: a @ weight[:, -h:].T + bias, lambda m: m @ weight[:, :-h].T
""",
    ("14.5", "zero for no guidance"): """
def guided_target(teacher, x, t, c, null, w):
    with torch.no_grad():
        v_c, v_u = teacher(x, t, c), teacher(x, t, null)
    return v_c + w.reshape(-1, *(1,) * (x.ndim - 1)) * (v_c - v_u)
""",
    ("14.5", "strength broadcasts over rows"): """
def guided_target(teacher, x, t, c, null, w):
    with torch.no_grad():
        v_c, v_u = teacher(x, t, c), teacher(x, t, null)
    return v_u + w[:, None] * (v_c - v_u)
""",
    ("14.5", "the teacher learns"): """
def guided_target(teacher, x, t, c, null, w):
    v_c, v_u = teacher(x, t, c), teacher(x, t, null)
    return v_u + w.reshape(-1, *(1,) * (x.ndim - 1)) * (v_c - v_u)
""",
    ("14.6", "only the first layer"): """
def in_our_order(first, head, patch):
    return rearrange(first, "h (c p q) -> h (p q c)", p=patch, q=patch), head
""",
    ("14.6", "the other way"): """
def in_our_order(first, head, patch):
    sizes = {"p": patch, "q": patch}
    return rearrange(first, "h (p q c) -> h (c p q)", **sizes), rearrange(head, "(p q c) h -> (c p q) h", **sizes)
""",
    ("14.6", "columns before rows"): """
def in_our_order(first, head, patch):
    sizes = {"p": patch, "q": patch}
    return rearrange(first, "h (c p q) -> h (q p c)", **sizes), rearrange(head, "(c p q) h -> (q p c) h", **sizes)
""",
}
