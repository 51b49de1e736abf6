"""Continuous flows: exact answers on linear fields, probes, costs, bad input."""

import pytest
import torch
from fields import Linear, Pixels, random_mlp
from laws import jacobian_trace

from flowlib.densities import Gaussian, moons
from flowlib.derivatives import divergence, vjp
from flowlib.errors import InputError
from flowlib.flows import CNF
from flowlib.models import MLP
from flowlib.objectives import negative_log_likelihood, regularised_likelihood
from flowlib.solvers import HEUN, RK4, solve
from flowlib.training import Plan, train

pytestmark = pytest.mark.usefixtures("float64")


def linear_answer(field, x, c=0):
    """x_1 = e^A x_0 + A^-1 (e^A - I)(b + c), so log p(x) = log N(x_0; 0, I) - tr A."""
    flow = torch.linalg.matrix_exp(field.a)
    shift = torch.linalg.solve(field.a, (flow - torch.eye(len(field.a))) @ (field.b + c))
    x_0 = torch.linalg.solve(flow, (x - shift).T).T
    return Gaussian(torch.zeros(len(field.a))).log_prob(x_0) - field.a.trace()


@pytest.mark.parametrize("options", [{"tolerance": 1e-8}, {"method": RK4, "steps": 40}], ids=["DOPRI5", "RK4"])
@pytest.mark.parametrize("adjoint", [False, True])
def test_linear_field_is_the_matrix_exponential(options, adjoint, generator):
    field = Linear(3, generator)
    x = torch.randn(10, 3, generator=generator)
    cnf = CNF(field, (3,), adjoint=adjoint, **options)
    torch.testing.assert_close(cnf.log_prob(x), linear_answer(field, x), rtol=0, atol=1e-6)
    c = torch.tensor([1.0, -1.0, 0.5])
    torch.testing.assert_close(cnf.log_prob(x, c.expand(10, 3)), linear_answer(field, x, c), rtol=0, atol=1e-6)


def test_samples_of_a_linear_field(generator):
    field = Linear(3, generator)
    flow = torch.linalg.matrix_exp(field.a.detach())
    x = CNF(field, (3,)).sample(50_000, generator=generator)
    torch.testing.assert_close(x.T.cov(), flow @ flow.T, rtol=0.05, atol=0.05)
    again = CNF(field, (3,)).sample(3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again, CNF(field, (3,)).sample(3, generator=torch.Generator().manual_seed(0)))


def test_log_prob_on_pictures_is_the_logdet_of_the_flow_map(generator):
    """Exact divergence on a (2, 3, 4, 4) batch: the trace of the Jacobian, and its integral against slogdet."""
    field = Pixels(3)
    x = torch.randn(2, 3, 4, 4, generator=generator)
    t = torch.tensor([0.3, 0.8])
    value, div = divergence(lambda y: field(y, t), x)
    assert value.shape == x.shape
    for b in range(2):
        torch.testing.assert_close(div[b : b + 1], jacobian_trace(lambda y, b=b: field(y, t[b : b + 1]), x[b : b + 1]))
    cnf = CNF(field, (3, 4, 4), method=RK4, steps=10)

    def to_base(y):
        return solve(field, y[None], torch.linspace(1, 0, 11), RK4).x[0].flatten()

    for b, log_p in enumerate(cnf.log_prob(x).detach()):
        jacobian = torch.func.jacrev(to_base)(x[b]).flatten(1)
        expected = Gaussian(torch.zeros(48)).log_prob(to_base(x[b])[None])[0] + jacobian.slogdet().logabsdet
        assert float(log_p) == pytest.approx(float(expected.detach()), abs=1e-5)


def test_agrees_with_torchdiffeq(generator):
    torchdiffeq = pytest.importorskip("torchdiffeq")
    field = random_mlp(generator)
    x = torch.randn(6, 2, generator=generator)

    def joint(t, state):
        dx, div = divergence(lambda y: field(y, t.expand(len(y))), state[0])
        return dx, div

    x_0, minus_integral = torchdiffeq.odeint(
        joint, (x, torch.zeros(6)), torch.tensor([1.0, 0.0]), rtol=1e-9, atol=1e-9, method="dopri5"
    )
    expected = Gaussian(torch.zeros(2)).log_prob(x_0[-1]) + minus_integral[-1]
    torch.testing.assert_close(CNF(field, (2,), tolerance=1e-9).log_prob(x), expected, rtol=0, atol=1e-7)


# --- probes


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased(probe, generator):
    """Each sample of a batch has a probe of its own, so one batch of copies is as many estimates."""
    field = random_mlp(generator)
    x = torch.randn(1, 2, generator=generator).expand(4000, 2)
    with torch.no_grad():
        exact = CNF(field, (2,)).log_prob(x[:1])
        estimates = CNF(field, (2,), probe=probe).log_prob(x, generator=generator)
    assert float(estimates.mean()) == pytest.approx(float(exact), abs=4 * float(estimates.std()) / 4000**0.5)
    assert float(estimates.std()) > 1e-3


def test_variance_of_the_probes(generator):
    """The Jacobian of a linear field is constant: the estimate of its integral is eps^T A eps, with S = (A + A^T)/2."""
    field = Linear(3, generator)
    x = torch.randn(1, 3, generator=generator).expand(20_000, 3)
    s = (field.a + field.a.T).detach() / 2
    gaussian = 2 * s.square().sum()
    for probe, variance in (("gaussian", gaussian), ("rademacher", gaussian - 2 * s.diagonal().square().sum())):
        with torch.no_grad():
            estimates = CNF(field, (3,), method=RK4, steps=4, probe=probe).log_prob(x, generator=generator)
        assert float(estimates.var()) == pytest.approx(float(variance), rel=0.05)


def test_one_probe_serves_a_whole_solve(generator):
    """A probe drawn anew at each call would be a rough integrand, and the adaptive solver would pay for it."""
    field = random_mlp(generator)
    x = torch.randn(32, 2, generator=generator)
    exact, probed = (CNF(field, (2,), probe=p).path_integrals(x, generator=generator) for p in (None, "gaussian"))
    assert probed.nfe <= 1.5 * exact.nfe
    one, two = (
        CNF(field, (2,), probe="gaussian").log_prob(x, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(one, two)


# --- costs


def test_costs_of_a_linear_field(generator):
    """|eps^T A|^2 averages to |A|_F^2; the kinetic energy is a quadrature along the known trajectory."""
    field = Linear(2, generator)
    x = torch.randn(1, 2, generator=generator).expand(4000, 2)
    with torch.no_grad():
        path = CNF(field, (2,), tolerance=1e-8).path_integrals(x, generator=generator)
        times = torch.linspace(1, 0, 2001)
        z = solve(field, x[:1], times, HEUN).trajectory
        energy = -torch.trapezoid(field(z, times).square().sum((1, 2)), times)
    torch.testing.assert_close(path.log_p, linear_answer(field, x).detach(), rtol=0, atol=1e-6)
    torch.testing.assert_close(path.kinetic, energy.expand(4000), rtol=1e-5, atol=1e-5)
    error = 4 * float(path.jacobian.std()) / 4000**0.5
    assert float(path.jacobian.mean()) == pytest.approx(float(field.a.detach().square().sum()), abs=error)
    assert path.nfe > 0


def test_regularised_likelihood_is_the_sum_of_its_parts(generator):
    cnf = CNF(random_mlp(generator), (2,), method=RK4, steps=5)
    x = torch.randn(8, 2, generator=generator)
    plain = negative_log_likelihood(cnf, x)
    torch.testing.assert_close(regularised_likelihood(cnf, x, kinetic=0, jacobian=0), plain)
    path = cnf.path_integrals(x)
    torch.testing.assert_close(
        regularised_likelihood(cnf, x, kinetic=0.5, jacobian=0), plain + 0.5 * path.kinetic.mean()
    )
    torch.manual_seed(0)
    expected = plain + 0.5 * cnf.path_integrals(x).jacobian.mean()
    torch.manual_seed(0)
    torch.testing.assert_close(regularised_likelihood(cnf, x, kinetic=0, jacobian=0.5), expected)


def test_training_lowers_the_likelihood_and_the_costs_straighten():
    torch.set_default_dtype(torch.float32)
    target, found = moons(0.1), []
    for loss in (negative_log_likelihood, lambda m, x: regularised_likelihood(m, x, kinetic=0.3, jacobian=0.3)):
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        cnf = CNF(MLP(2, width=32, depth=2), (2,), method=HEUN, steps=4, probe="rademacher")
        batches = ((target.sample(256, generator),) for _ in range(40))
        for _ in train(loss, cnf, batches, Plan(steps=40, batch_size=256, lr=1e-2)):
            pass
        x = target.sample(2000, generator)
        with torch.no_grad():
            found.append(CNF(cnf.v, (2,)).path_integrals(x, generator=generator))
    plain, regularised = found
    assert float(plain.log_p.mean()) > float(Gaussian(torch.zeros(2)).log_prob(x).mean()) + 0.2
    assert float(regularised.kinetic.mean()) < float(plain.kinetic.mean())
    assert float(regularised.jacobian.mean()) < float(plain.jacobian.mean())


def test_base_can_be_another_density(generator):
    base = Gaussian(torch.tensor([3.0, 0.0]), 0.25)
    still = CNF(lambda x, t, c=None: 0 * x, (2,), base=base)
    x = torch.randn(5, 2, generator=generator)
    torch.testing.assert_close(still.log_prob(x), base.log_prob(x))
    assert float(still.sample(1000, generator=generator)[:, 0].mean()) == pytest.approx(3, abs=0.1)


def test_vjp_is_a_row_of_the_jacobian(generator):
    a = torch.randn(3, 3, generator=generator)
    x, eps = torch.randn(2, 4, 3, generator=generator)
    value, row = vjp(lambda x: x @ a.T, x, eps)
    torch.testing.assert_close(value, x @ a.T)
    torch.testing.assert_close(row, eps @ a)
    with torch.no_grad():  # a view of a tensor that requires a gradient still says so
        assert not divergence(lambda x: x @ a.T, x.requires_grad_()[:, :])[1].requires_grad


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: CNF(v, (2,)).log_prob(torch.zeros(3, 4)), r"x: expected events of shape \(2,\), got shape \(3, 4\)"),
        (lambda v: CNF(v, (2,)).log_prob(torch.full((1, 2), torch.nan)), "x: expected finite numbers"),
        (lambda v: CNF(v, (2,)).sample(0), "n: expected at least 1"),
        (lambda v: CNF(v, (2,), probe="normal"), 'probe: expected None, "rademacher" or "gaussian"'),
        (lambda v: CNF(v, (2,), method=RK4, steps=0), "steps: expected at least 1"),
        (lambda v: CNF(v, (2,), base=Gaussian(torch.zeros(3))), r"base: expected events of shape \(2,\)"),
        (lambda v: CNF(lambda x, t, c: x[:, :1], (2,)).sample(1), "v: expected a field shaped like x"),
    ],
)
def test_bad_input(call, message, unchecked):
    with pytest.raises(InputError, match=message):
        call(MLP(2, width=4, depth=1))
