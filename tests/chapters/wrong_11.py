"""Plausible wrong answers to the exercises of chapter 11, each under its number and the mistake it makes."""

WRONG = {
    ("11.1", "a token for each channel"): "tokens, giga, training, factor = 1024, 6.98, 41.9, 4.31",
    ("11.1", "a multiply-add is one operation"): "tokens, giga, training, factor = 256, 6.99, 20.97, 4.31",
    ("11.1", "cost taken for linear"): "tokens, giga, training, factor = 256, 6.99, 41.94, 4.0",
    ("11.2", "no thousand"): """
def clock(t, dim):
    i = torch.arange(dim // 2, dtype=t.dtype)
    angle = t[:, None] * 10_000.0 ** (-i / (dim // 2))
    return torch.cat([angle.cos(), angle.sin()], 1)""",
    ("11.2", "the last hand too slow"): """
def clock(t, dim):
    i = torch.arange(dim // 2, dtype=t.dtype)
    angle = 1000 * t[:, None] * 10_000.0 ** (-i / (dim // 2 - 1))
    return torch.cat([angle.cos(), angle.sin()], 1)""",
    ("11.2", "sines first"): """
def clock(t, dim):
    i = torch.arange(dim // 2, dtype=t.dtype)
    angle = 1000 * t[:, None] * 10_000.0 ** (-i / (dim // 2))
    return torch.cat([angle.sin(), angle.cos()], 1)""",
    ("11.3", "gate on the skip"): """
def modulated_branch(z, e, weight, bias, branch):
    shift, scale, gate = (torch.nn.functional.silu(e) @ weight.T + bias)[:, None].chunk(3, -1)
    norm = torch.nn.functional.layer_norm(z, z.shape[-1:], eps=1e-6)
    return gate * (z + branch((1 + scale) * norm + shift))""",
    ("11.3", "scale without one"): """
def modulated_branch(z, e, weight, bias, branch):
    shift, scale, gate = (torch.nn.functional.silu(e) @ weight.T + bias)[:, None].chunk(3, -1)
    norm = torch.nn.functional.layer_norm(z, z.shape[-1:], eps=1e-6)
    return z + gate * branch(scale * norm + shift)""",
    ("11.3", "shift and scale swapped"): """
def modulated_branch(z, e, weight, bias, branch):
    scale, shift, gate = (torch.nn.functional.silu(e) @ weight.T + bias)[:, None].chunk(3, -1)
    norm = torch.nn.functional.layer_norm(z, z.shape[-1:], eps=1e-6)
    return z + gate * branch((1 + scale) * norm + shift)""",
    ("11.3", "norm of the residual"): """
def modulated_branch(z, e, weight, bias, branch):
    shift, scale, gate = (torch.nn.functional.silu(e) @ weight.T + bias)[:, None].chunk(3, -1)
    norm = torch.nn.functional.layer_norm(z, z.shape[-1:], eps=1e-6)
    return norm + gate * branch((1 + scale) * norm + shift)""",
    ("11.4", "one draw for the batch"): """
def withhold(c, null, p, generator):
    withheld = torch.rand((), generator=generator) < p
    return torch.full_like(c, null) if withheld else c.clone()""",
    ("11.4", "keeps with probability p"): """
def withhold(c, null, p, generator):
    return torch.where(torch.rand(c.shape, generator=generator) < p, c, null)""",
    ("11.4", "in place"): """
def withhold(c, null, p, generator):
    c[torch.rand(c.shape, generator=generator) < p] = null
    return c""",
    ("11.5", "the time of the first sample"): """
def guided_for_a_while(v, x, t, c, w, null, low, high):
    v_c, v_u = v(x, t, c), v(x, t, torch.full_like(c, null))
    return v_u + (w if low <= t[0] <= high else 1.0) * (v_c - v_u)""",
    ("11.5", "three channels"): """
def guided_for_a_while(v, x, t, c, w, null, low, high):
    v_c, v_u = v(x, t, c), v(x, t, torch.full_like(c, null))
    weight = torch.where((t >= low) & (t <= high), w, 1.0)[:, None, None, None]
    v_w = v_u + weight * (v_c - v_u)
    return torch.cat([v_w[:, :3], v_c[:, 3:]], 1)""",
    ("11.5", "no class outside"): """
def guided_for_a_while(v, x, t, c, w, null, low, high):
    v_c, v_u = v(x, t, c), v(x, t, torch.full_like(c, null))
    weight = torch.where((t >= low) & (t <= high), w, 0.0)[:, None, None, None]
    return v_u + weight * (v_c - v_u)""",
    ("11.6", "the tilt taken for the samples"): "sampled, tilted, weight = 0.4685, 0.4685, 4.508",
    ("11.6", "variances for deviations"): "sampled, tilted, weight = 0.36, 0.2195, 4.508",
    ("11.6", "variance s^w"): "sampled, tilted, weight = 0.6, 0.4685, 9.015",
    ("11.7", "gradients pile up"): """
def awake(model, batches):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    names = set()
    for batch in batches:
        flow_matching(model, *batch).backward()
        optimizer.step()
    return {name for name, p in model.named_parameters() if p.grad is not None}""",
    ("11.7", "no step is made"): """
def awake(model, batches):
    for batch in batches:
        model.zero_grad()
        flow_matching(model, *batch).backward()
    return {name for name, p in model.named_parameters() if bool((p.grad != 0).any())}""",
    ("11.8", "w for w - 1"): """
def miss(A, v_c, v_u, w, k):
    return w * A[:, :k] @ (v_c - v_u)[:k]""",
    ("11.8", "the coordinates that are left alone"): """
def miss(A, v_c, v_u, w, k):
    return (w - 1) * A[:, k:] @ (v_c - v_u)[k:]""",
}
