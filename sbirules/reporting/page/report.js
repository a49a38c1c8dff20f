"use strict";
// Draws of the posterior, explored: two coefficients against each other, a region highlighted in all of them.
(() => {
  const data = JSON.parse(document.getElementById("draws").textContent);
  const names = data.names, draws = data.draws, n = draws.length;
  const $ = (id) => document.getElementById(id);
  const make = (parent, kind, attributes, text) => {
    const element = document.createElementNS(parent.namespaceURI, kind);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  };
  const short = (v) => Number(v.toPrecision(3)).toString();
  const column = (k) => draws.map((row) => row[k]);
  const scatter = $("scatter"), strips = $("strips");
  const across = $("across"), up = $("up"), shade = $("shade");
  const inputs = ["a-low", "a-high", "u-low", "u-high"].map($);
  names.forEach((name, k) => { for (const list of [across, up]) list.add(new Option(name, k)); });
  shade.add(new Option("nothing", -1));
  if (data.success) shade.add(new Option("predicted success", names.length));
  names.forEach((name, k) => shade.add(new Option(name, k)));
  across.value = data.start[0];
  up.value = data.start[1];
  if (data.success) shade.value = names.length;

  const left = 58, right = 448, top = 12, bottom = 352;
  let region = null, pixel = null;  // [a0, a1, u0, u1] in coefficients; functions to pixels
  const range = (k) => {
    const low = Math.min(data.low[k], ...column(k)), high = Math.max(data.high[k], ...column(k));
    const pad = 0.03 * (high - low || 1);
    return [low - pad, high + pad];
  };
  const ticks = (low, high) => {
    const raw = (high - low) / 5, power = Math.pow(10, Math.floor(Math.log10(raw)));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw);
    const out = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) out.push(Number((k * step).toPrecision(6)));
    return out;
  };
  const inside = (row) => {
    if (!region) return true;
    const a = row[across.value], u = row[up.value];  // of draws and of rules that were tried alike
    return a >= region[0] && a <= region[1] && u >= region[2] && u <= region[3];
  };
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const value = (i) => Number(shade.value) === names.length ? data.success[i] : draws[i][shade.value];

  function drawScatter() {
    scatter.replaceChildren();
    const [a0, a1] = range(across.value), [u0, u1] = range(up.value);
    pixel = {
      x: (v) => left + (v - a0) / (a1 - a0) * (right - left), y: (v) => bottom - (v - u0) / (u1 - u0) * (bottom - top),
      a: (x) => a0 + (x - left) / (right - left) * (a1 - a0), u: (y) => u0 + (bottom - y) / (bottom - top) * (u1 - u0),
    };
    for (const t of ticks(a0, a1)) {
      make(scatter, "line", {x1: pixel.x(t), x2: pixel.x(t), y1: top, y2: bottom, stroke: colour("--line")});
      make(scatter, "text", {x: pixel.x(t), y: bottom + 16, "text-anchor": "middle", class: "tick"}, short(t));
    }
    for (const t of ticks(u0, u1)) {
      make(scatter, "line", {x1: left, x2: right, y1: pixel.y(t), y2: pixel.y(t), stroke: colour("--line")});
      make(scatter, "text", {x: left - 6, y: pixel.y(t) + 4, "text-anchor": "end", class: "tick"}, short(t));
    }
    const unit = (k) => names[k] + (data.units[k] ? " (" + data.units[k] + ")" : "");
    make(scatter, "text", {x: (left + right) / 2, y: 392, "text-anchor": "middle"}, unit(across.value));
    make(scatter, "text", {x: 14, y: (top + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(top + bottom) / 2})`}, unit(up.value));
    make(scatter, "rect", {x: pixel.x(data.low[across.value]), y: pixel.y(data.high[up.value]),
      width: pixel.x(data.high[across.value]) - pixel.x(data.low[across.value]),
      height: pixel.y(data.low[up.value]) - pixel.y(data.high[up.value]), fill: "none", stroke: colour("--soft"), "stroke-dasharray": "4 3"});
    const shaded = Number(shade.value) >= 0, all = shaded ? draws.map((_, i) => value(i)) : [0];
    const low = Math.min(...all), span = Math.max(...all) - low || 1;
    draws.forEach((row, i) => {
      const dim = !inside(row), level = shaded ? (value(i) - low) / span : 1;
      make(scatter, "circle", {cx: pixel.x(row[across.value]), cy: pixel.y(row[up.value]), r: 2.6,
        fill: dim ? colour("--soft") : shaded ? `color-mix(in oklab, ${colour("--accent")} ${Math.round(100 * level)}%, ${colour("--contrast")})` : colour("--accent"),
        "fill-opacity": dim ? 0.15 : 0.7, "data-row": i});
    });
    if (region) make(scatter, "rect", {x: pixel.x(region[0]), y: pixel.y(region[3]), width: Math.max(1, pixel.x(region[1]) - pixel.x(region[0])),
      height: Math.max(1, pixel.y(region[2]) - pixel.y(region[3])), fill: "none", stroke: colour("--ink"), "stroke-width": 1.5, id: "region"});
    $("legend").textContent = shaded ? `Colour: ${shade.selectedOptions[0].text}, from ${short(low)} (orange) to ${short(Math.max(...all))} (blue). Dashed: 95 % of the prior.` : "Dashed: 95 % of the prior.";
    const r = correlation(column(across.value), column(up.value));
    scatter.setAttribute("aria-label", `Posterior draws of ${names[across.value]} and ${names[up.value]}; correlation ${r.toFixed(2)}; dashed: 95 % of the prior`);
  }

  function correlation(p, q) {
    const mean = (v) => v.reduce((s, x) => s + x, 0) / v.length, a = mean(p), b = mean(q);
    let pq = 0, pp = 0, qq = 0;
    for (let i = 0; i < p.length; i++) { pq += (p[i] - a) * (q[i] - b); pp += (p[i] - a) ** 2; qq += (q[i] - b) ** 2; }
    return pq / Math.sqrt(pp * qq || 1);
  }

  // The 95 % interval and the median of some values, as a bar with a point; returns the median.
  function drawSpan(parent, values, place, y, thickness, fill, opacity) {
    const sorted = values.filter((v) => v !== null).sort((p, q) => p - q), quantile = (q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
    if (!sorted.length) return null;
    const left = place(quantile(0.025)), right = place(quantile(0.975));
    make(parent, "rect", {x: left, y: y - thickness / 2, width: Math.max(1.5, right - left), height: thickness, fill: fill, "fill-opacity": opacity, rx: 1});
    make(parent, "circle", {cx: place(quantile(0.5)), cy: y, r: 3, fill: fill, "fill-opacity": Math.min(1, opacity + 0.4)});
    return quantile(0.5);
  }

  function drawStrips() {
    strips.replaceChildren();
    const row = 20, width = 360, height = row * names.length + 8;
    strips.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const chosen = draws.filter(inside);
    names.forEach((name, k) => {
      const [low, high] = range(k), y = row * k + 14;
      const place = (v) => 84 + (v - low) / (high - low) * 270;
      make(strips, "text", {x: 0, y: y + 4}, name);
      make(strips, "line", {x1: 84, x2: 354, y1: y, y2: y, stroke: colour("--line")});
      if (low < 0 && high > 0) make(strips, "line", {x1: place(0), x2: place(0), y1: y - 8, y2: y + 8, stroke: colour("--soft")});
      drawSpan(strips, column(k), place, y, 9, colour("--soft"), 0.3);
      drawSpan(strips, chosen.map((row) => row[k]), place, y, 5, colour("--accent"), 0.85);
    });
    let text = region ? `${chosen.length} of ${n} rules (${Math.round(100 * chosen.length / n)} %) are highlighted.` : `All ${n} rules shown; 95 % intervals and medians below.`;
    if (data.success && chosen.length) {
      const index = draws.map((r, i) => i).filter((i) => inside(draws[i]));
      text += ` Predicted success: ${(index.reduce((s, i) => s + data.success[i], 0) / index.length).toFixed(2)} on average.`;
    }
    $("selected").textContent = text;
  }

  // What rules that were tried did: those of the region in colour, all in grey, what was observed as a mark.
  function drawOutcomes() {
    const tried = data.tried, outcomes = $("outcomes");
    if (!tried) return;
    outcomes.replaceChildren();
    const chosen = tried.theta.map((row, k) => k).filter((k) => inside(tried.theta[k]));
    const slim = matchMedia("(max-width: 46rem)").matches, each = 18, width = slim ? 360 : 640, middle = slim ? 130 : 230, most = slim ? 18 : 34;
    let y = 16;
    for (const group of tried.groups) {
      if (tried.groups.length > 1 || group.labels.length > 1) { make(outcomes, "text", {x: 0, y: y, class: "name"}, group.name); y += each + 2; }
      const every = group.values.flat().concat(group.observed || []).filter((v) => v !== null);
      const low = Math.min(...every), high = Math.max(...every), place = (v) => middle + (v - low) / (high - low || 1) * (width - middle - 55);
      group.labels.forEach((label, j) => {
        make(outcomes, "text", {x: 0, y: y}, label.length > most ? label.slice(0, most - 1) + "…" : label);
        drawSpan(outcomes, group.values.map((row) => row[j]), place, y - 4, 9, colour("--soft"), 0.3);
        const median = drawSpan(outcomes, chosen.map((k) => group.values[k][j]), place, y - 4, 5, colour("--accent"), 0.85);
        const seen = group.observed ? group.observed[j] : null;
        if (seen !== null) make(outcomes, "rect", {x: place(seen) - 1.5, y: y - 11, width: 3, height: 14, fill: colour("--contrast")});
        if (median !== null) make(outcomes, "text", {x: width, y: y, "text-anchor": "end", class: "tick"}, short(median));
        y += each;
      });
      y += 6;
    }
    outcomes.setAttribute("viewBox", `0 0 ${width} ${y}`);
    const seen = tried.groups.some((group) => group.observed);
    $("tried").textContent = `${chosen.length} of ${tried.theta.length} rules that were tried lie in the region: their median (number, point) and 95 % interval in blue, those of all in grey` + (seen ? ", what was observed in orange." : ".");
    outcomes.setAttribute("aria-label", `Predictions of ${chosen.length} rules: ` + tried.groups.map((group) => group.name).join(", "));
  }

  function show() {
    $("across-name").textContent = names[across.value];
    $("up-name").textContent = names[up.value];
    drawScatter();
    drawStrips();
    drawOutcomes();
  }
  function fill() { inputs.forEach((input, k) => { input.value = region ? short(region[k]) : ""; }); }
  function read() {
    const raw = inputs.map((input) => input.value.trim());
    if (raw.every((v) => v === "")) region = null;
    else {
      const ends = [...range(across.value), ...range(up.value)];
      region = raw.map((v, k) => (v === "" || Number.isNaN(Number(v)) ? ends[k] : Number(v)));
    }
    show();
  }
  for (const list of [across, up]) list.addEventListener("change", () => { region = null; fill(); show(); });
  shade.addEventListener("change", show);
  inputs.forEach((input) => input.addEventListener("change", read));
  $("reset").addEventListener("click", () => { region = null; fill(); show(); });

  const at = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(scatter.getScreenCTM().inverse());
    return [Math.min(right, Math.max(left, point.x)), Math.min(bottom, Math.max(top, point.y))];
  };
  let start = null;
  scatter.addEventListener("pointerdown", (event) => { if (event.pointerType !== "touch") { start = at(event); scatter.setPointerCapture(event.pointerId); } });
  scatter.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (start && Math.hypot(x - start[0], y - start[1]) > 4) {
      region = [pixel.a(Math.min(x, start[0])), pixel.a(Math.max(x, start[0])), pixel.u(Math.max(y, start[1])), pixel.u(Math.min(y, start[1]))];
      drawScatter();
      return;
    }
    let nearest = -1, best = 100;
    draws.forEach((row, i) => {
      const d = (pixel.x(row[across.value]) - x) ** 2 + (pixel.y(row[up.value]) - y) ** 2;
      if (d < best) { best = d; nearest = i; }
    });
    if (nearest >= 0) {
      const row = draws[nearest];
      $("hover").textContent = names.map((name, k) => `${name} ${short(row[k])}`).join(", ") + (data.success ? `; predicted success ${data.success[nearest].toFixed(2)}` : "");
    }
  });
  scatter.addEventListener("pointerup", () => { start = null; fill(); show(); });
  for (const asked of ["(prefers-color-scheme: dark)", "(max-width: 46rem)"]) matchMedia(asked).addEventListener("change", show);
  show();
})();
