"""Plausible wrong answers to the exercises of chapter 15, each under its number and the mistake it makes."""

WRONG = {
    ("15.1", "multiply-adds taken for operations"): "gflop, at_most, share = 69.0, 400e3 / 69, 0.1725",
    ("15.1", "forward pass only"): "gflop, at_most, share = 46.0, 400e3 / 46, 0.115",
    ("15.1", "share upside down"): "gflop, at_most, share = 138.0, 400e3 / 138, 2.9",
    ("15.2", "multiply-adds"): """
def training_operations(sizes, rows):
    return 3 * sum(m * n * rows for m, n in itertools.pairwise(sizes))""",
    ("15.2", "one row"): """
def training_operations(sizes, rows):
    return 6 * sum(m * n for m, n in itertools.pairwise(sizes))""",
    ("15.3", "in place"): """
def write_safely(path, content, write):
    write(path, content)""",
    ("15.3", "removes the old file first"): """
def write_safely(path, content, write):
    path.unlink(missing_ok=True)
    write(path.with_suffix(".part"), content)
    path.with_suffix(".part").replace(path)""",
    ("15.3", "copies, and leaves the part"): """
def write_safely(path, content, write):
    write(path.with_suffix(".part"), content)
    path.write_text(path.with_suffix(".part").read_text())""",
    ("15.3", "copies, then removes the part"): """
def write_safely(path, content, write):
    part = path.with_suffix(".part")
    write(part, content)
    path.write_text(part.read_text())
    part.unlink()""",
    ("15.3", "removes the old file, then renames"): """
def write_safely(path, content, write):
    part = path.with_suffix(".part")
    write(part, content)
    path.unlink(missing_ok=True)
    part.rename(path)""",
    ("15.4", "forgets the start"): """
def ema_weights(b, n):
    return [(1 - b) * b**k for k in range(n + 1)]""",
    ("15.4", "oldest first"): """
def ema_weights(b, n):
    return [b**n] + [(1 - b) * b**k for k in reversed(range(n))]""",
    ("15.5", "hours"): "interval, lost, decay = math.sqrt(2 * 5 * 8), 5 / math.sqrt(80), 200 / 209",
    ("15.5", "one term"): "interval = math.sqrt(288_000)\nlost = 5 / interval\ndecay = 200 / 209",
    ("15.5", "counts from one"): "interval = math.sqrt(288_000)\nlost = 10 / interval\ndecay = 201 / 210",
    ("15.6", "plain mean"): """
def average(gradients, rows):
    return sum(gradients) / len(gradients)""",
    ("15.6", "sum"): """
def average(gradients, rows):
    return sum(g * n for g, n in zip(gradients, rows, strict=True))""",
    ("15.7", "starts the pass again"): """
def from_batch(seed, size, batch_size, n):
    g = torch.Generator().manual_seed(seed)
    for _ in range(n // (size // batch_size)):
        torch.randperm(size, generator=g)
    while True:
        order = torch.randperm(size, generator=g)
        yield from order[: size // batch_size * batch_size].split(batch_size)""",
    ("15.7", "same permutation for ever"): """
def from_batch(seed, size, batch_size, n):
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    batches = order[: size // batch_size * batch_size].split(batch_size)
    while True:
        yield batches[n % len(batches)]
        n += 1""",
    ("15.7", "skips in every pass"): """
def from_batch(seed, size, batch_size, n):
    g = torch.Generator().manual_seed(seed)
    for _ in range(n // (size // batch_size)):
        torch.randperm(size, generator=g)
    while True:
        order = torch.randperm(size, generator=g)
        yield from order[: size // batch_size * batch_size].split(batch_size)[n % (size // batch_size) :]""",
    ("15.8", "a line in n"): """
def extrapolate(ns, values):
    x, y = torch.tensor(ns, dtype=torch.float64), torch.tensor(values, dtype=torch.float64)
    a = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return float(y.mean() - a * x.mean()), float(a)""",
    ("15.8", "slope first"): """
def extrapolate(ns, values):
    x, y = 1 / torch.tensor(ns, dtype=torch.float64), torch.tensor(values, dtype=torch.float64)
    a = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return float(a), float(y.mean() - a * x.mean())""",
    ("15.8", "the largest n"): """
def extrapolate(ns, values):
    return values[-1], (values[0] - values[-1]) / (1 / ns[0] - 1 / ns[-1])""",
}
