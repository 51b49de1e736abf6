"""An explorer on a page of its own: its script, its state, and a model that remembers what was sent."""

import base64
import json
from pathlib import Path

import torch

from flowlib.densities import Gaussian, eight_gaussians
from flowlib.paths import OT, exact_velocity
from flowlib.solvers import RK4, solve
from flowlib.viz.widgets import Explorer, explore

PAGE = """<!doctype html>%(head)s<meta charset="utf-8"><title>explorer</title>
<style>%(css)s body { background: %(background)s; margin: 1rem; font: 16px sans-serif; }</style>
<body %(body)s><div id="here"></div>
<script type="module">
const state = %(state)s, listeners = {};
for (const name of ["data", "field", "colors"]) {
  state[name] = new DataView(Uint8Array.from(atob(state[name]), (c) => c.charCodeAt(0)).buffer);
}
window.sent = [];
window.model = {
  get: (name) => state[name],
  set: (name, value) => { state[name] = value; (listeners["change:" + name] ?? []).forEach((f) => f()); },
  on: (event, f) => (listeners[event] ??= []).push(f),
  off: () => {},
  send: (content) => window.sent.push(content),
  save_changes: () => {},
  emit: (event, ...values) => listeners[event].forEach((f) => f(...values)),
};
const script = new Blob([%(script)s], { type: "text/javascript" }); // anywidget imports it in the same way
window.script = await import(URL.createObjectURL(script));
window.stop = window.script.default.render({ model: window.model, el: document.getElementById("here") });
window.ready = true;
</script>"""


def write_page(explorer: Explorer, path: Path, *, background: str = "#ffffff", head: str = "", body: str = "") -> str:
    """Write the page of ``explorer`` and return its address; ``body`` is what the page says of itself there."""
    names = ("n", "panels", "limits", "data", "field", "colors", "palette", "label", "solves", "t")
    state = {name: getattr(explorer, name) for name in names}
    state = {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in state.items()}
    script = json.dumps(str(explorer._esm)).replace("</", "<\\/")
    filled = {"css": explorer._css, "state": json.dumps(state), "script": script, "background": background}
    path.write_text(PAGE % (filled | {"head": head, "body": body}))
    return path.as_uri()


def straight_and_curved(n: int, panels: int = 2) -> Explorer:
    """Lines of random pairs, the flow with the same densities, and, as a third, the flow again."""
    generator, target = torch.Generator().manual_seed(0), eight_gaussians()
    x_0, x_1 = Gaussian(torch.zeros(2)).sample(n, generator), target.sample(n, generator)
    exact = exact_velocity(OT(), target)
    flow = solve(exact, x_0, torch.linspace(0, 1, 65), RK4).trajectory
    crowds = {"straight": torch.stack([x_0, x_1]), "flow": flow, "flow again": flow}
    names = list(crowds)[:panels]
    return explore({k: crowds[k] for k in names}, v={k: exact for k in names if k != "straight"})
