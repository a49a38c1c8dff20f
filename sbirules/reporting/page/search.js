"use strict";
// The tree of a search and its front: a point for each structure, which tells its equation when pointed at or focused.
(() => {
  const source = document.getElementById("search-nodes");
  if (!source) return;
  const { nodes, front, equations } = JSON.parse(source.textContent);
  const SPACE = "http://www.w3.org/2000/svg", told = document.getElementById("told");
  const known = nodes.filter((n) => n.score !== null);
  if (!known.length) return;
  const by = new Map(nodes.map((n) => [n.k, n]));
  const scores = known.map((n) => n.score).sort((a, b) => a - b);
  const top = scores[scores.length - 1], middle = scores[Math.floor(scores.length / 2)];
  // structures far below the others are drawn at the lower edge
  const floor = Math.max(scores[0], top - 5 * Math.max(top - middle, 1e-9));
  const best = known.reduce((a, b) => (b.score > a.score ? b : a));
  const way = new Set();
  for (let at = best; at; at = by.get(at.parent)) way.add(at.k);
  const shown = new Map();

  function make(parent, name, attributes, text) {
    const out = document.createElementNS(SPACE, name);
    for (const [key, value] of Object.entries(attributes)) out.setAttribute(key, value);
    if (text !== undefined) out.textContent = text;
    parent.append(out);
    return out;
  }

  function tell(n) {
    for (const dots of shown.values()) for (const dot of dots) dot.classList.remove("here");
    for (const dot of shown.get(n.k) || []) dot.classList.add("here");
    told.replaceChildren();
    const head = document.createElement("p");
    if (equations[n.k]) head.innerHTML = equations[n.k];
    else head.textContent = n.text;
    const facts = [`structure ${n.k}: ${n.text}`, `held-out score ${n.score === null ? "none" : n.score}`, `complexity ${n.size}`];
    if (n.p !== null) facts.push(`probability ${n.p < 0.001 ? "below 0.001" : n.p}`);
    const line = document.createElement("p");
    line.textContent = facts.join(" · ");
    told.append(head, line);
    if (n.values.length) {
      const fitted = document.createElement("p");
      fitted.className = "note";
      fitted.textContent = "fitted: " + n.values.map(([name, value]) => `${name} = ${value}`).join(", ");
      told.append(fitted);
    }
  }

  // a few round numbers within a range
  function ticks(low, high) {
    const rough = (high - low || 1) / 4, size = 10 ** Math.floor(Math.log10(rough));
    const step = size * [1, 2, 5, 10].find((f) => f * size >= rough), out = [];
    for (let k = Math.ceil(low / step); k * step <= high && out.length < 12; k++) out.push(Number((k * step).toPrecision(10)));
    return out;
  }

  function chart(id, height, across, label, extent, draw) {
    const svg = document.getElementById(id), left = 74, right = 12, up = 14, down = 44;
    const width = svg.clientWidth && svg.clientWidth < 600 ? 440 : 960; // text stays readable on a phone
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const [low, high] = extent, span = high - low || 1;
    const x = (v) => left + ((v - low) / span) * (width - left - right);
    const y = (v) => up + (1 - (Math.max(v, floor) - floor) / (top - floor || 1)) * (height - up - down);
    make(svg, "line", { class: "axis", x1: left, x2: width - right, y1: height - down + 6, y2: height - down + 6 });
    make(svg, "line", { class: "axis", x1: left - 8, x2: left - 8, y1: up, y2: height - down });
    for (const v of ticks(floor, top)) make(svg, "text", { x: left - 13, y: y(v) + 4, "text-anchor": "end" }, v);
    for (const v of ticks(low, high)) make(svg, "text", { x: x(v), y: height - down + 22, "text-anchor": "middle" }, v);
    make(svg, "text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, label);
    draw(svg, x, y);
    const dots = known.map((n, place) => {
      const mark = n === best ? " best" : front.includes(n.k) && id === "front-chart" ? " marked" : "";
      const dot = make(svg, "circle", {
        class: "dot" + mark, cx: x(across(n)), cy: y(n.score), r: mark ? 5 : 3.4, tabindex: place ? -1 : 0, role: "img",
        "aria-label": `${n.text}, score ${n.score}, complexity ${n.size}`,
      });
      shown.set(n.k, [...(shown.get(n.k) || []), dot]);
      dot.addEventListener("pointerenter", () => tell(n));
      dot.addEventListener("click", () => tell(n));
      dot.addEventListener("focus", () => tell(n));
      return dot;
    });
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], at = dots.indexOf(document.activeElement);
      if (!step || at < 0) return;
      event.preventDefault();
      const next = dots[(at + step + dots.length) % dots.length];
      dots[at].setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    });
  }

  const last = Math.max(...known.map((n) => n.k));
  chart("tree-chart", 400, (n) => n.k, "order found (held-out score upwards)", [0, last], (svg, x, y) => {
    for (const n of known) {
      const from = by.get(n.parent);
      if (!from || from.score === null) continue;
      const kind = way.has(n.k) ? "way" : "edge";
      const line = make(svg, "line", { class: kind, x1: x(from.k), y1: y(from.score), x2: x(n.k), y2: y(n.score) });
      if (kind === "edge") svg.prepend(line);
    }
  });
  const sizes = known.map((n) => n.size);
  chart("front-chart", 340, (n) => n.size, "complexity (held-out score upwards)", [Math.min(...sizes), Math.max(...sizes)], (svg, x, y) => {
    const on = front.map((k) => by.get(k)).filter((n) => n && n.score !== null);
    let path = "";
    on.forEach((n, k) => { path += k ? `H${x(n.size)}V${y(n.score)}` : `M${x(n.size)} ${y(n.score)}`; });
    if (path) make(svg, "path", { class: "front", d: path });
  });
  tell(best);
})();
