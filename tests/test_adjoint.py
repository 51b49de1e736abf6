"""The adjoint method: its gradients against backpropagation and an exact answer, its memory, bad input."""

import pytest
import torch
from fields import Linear, Pixels, random_mlp
from memory import peak_memory

from flowlib.errors import InputError
from flowlib.flows import CNF
from flowlib.solvers import DOPRI5, EULER, RK4, solve, solve_adjoint

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize(
    "options",
    [{"tolerance": 1e-8}, {"tolerance": 1e-8, "probe": "rademacher"}, {"method": RK4, "steps": 30}],
    ids=["DOPRI5", "probe", "RK4"],
)
def test_adjoint_gradient_is_that_of_backpropagation(options, generator):
    field = random_mlp(generator)
    x = torch.randn(5, 2, generator=generator).requires_grad_()
    weight = torch.rand(5, generator=generator)
    gradients = []
    for adjoint in (False, True):
        log_p = CNF(field, (2,), adjoint=adjoint, **options).log_prob(x, generator=torch.Generator().manual_seed(1))
        gradients.append(
            torch.autograd.grad(
                (weight * log_p).sum(), [x, *field.parameters()], allow_unused=True, materialize_grads=True
            )
        )
    assert max(float(g.abs().max()) for g in gradients[0]) > 0.1
    for backprop, adjoint in zip(*gradients, strict=True):
        torch.testing.assert_close(adjoint, backprop, rtol=1e-5, atol=1e-5)


def test_adjoint_gradient_of_the_costs_and_of_a_picture(generator):
    field = Pixels(1)
    x = torch.randn(2, 1, 3, 4, generator=generator)
    gradients = []
    for adjoint in (False, True):
        cnf = CNF(field, (1, 3, 4), method=RK4, steps=20, probe="gaussian", adjoint=adjoint)
        path = cnf.path_integrals(x, generator=torch.Generator().manual_seed(1))
        loss = (path.kinetic + path.jacobian - path.log_p).sum()
        gradients.append(torch.autograd.grad(loss, list(field.parameters()), allow_unused=True, materialize_grads=True))
    for backprop, adjoint in zip(*gradients, strict=True):
        torch.testing.assert_close(adjoint, backprop, rtol=1e-5, atol=1e-5)


def test_adjoint_reaches_the_condition(generator):
    field = Linear(2, generator)
    x = torch.randn(3, 2, generator=generator)
    gradients = []
    for adjoint in (False, True):
        raw = torch.ones(3, 2, requires_grad=True)
        log_p = CNF(field, (2,), method=RK4, steps=30, adjoint=adjoint).log_prob(x, 2 * raw)  # 2 raw: not a leaf
        log_p.sum().backward()
        gradients.append(raw.grad)
    assert float(gradients[0].abs().max()) > 0.1
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-6)


def test_adjoint_is_exact_on_a_linear_field(generator):
    """x(1) = e^A x(0), so the gradient of w.x(1) in x(0) is e^(A^T) w."""
    a = torch.randn(3, 3, generator=generator)
    x_0, w = torch.randn(2, 4, 3, generator=generator)
    x_0.requires_grad_()
    x_1, nfe = solve_adjoint(
        lambda x, t: x @ a.T, x_0, torch.tensor([0.0, 1.0]), DOPRI5, parameters=(), rtol=1e-9, atol=1e-9
    )
    flow = torch.linalg.matrix_exp(a)
    torch.testing.assert_close(x_1, x_0 @ flow.T, rtol=0, atol=1e-7)
    torch.testing.assert_close(torch.autograd.grad((w * x_1).sum(), x_0)[0], w @ flow, rtol=0, atol=1e-7)
    assert nfe == solve(lambda x, t: x @ a.T, x_0, torch.tensor([0.0, 1.0]), DOPRI5, rtol=1e-9, atol=1e-9).nfe


def test_adjoint_memory_does_not_grow_with_the_steps(generator):
    field = Linear(2, generator)
    x = torch.randn(500, 2, generator=generator)

    def step(steps, adjoint):
        cnf = CNF(field, (2,), method=EULER, steps=steps, probe="rademacher", adjoint=adjoint)
        return lambda: torch.autograd.grad(cnf.log_prob(x).sum(), list(field.parameters()))

    step(2, True)()  # what is allocated once
    few, many = (peak_memory(step(n, adjoint=True)) for n in (40, 400))
    assert many <= 1.2 * few
    few, some = (peak_memory(step(n, adjoint=False)) for n in (10, 40))
    assert some > 3 * few  # the measure sees the memory that backpropagation needs


def test_bad_input(unchecked):
    with pytest.raises(InputError, match="parameters: expected tensors that require a gradient"):
        solve_adjoint(lambda x, t: x, torch.zeros(1, 1), torch.tensor([0.0, 1.0]), parameters=[torch.zeros(1)])
    with pytest.raises(InputError, match=r"v: expected an nn\.Module, whose parameters the adjoint can find"):
        CNF(lambda x, t, c: x, (2,), adjoint=True)
    with pytest.raises(InputError, match="x_0: expected finite numbers"):
        solve_adjoint(lambda x, t: x, torch.full((1, 1), torch.nan), torch.tensor([0.0, 1.0]), parameters=[])
