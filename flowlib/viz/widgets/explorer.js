// The particle explorer: thousands of particles on their precomputed paths, one canvas a panel, all panels in step.
// A path is cubic between evenly spaced knots, which arrive as 16-bit integers (packing.py has the same formula in
// Python). A frame is four multiplications a coordinate and a few numbers a dot, so that 15,000 particles keep up with
// the screen on a laptop without a graphics card.

const SECONDS = 4; // from t = 0 to t = 1
const HOLD = 0.7; // at the end, before it begins again
const OPACITY = 0.8;

function bytes(view) {
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
}

// The weights of the knots k - 1 to k + 2 at time t: Catmull and Rom's cubic, one-sided at the ends.
function weights(t, knots) {
  const s = t * (knots - 1), k = Math.min(Math.floor(s), knots - 2), u = s - k;
  const h10 = u * (1 - u) ** 2, h11 = u * u * (u - 1), h01 = u * u * (3 - 2 * u);
  const w = [0, 1 - h01, h01, 0];
  if (k === 0) { w[1] -= h10; w[2] += h10; } else { w[0] -= h10 / 2; w[2] += h10 / 2; }
  if (k + 2 === knots) { w[1] -= h11; w[2] += h11; } else { w[1] -= h11 / 2; w[3] += h11 / 2; }
  const at = [-1, 0, 1, 2].map((i) => Math.min(Math.max(k + i, 0), knots - 1));
  return { w, at };
}

class Paths {
  constructor(code, knots, low, high) {
    Object.assign(this, { code, knots, low, high, n: code.length / (2 * knots) });
    this.x = new Float32Array(2 * this.n); // all particles at the time of the last call of move
  }

  move(t) {
    const { w, at } = weights(t, this.knots), { code, x } = this, size = 2 * this.n;
    const scale = (this.high - this.low) / 65535, [a, b, c, d] = w.map((v) => v * scale);
    const [i, j, k, l] = at.map((knot) => knot * size);
    for (let m = 0; m < size; m++) {
      x[m] = this.low + a * code[i + m] + b * code[j + m] + c * code[k + m] + d * code[l + m];
    }
  }

  // The whole path of one particle.
  path(index, points = 64) {
    const scale = (this.high - this.low) / 65535, line = [];
    for (let p = 0; p <= points; p++) {
      const { w, at } = weights(p / points, this.knots), z = [this.low, this.low];
      for (let i = 0; i < 4; i++) {
        const m = 2 * (at[i] * this.n + index);
        z[0] += w[i] * scale * this.code[m];
        z[1] += w[i] * scale * this.code[m + 1];
      }
      line.push(z);
    }
    return line;
  }

  nearest([x, y]) {
    let best = -1, least = Infinity;
    for (let i = 0; i < this.n; i++) {
      const d = (this.x[2 * i] - x) ** 2 + (this.x[2 * i + 1] - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return { index: best, distance: Math.sqrt(least) };
  }
}

// A velocity field on a grid of times and cells.
class Arrows {
  constructor(code, times, cells, top) {
    Object.assign(this, { code, times, cells, top });
  }

  draw(g, t, limits, size, color) {
    const { code, times, cells, top } = this, cell = size / cells, stride = 2 * cells * cells;
    const s = Math.min(Math.max(t * times - 0.5, 0), times - 1), k = Math.min(Math.floor(s), times - 2), u = s - k;
    g.beginPath();
    for (let row = 0; row < cells; row++) {
      for (let column = 0; column < cells; column++) {
        const m = 2 * (row * cells + column) + k * stride;
        let vx = (1 - u) * code[m] + u * code[m + stride], vy = (1 - u) * code[m + 1] + u * code[m + 1 + stride];
        const speed = Math.hypot(vx, vy), length = (0.9 * cell) / Math.max(speed, top);
        if (speed * length < 1.5) continue; // too short to point anywhere
        vx *= length; vy *= -length;
        const x = (column + 0.5) * cell - vx / 2, y = size - (row + 0.5) * cell - vy / 2;
        g.moveTo(x, y); g.lineTo(x + vx, y + vy);
        g.lineTo(x + 0.7 * vx - 0.18 * vy, y + 0.7 * vy + 0.18 * vx);
        g.moveTo(x + vx, y + vy); g.lineTo(x + 0.7 * vx + 0.18 * vy, y + 0.7 * vy - 0.18 * vx);
      }
    }
    g.strokeStyle = color; g.lineWidth = size / 320; g.stroke();
  }
}

// Dots are written straight into the pixels: a call of the canvas for each would cost ten times as much. A pixel is one
// number, 0xAABBGGRR; its blue and red are mixed in one multiplication, and what a dot adds is computed beforehand.
const RED_BLUE = 0xff00ff, GREEN = 0xff00, OPAQUE = 0xff000000;

function packed(color) {
  const n = parseInt(color.slice(1), 16);
  return (OPAQUE | ((n & 255) << 16) | (n & GREEN) | (n >> 16)) >>> 0;
}

// A round dot on a canvas `size` wide: the places of its pixels, the share of what lies under them that stays (of 256),
// and what each colour adds to each of them.
function stamp(radius, size, colors) {
  const at = [], rest = [], reach = Math.ceil(radius);
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.min(Math.max(radius + 0.5 - Math.hypot(dx, dy), 0), 1);
      if (cover > 0.05) { at.push(dy * size + dx); rest.push(256 - Math.round(256 * OPACITY * cover)); }
    }
  }
  const added = (mask) => Uint32Array.from(colors.flatMap((c) => rest.map((r) => (c & mask) * (256 - r))));
  return { reach, at: Int32Array.from(at), rest: Int32Array.from(rest), redBlue: added(RED_BLUE), green: added(GREEN) };
}

function splat({ size, pixels, paths, limits, mark, image, context }, background, labels, kinds) {
  const { reach, at, rest, redBlue, green } = mark, dots = at.length, { n, x } = paths;
  const low = limits[0], high = limits[1], scale = size / (high - low), end = size - reach;
  pixels.fill(background);
  for (let i = 0; i < n; i++) {
    const px = ((x[2 * i] - low) * scale) | 0, py = ((high - x[2 * i + 1]) * scale) | 0;
    if (px < reach || py < reach || px >= end || py >= end) continue;
    const middle = py * size + px, color = (labels[i] % kinds) * dots;
    for (let j = 0; j < dots; j++) {
      const under = pixels[middle + at[j]];
      pixels[middle + at[j]] = OPAQUE
        | (((Math.imul(under & RED_BLUE, rest[j]) + redBlue[color + j]) >>> 8) & RED_BLUE)
        | (((under & GREEN) * rest[j] + green[color + j]) >>> 8 & GREEN);
    }
  }
  context.putImageData(image, 0, 0);
}

function element(tag, attributes = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value);
  el.append(...children);
  return el;
}

// Dark or light, whatever page it is: the first background that is there, going outwards.
function isDark(el) {
  for (let at = el; at; at = at.parentElement) {
    const c = getComputedStyle(at).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [];
    if (c.length === 3 || c[3] > 0.5) return 0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2] < 128;
  }
  return ["vscode-dark", "vscode-high-contrast"].includes(document.body.dataset.vscodeThemeKind); // transparent there
}

function read(model) {
  const data = bytes(model.get("data")), field = bytes(model.get("field")), limits = model.get("limits");
  let at = 0, behind = 0;
  return model.get("panels").map(({ name, knots, low, high, cells, times, top, scale }) => {
    const length = 2 * knots * model.get("n"), count = 2 * times * cells * cells;
    const paths = new Paths(new Uint16Array(data, 2 * at, length), knots, low, high);
    const velocity = Float32Array.from(new Int16Array(field, 2 * behind, count), (v) => v * scale);
    at += length; behind += count;
    return { name, paths, limits, arrows: count ? new Arrows(velocity, times, cells, top) : null };
  });
}

function build(panels, root) {
  const row = element("div", { class: "fx-panels" });
  for (const panel of panels) {
    panel.canvas = element("canvas", { role: "img", "aria-label": `particles: ${panel.name}` });
    panel.over = element("canvas", { class: "fx-over", "aria-hidden": "true", hidden: "" });
    panel.box = element("div", { class: "fx-box" }, panel.canvas, panel.over);
    panel.context = panel.canvas.getContext("2d", { alpha: false }); // nothing shines through: half of the page's work
    row.append(element("figure", {}, element("figcaption", {}, panel.name), panel.box));
  }
  const play = element("button", { type: "button", class: "fx-play", "aria-label": "play" }, "▶");
  const slider = element("input", { type: "range", min: 0, max: 1, step: 0.001, "aria-label": "time t" });
  const readout = element("output", {}, "t = 0.00");
  const arrows = element("input", { type: "checkbox" });
  const clear = element("button", { type: "button", hidden: "" }, "clear");
  const note = element("div", { class: "fx-note", "aria-live": "polite" });
  const bar = element("div", { class: "fx-bar" }, play, slider, readout);
  if (panels.some((panel) => panel.arrows)) bar.append(element("label", {}, arrows, " velocity"));
  bar.append(clear);
  root.append(row, bar, note);
  return { play, slider, readout, arrows, clear, note };
}

function render({ model, el }) {
  const root = element("div", { class: "fx", role: "group", "data-lm-suppress-shortcuts": "true" });
  root.setAttribute("aria-label", model.get("label"));
  el.append(root);
  const panels = read(model), ui = build(panels, root), labels = new Uint8Array(bytes(model.get("colors")));
  const n = model.get("n"), solves = model.get("solves"), palette = model.get("palette");
  let t = model.get("t"), playing = false, held = 0, last = 0, stale = true, visible = true, theme, background;
  let hovered = -1, own = [], ticket = 0, frame = 0;
  root.frames = 0; // drawn so far, for those who measure

  function hint() {
    ui.note.textContent = "Point at a particle to see its whole path. Click to drop your own.";
  }

  function dress() {
    const dark = isDark(el);
    root.classList.toggle("fx-dark", dark);
    theme = dark ? palette.dark : palette.light;
    background = packed(theme.background);
    for (const panel of panels) mark(panel);
    stale = true;
  }

  function mark(panel) {
    if (!panel.size) return;
    const radius = (panel.size / 330) * Math.min(Math.max(2.6 * (n / 500) ** -0.35, 1.0), 2.6);
    panel.mark = stamp(radius, panel.size, theme.particles.map(packed));
  }

  function resize() {
    for (const panel of panels) {
      const size = Math.round(panel.canvas.clientWidth * Math.min(window.devicePixelRatio || 1, 2));
      if (!size || size === panel.size) continue;
      for (const canvas of [panel.canvas, panel.over]) canvas.width = canvas.height = size;
      panel.size = size;
      panel.image = panel.context.createImageData(size, size);
      panel.pixels = new Uint32Array(panel.image.data.buffer);
      mark(panel);
    }
    stale = true;
  }

  function pixel(panel, [x, y]) {
    const scale = panel.size / (panel.limits[1] - panel.limits[0]);
    return [(x - panel.limits[0]) * scale, (panel.limits[1] - y) * scale];
  }

  function line(g, panel, path, color, dashed) {
    const unit = panel.size / 320, ends = [path[0], path[path.length - 1]].map((z) => pixel(panel, z));
    g.beginPath();
    for (const z of path) g.lineTo(...pixel(panel, z));
    for (const [style, width] of [[theme.background, 4.5], [color, 2]]) { // a halo keeps it apart from the crowd
      g.setLineDash(dashed && width === 2 ? [5 * unit, 4 * unit] : []);
      g.strokeStyle = style; g.lineWidth = width * unit; g.stroke();
    }
    g.setLineDash([]);
    const s = t * (path.length - 1), k = Math.min(Math.floor(s), path.length - 2), u = s - k;
    const now = pixel(panel, [0, 1].map((i) => (1 - u) * path[k][i] + u * path[k + 1][i]));
    const marks = [[ends[0], 3, theme.background], [ends[1], 3, color], [now, 5.5, color]];
    for (const [[x, y], radius, fill] of marks) {
      g.beginPath(); g.arc(x, y, radius * unit, 0, 7);
      g.fillStyle = fill; g.fill(); g.strokeStyle = theme.ink; g.lineWidth = 1.2 * unit; g.stroke();
    }
  }

  // What lies over the particles; where nothing does, the browser is spared a layer.
  function drawOver(panel, i) {
    const arrows = ui.arrows.checked && panel.arrows;
    panel.over.hidden = !arrows && !own.length && hovered < 0;
    if (panel.over.hidden && panel.clean) return;
    const g = panel.over.getContext("2d"), kinds = theme.particles;
    g.clearRect(0, 0, panel.size, panel.size);
    panel.clean = panel.over.hidden;
    if (arrows) arrows.draw(g, t, panel.limits, panel.size, theme.arrows);
    for (const { paths, exact } of own) line(g, panel, paths[i], theme.own, !exact[i]);
    if (hovered >= 0) line(g, panel, panel.paths.path(hovered), kinds[labels[hovered] % kinds.length]);
  }

  function draw() {
    for (const [i, panel] of panels.entries()) {
      if (!panel.size) continue;
      panel.paths.move(t);
      splat(panel, background, labels, theme.particles.length);
      drawOver(panel, i);
    }
    const words = `t = ${t.toFixed(2)}`;
    if (words !== ui.readout.textContent || !playing) { // setting the page anew costs as much as the particles
      ui.readout.textContent = words;
      ui.slider.value = t;
    }
    root.frames += 1;
    stale = false;
  }

  function tick(now) {
    frame = requestAnimationFrame(tick);
    const step = Math.min((now - last) / 1000, 0.1);
    last = now;
    if (playing && visible) {
      if (t < 1) { t = Math.min(1, t + step / SECONDS); stale = true; }
      else if ((held += step) > HOLD) { held = 0; t = 0; stale = true; }
    }
    if (stale && visible) draw();
  }

  function share() {
    model.set("t", t);
    model.save_changes();
  }

  function setPlaying(on) {
    playing = on;
    if (on && t >= 1) t = 0;
    ui.play.textContent = on ? "❚❚" : "▶";
    ui.play.setAttribute("aria-label", on ? "pause" : "play");
    if (!on) share();
  }

  function place(panel, event) {
    const box = panel.canvas.getBoundingClientRect(), [low, high] = panel.limits;
    return [
      low + ((event.clientX - box.left) / box.width) * (high - low),
      high - ((event.clientY - box.top) / box.height) * (high - low),
    ];
  }

  // A new particle takes the nearest path at once; the kernel's own solution replaces it, where there is a kernel.
  function drop(x) {
    const paths = panels.map((panel) => panel.paths.path(panel.paths.nearest(x).index));
    const mine = { id: ++ticket, paths, exact: panels.map(() => false) };
    own = [...own.slice(-7), mine];
    ui.clear.hidden = false;
    stale = true;
    const nearest = `the nearest of the ${n.toLocaleString("en")} paths, dashed`;
    ui.note.textContent = solves ? "Asking the kernel for its path …" : `Shown: ${nearest}.`;
    if (!solves) return;
    try { model.send({ kind: "drop", id: mine.id, t, x }); } catch { /* a page without a kernel */ }
    setTimeout(() => {
      if (own.includes(mine) && !mine.exact.includes(true)) ui.note.textContent = `No kernel here. Shown: ${nearest}.`;
    }, 1500);
  }

  function answered(message) {
    const mine = own.find(({ id }) => id === message.id);
    if (message.kind !== "path" || !mine) return;
    message.paths.forEach((path, i) => { if (path) { mine.paths[i] = path; mine.exact[i] = true; } });
    const open = mine.exact.includes(false) ? " Dashed: the nearest path, where no field was given." : "";
    ui.note.textContent = message.error || `Solved by the kernel in ${message.milliseconds} ms.${open}`;
    stale = true;
  }

  for (const panel of panels) {
    panel.box.addEventListener("pointermove", (event) => {
      const { index, distance } = panel.paths.nearest(place(panel, event));
      const near = distance < 0.04 * (panel.limits[1] - panel.limits[0]) ? index : -1;
      if (near !== hovered) { hovered = near; stale = true; }
    });
    panel.box.addEventListener("pointerleave", () => { hovered = -1; stale = true; });
    panel.box.addEventListener("click", (event) => drop(place(panel, event)));
  }
  ui.play.addEventListener("click", () => setPlaying(!playing));
  ui.slider.addEventListener("input", () => { if (playing) setPlaying(false); t = +ui.slider.value; stale = true; });
  ui.slider.addEventListener("change", share);
  ui.arrows.addEventListener("change", () => { stale = true; });
  ui.clear.addEventListener("click", () => { own = []; ui.clear.hidden = true; hint(); stale = true; });
  const moved = () => { if (!playing) { t = model.get("t"); stale = true; } };
  model.on("change:t", moved);
  model.on("msg:custom", answered);

  const sizes = new ResizeObserver(resize), themes = new MutationObserver(dress);
  const seen = new IntersectionObserver(([entry]) => { visible = entry.isIntersecting; });
  const system = matchMedia("(prefers-color-scheme: dark)");
  sizes.observe(root);
  seen.observe(root);
  system.addEventListener("change", dress);
  for (const node of [document.documentElement, document.body]) themes.observe(node, { attributes: true });
  hint();
  dress();
  resize();
  frame = requestAnimationFrame(tick);
  return () => {
    cancelAnimationFrame(frame);
    for (const observer of [sizes, themes, seen]) observer.disconnect();
    system.removeEventListener("change", dress);
    model.off("change:t", moved);
    model.off("msg:custom", answered);
  };
}

export { Paths, weights };
export default { render };
