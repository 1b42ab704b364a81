// Plots as SVG, drawn to the width of their place. A plot has series of marks; a mark has a place and a text, which the
// pointer finds by nearness and the keyboard by arrows: left and right along a series, up and down between them.

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

const shown = (value) => Math.abs(value) >= 1e6 ? value.toExponential(2) : value.toLocaleString("en", { maximumSignificantDigits: 4 });
const fixed = (value, digits = 2) => value.toFixed(digits);
const signed = (value, digits = 2) => (value > 0 ? "+" : "") + value.toFixed(digits);

const brush = document.createElement("canvas").getContext("2d");
function widthOf(text) {
  brush.font = "13px system-ui, sans-serif";
  return brush.measureText(text).width;
}

function wrapped(text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (widthOf(longer) <= width || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

// Colour and shape of the arm with a number: seven that colour-blind readers tell apart, then a wheel.
const colour = (index) => index < 7 ? `var(--s${index})` : `hsl(${(index * 137.5) % 360} 60% var(--wheel))`;
function shape(index, x, y, size = 5) {
  const style = { fill: colour(index) };
  const path = (d) => svg("path", { d, ...style });
  switch (index % 5) {
    case 0: return svg("circle", { cx: x, cy: y, r: size, ...style });
    case 1: return svg("rect", { x: x - size, y: y - size, width: 2 * size, height: 2 * size, ...style });
    case 2: return path(`M${x},${y - size - 1}l${size + 1},${2 * size}h${-2 * size - 2}z`);
    case 3: return path(`M${x},${y - size - 2}l${size + 2},${size + 2}l${-size - 2},${size + 2}l${-size - 2},${-size - 2}z`);
    default: return path(`M${x},${y + size + 1}l${size + 1},${-2 * size}h${-2 * size - 2}z`);
  }
}

function ticks(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough * (1 - 1e-9));
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

function span(values, share = 0.05) {
  const low = Math.min(...values), high = Math.max(...values);
  const margin = (high - low || Math.abs(high) || 1) * share;
  return [low - margin, high + margin];
}

// A frame with its two axes: `x` and `y` take values to pixels, `nodes` are the grid and its numbers.
function frame(width, height, xs, ys, xName, yName) {
  const yTicks = ticks(...ys, 5), left = 10 + Math.max(...yTicks.map((tick) => widthOf(shown(tick))));
  const right = width - 14, top = 26, bottom = height - 44;
  const x = (value) => left + ((value - xs[0]) / (xs[1] - xs[0])) * (right - left);
  const y = (value) => bottom - ((value - ys[0]) / (ys[1] - ys[0])) * (bottom - top);
  const nodes = [
    ...yTicks.flatMap((tick) => [
      svg("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }),
      svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, shown(tick)),
    ]),
    ...ticks(...xs, Math.max(2, width / 110)).flatMap((tick) => [
      svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: top, y2: bottom }),
      svg("text", { x: x(tick), y: bottom + 18, "text-anchor": "middle" }, shown(tick)),
    ]),
    svg("text", { class: "name", x: 0, y: 14 }, yName),
    svg("text", { class: "name", x: right, y: height - 6, "text-anchor": "end" }, xName),
  ];
  return { x, y, nodes, left, right, top, bottom };
}

class Plot {
  // `draw(width)` gives the height, the nodes and the series of marks.
  constructor(place, label, draw) {
    this.draw = draw;
    const hint = "Left and right arrows go from value to value, up and down from arm to arm.";
    // An application: screen readers hand it the arrow keys.
    this.svg = svg("svg", { tabindex: 0, role: "application", "aria-roledescription": "plot", "aria-label": `${label}. ${hint}` });
    this.tip = html("div", { class: "tip", role: "status" });
    this.box = html("div", { class: "plot" }, this.svg, this.tip);
    place.append(this.box);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    // A finger's first tap shows a mark, its second goes where the mark leads; a mouse has shown it before it clicks.
    this.svg.addEventListener("pointerdown", (event) => { this.before = this.chosen; this.point(event); });
    this.svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") this.choose(null); });
    this.svg.addEventListener("blur", () => this.choose(null));
    this.svg.addEventListener("click", () => { if (this.chosen && this.chosen === this.before) this.chosen.go?.(); });
    this.svg.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.redraw(false)).observe(this.box);
  }

  redraw(anew = true) {
    const width = this.box.clientWidth;
    if (!width || (!anew && width === this.width)) return;
    this.width = width;
    const { height, nodes, series } = this.draw(width);
    this.series = series.filter((marks) => marks.length);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    this.ring = svg("circle", { class: "ring", r: 8, visibility: "hidden" });
    this.svg.replaceChildren(...nodes, this.ring);
    this.choose(null);
  }

  choose(mark, at = [0, 0]) {
    this.chosen = mark;
    this.at = mark ? at : this.at;
    this.ring?.setAttribute("visibility", mark ? "visible" : "hidden");
    this.tip.textContent = mark ? mark.text : "";
    if (!mark) return;
    this.ring.setAttribute("cx", mark.x);
    this.ring.setAttribute("cy", mark.y);
    const wide = this.tip.offsetWidth, high = this.tip.offsetHeight;
    this.tip.style.left = `${Math.max(0, Math.min(mark.x - wide / 2, this.width - wide))}px`;
    this.tip.style.top = `${mark.y > high + 14 ? mark.y - high - 12 : mark.y + 14}px`;
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    let best = 40 ** 2, at = null;
    this.series.forEach((marks, i) => marks.forEach((mark, j) => {
      const distance = (mark.x - x) ** 2 + (mark.y - y) ** 2;
      if (distance < best) [best, at] = [distance, [i, j]];
    }));
    this.choose(at && this.series[at[0]][at[1]], at ?? undefined);
  }

  key(event) {
    if (event.key === "Escape") return this.choose(null);
    if (event.key === "Enter") return this.chosen?.go?.();
    const series = this.series;
    if (!series.length) return;
    let [i, j] = this.at ?? [0, -1];
    i = Math.min(i, series.length - 1);
    const leap = Math.max(1, Math.round(series[i].length / 10));
    const along = { ArrowRight: 1, ArrowLeft: -1, PageDown: leap, PageUp: -leap, Home: -Infinity, End: Infinity }[event.key];
    const across = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (along === undefined && across === undefined) return;
    event.preventDefault();
    if (across) {
      // The mark of the next series that is nearest across the page.
      const from = series[i][Math.max(0, Math.min(j, series[i].length - 1))];
      i = (i + across + series.length) % series.length;
      j = series[i].reduce((best, mark, k) => Math.abs(mark.x - from.x) < Math.abs(series[i][best].x - from.x) ? k : best, 0);
    } else j = Math.max(0, Math.min(series[i].length - 1, j + along));
    this.choose(series[i][j], [i, j]);
  }
}

// Buttons that hide and show arms in some plots; `hidden` has the numbers of those that are hidden.
function legend(names, hidden, plots, mark = shape) {
  const buttons = names.map((name, index) => html("button", {
    type: "button", "aria-pressed": "true", onclick: (event) => {
      hidden.has(index) ? hidden.delete(index) : hidden.add(index);
      event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(index)));
      plots.forEach((plot) => plot.redraw());
    },
  }, svg("svg", { viewBox: "0 0 18 18", "aria-hidden": "true" }, mark(index, 9, 9)), name));
  return html("div", { class: "legend", role: "group", "aria-label": "Show or hide" }, ...buttons);
}

function choice(label, options, change, chosen = 0) {
  const list = options.map((text, index) => html("option", { value: index, selected: index === chosen }, text));
  const select = html("select", { onchange: (event) => change(Number(event.target.value)) }, ...list);
  return html("label", {}, label, select);
}
