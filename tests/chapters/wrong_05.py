"""Plausible wrong answers to the exercises of chapter 05, each under its number and the mistake it makes."""

WRONG = {
    ("5.1", "follows its line"): """
end, cost_before, cost_after, crossing, straight = (2.0, 2.0), 8.0, 8.0, 0.0, 0.0""",
    ("5.1", "crossing for bend"): """
end, cost_before, cost_after, crossing, straight = (2.0, 0.0), 8.0, 4.0, 4.0, 0.0""",
    ("5.1", "lengths not squared"): """
end, cost_before, cost_after, crossing, straight = (2.0, 0.0), 2.828, 2.0, 0.0, 0.828""",
    ("5.2", "mean over coordinates"): """
def straightness_of(z, dz):
    bend = (z[-1] - z[0] - dz).square().flatten(2).mean(2)
    return torch.trapezoid(bend, dx=1 / (len(z) - 1), dim=0).mean()""",
    ("5.2", "mean over times"): """
def straightness_of(z, dz):
    return (z[-1] - z[0] - dz).square().flatten(2).sum(2).mean()""",
    ("5.2", "spacing 1 / T"): """
def straightness_of(z, dz):
    bend = (z[-1] - z[0] - dz).square().flatten(2).sum(2)
    return torch.trapezoid(bend, dx=1 / len(z), dim=0).mean()""",
    ("5.3", "jump of one step"): """
def student_loss(v, z_0, z_1, j, k):
    t = j / k
    z_t = t[:, None] * z_1 + (1 - t[:, None]) * z_0
    return (v(z_t, t) - (z_1 - z_0) / k).square().mean()""",
    ("5.3", "grid that ends at 1"): """
def student_loss(v, z_0, z_1, j, k):
    t = j / (k - 1)
    z_t = t[:, None] * z_1 + (1 - t[:, None]) * z_0
    return (v(z_t, t) - (z_1 - z_0)).square().mean()""",
    ("5.3", "always asked at the start"): """
def student_loss(v, z_0, z_1, j, k):
    return (v(z_0, j / k) - (z_1 - z_0)).square().mean()""",
    ("5.4", "variances subtracted"): """
cost_random, cost_flow, bend_and_crossing, cost_next = 4.0, 2.0, 2.0, 2.0""",
    ("5.4", "falls in every round"): """
cost_random, cost_flow, bend_and_crossing, cost_next = 6.0, 2.0, 4.0, 0.0""",
    ("5.4", "slope c"): """
cost_random, cost_flow, bend_and_crossing, cost_next = 6.0, 5.0, 1.0, 5.0""",
    ("5.5", "compares with the start"): """
def least_steps(v, x_0, method, tolerance):
    n = 4
    while (solve(v, x_0, torch.linspace(0, 1, n + 1), method).x - x_0).square().mean().sqrt() >= tolerance and n < 512:
        n *= 2
    return n""",
    ("5.5", "returns the doubled number"): """
def least_steps(v, x_0, method, tolerance):
    def end(n):
        return solve(v, x_0, torch.linspace(0, 1, n + 1), method).x

    n = 4
    while (end(2 * n) - end(n)).square().mean().sqrt() >= tolerance:
        n *= 2
    return 2 * n""",
    ("5.5", "mean difference, where errors cancel"): """
def least_steps(v, x_0, method, tolerance):
    def end(n):
        return solve(v, x_0, torch.linspace(0, 1, n + 1), method).x

    n = 4
    while (end(2 * n) - end(n)).mean().abs() >= tolerance:
        n *= 2
    return n""",
    ("5.6", "not mirrored"): """
def u_shaped(n, a, generator):
    u = torch.rand(n, generator=generator)
    return torch.log1p(u * math.expm1(a)) / a""",
    ("5.6", "mirrored for the whole batch"): """
def u_shaped(n, a, generator):
    t = torch.log1p(torch.rand(n, generator=generator) * math.expm1(a)) / a
    return t if torch.rand(1, generator=generator) < 0.5 else 1 - t""",
    ("5.6", "decay not scaled to [0, 1]"): """
def u_shaped(n, a, generator):
    u, heads = torch.rand(2, n, generator=generator)
    t = (-torch.log(u) / a).clamp(0, 1)
    return torch.where(heads < 0.5, t, 1 - t)""",
    ("5.7", "the velocity of a turning wheel"): """
def turning_velocity(x, t, angle):
    return angle * torch.stack([-x[:, 1], x[:, 0]], 1)""",
    ("5.7", "asked at the start"): """
def turning_velocity(x, t, angle):
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, -s], [s, c]])
    return x @ (turn - torch.eye(2)).T""",
    ("5.7", "turns the other way"): """
def turning_velocity(x, t, angle):
    turn = torch.polar(torch.tensor(1.0), torch.tensor(-angle))
    z = torch.view_as_complex(x.contiguous())
    return torch.view_as_real((turn - 1) / (1 - t + t * turn) * z)""",
}
