"""Plausible wrong answers to the exercises of chapter 17, each under its number and the mistake it makes."""

WRONG = {
    ("17.1", "in bits"): "two, three, one_then_two, backward = 0.322, 0.753, 0.109, 12",
    ("17.1", "pairs added up"): "two, three, one_then_two, backward = 0.2231, 0.6694, 0.0758, 12",
    ("17.1", "the first forgotten"): "two, three, one_then_two, backward = 0.2231, 0.5221, 0.2231, 12",
    ("17.1", "the whole picture"): "two, three, one_then_two, backward = 0.2231, 0.5221, 0.0758, 3072",
    ("17.2", "queries read themselves as contents"): """
def reads(rounds):
    mine, theirs = rounds[:, None], rounds[None]
    itself = torch.eye(len(rounds), dtype=torch.bool)
    return torch.cat([torch.cat([theirs <= mine, ~itself & itself], 1), torch.cat([theirs <= mine, itself], 1)])""",
    ("17.2", "rows and columns exchanged"): """
def reads(rounds):
    mine, theirs = rounds[None], rounds[:, None]
    itself = torch.eye(len(rounds), dtype=torch.bool)
    return torch.cat([torch.cat([theirs <= mine, ~itself & itself], 1), torch.cat([theirs < mine, itself], 1)])""",
    ("17.2", "queries read all queries"): """
def reads(rounds):
    mine, theirs = rounds[:, None], rounds[None]
    none = torch.zeros(len(rounds), len(rounds), dtype=torch.bool)
    return torch.cat([torch.cat([theirs <= mine, none], 1), torch.cat([theirs < mine, ~none], 1)])""",
    ("17.2", "places in place of rounds"): """
def reads(rounds):
    n = len(rounds)
    seen, none = torch.ones(n, n).tril().bool(), torch.zeros(n, n, dtype=torch.bool)
    itself = torch.eye(n, dtype=torch.bool)
    return torch.cat([torch.cat([seen, none], 1), torch.cat([seen & ~itself, itself], 1)])""",
    ("17.3", "the second on its own"): """
def log_given(weights, means, sds, x1, x2):
    log_normal = torch.distributions.Normal(means[:, 1], sds).log_prob(x2[:, None])
    return (weights.log() + log_normal).logsumexp(1)""",
    ("17.3", "not normalised: the joint law"): """
def log_given(weights, means, sds, x1, x2):
    a = torch.distributions.Normal(means[:, 0], sds).log_prob(x1[:, None])
    b = torch.distributions.Normal(means[:, 1], sds).log_prob(x2[:, None])
    return (weights.log() + a + b).logsumexp(1)""",
    ("17.3", "weights forgotten"): """
def log_given(weights, means, sds, x1, x2):
    a = torch.distributions.Normal(means[:, 0], sds).log_prob(x1[:, None])
    b = torch.distributions.Normal(means[:, 1], sds).log_prob(x2[:, None])
    return (a.log_softmax(1) + b).logsumexp(1)""",
    ("17.4", "far apart, but with nothing between"): "rounds, most = torch.arange(16) % 4, 8",
    ("17.4", "the chapter's own"): """
rounds, most = torch.tensor([0, 4, 3, 4, 2, 4, 3, 4, 1, 4, 3, 4, 2, 4, 3, 4]), 8""",
    ("17.4", "one by one"): "rounds, most = torch.arange(16), 8",
    ("17.4", "nine fit between eight"): """
rounds, most = torch.tensor([4, 3, 4, 2, 4, 3, 4, 1, 4, 3, 4, 2, 4, 3, 4, 0]), 9""",
    ("17.5", "the inverse in one pass"): """
def forward(context, x):
    m, a = context(x)
    return (x - m) * (-a).exp(), -a.sum((1, 2))


def inverse(context, z):
    m, a = context(z)
    return z * a.exp() + m""",
    ("17.5", "the sign of the logdet"): """
def forward(context, x):
    m, a = context(x)
    return (x - m) * (-a).exp(), a.sum((1, 2))


def inverse(context, z):
    x = torch.zeros_like(z)
    for i in range(z.shape[1]):
        m, a = context(x)
        x[:, i] = z[:, i] * a[:, i].exp() + m[:, i]
    return x""",
    ("17.5", "one logdet for the batch"): """
def forward(context, x):
    m, a = context(x)
    return (x - m) * (-a).exp(), -a.sum()


def inverse(context, z):
    x = torch.zeros_like(z)
    for i in range(z.shape[1]):
        m, a = context(x)
        x[:, i] = z[:, i] * a[:, i].exp() + m[:, i]
    return x""",
    ("17.6", "logarithms averaged twice"): "def two_nlls(log_q): return -log_q.mean(), -log_q.mean(0).mean()",
    ("17.6", "not divided by K"): "def two_nlls(log_q): return -log_q.mean(), -log_q.logsumexp(0).mean()",
    ("17.6", "underflows"): "def two_nlls(log_q): return -log_q.mean(), -log_q.exp().mean(0).log().mean()",
}
