// The four pictures of a study: differences, score against cost, training curves, difficulty.

function drawForest(place, panels) {
  for (const panel of panels) {
    const box = html("div");
    place.append(box);
    const better = panel.higher_is_better ? "better →" : "← better";
    new Plot(box, `Differences in ${panel.column}`, (width) => {
      const wide = width > 640, labelWidth = wide ? Math.min(width * 0.42, 440) : width;
      const values = panel.rows.flatMap((row) => [row.low, row.high]);
      const xs = span([0, ...values]), left = wide ? labelWidth + 10 : 8, right = width - 16;
      const x = (value) => left + ((value - xs[0]) / (xs[1] - xs[0])) * (right - left);
      const nodes = [], marks = [];
      let y = 26;
      for (const row of panel.rows) {
        const lines = wrapped(`${row.arm} − ${row.other}, ${row.suite}`, labelWidth - 10);
        const number = (value) => signed(value, row.digits);
        const ink = `var(--${row.outcome})`, place = wide ? y + 9 * lines.length : y + 18 * lines.length + 8;
        lines.forEach((line, i) => nodes.push(svg("text", {
          x: wide ? labelWidth : 0, y: y + 14 + 18 * i, "text-anchor": wide ? "end" : "start",
        }, line)));
        nodes.push(
          svg("line", { x1: x(row.low), x2: x(row.high), y1: place, y2: place, stroke: ink, "stroke-width": 2.5 }),
          ...[row.low, row.high].map((end) => svg("line", { x1: x(end), x2: x(end), y1: place - 5, y2: place + 5, stroke: ink, "stroke-width": 2 })),
          svg("circle", { cx: x(row.mean), cy: place, r: 5.5, fill: ink }),
        );
        marks.push([{ x: x(row.mean), y: place, text: `${row.arm} − ${row.other}, ${row.suite}\n${number(row.mean)} ${panel.column} (${number(row.low)} … ${number(row.high)}), ${row.outcome}\n${fixed(100 * row.passes, 0)} % of the passes, ${fixed(100 * row.seconds, 0)} % of the seconds` }]);
        y += 18 * lines.length + (wide ? 8 : 26);
      }
      const grid = ticks(...xs, (right - left) / 80).flatMap((tick) => [
        svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 20, y2: y }),
        svg("text", { x: x(tick), y: y + 16, "text-anchor": "middle" }, shown(tick)),
      ]);
      const zero = svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 20, y2: y });
      const name = svg("text", { class: "name", x: right, y: 14, "text-anchor": "end" }, `difference in ${panel.column}, ${better}`);
      return { height: y + 26, nodes: [...grid, zero, name, ...nodes], series: marks };
    });
  }
}

function drawCost(place, planes, costs) {
  let plane = planes[0], cost = costs[0];
  const arms = [...new Set(planes.flatMap((each) => each.points.filter((point) => point.is_arm).map((point) => point.arm)))];
  const hidden = new Set(), plots = [];
  const change = (set) => (index) => { set(index); plots.forEach((plot) => plot.redraw()); };
  const options = html("div", { class: "options" });
  if (planes.length > 1) options.append(choice("Suite", planes.map((each) => each.suite), change((i) => { plane = planes[i]; })));
  options.append(choice("Cost", costs.map((each) => each.title), change((i) => { cost = costs[i]; })));
  place.append(options, legend(arms, hidden, plots));
  plots.push(new Plot(place, "Score against cost", (width) => {
    const seen = plane.points.filter((point) => point.is_arm && !hidden.has(arms.indexOf(point.arm)));
    const peers = plane.points.filter((point) => !point.is_arm);
    const dearest = Math.max(...plane.points.filter((point) => point.is_arm).map((point) => point.cost[cost.name])) || 1;
    const ys = span([...seen, ...peers].flatMap((point) => [point.low, point.high]));
    const area = frame(width, 400, [0, 1.08 * dearest], ys, cost.title, `${plane.column}, ${plane.suite}`);
    const { x, y } = area, nodes = [...area.nodes];
    for (const peer of peers) {
      nodes.push(
        svg("line", { class: "peer", x1: area.left, x2: area.right, y1: y(peer.mean), y2: y(peer.mean) }),
        svg("text", { class: "name", x: area.left + 6, y: y(peer.mean) - 5 }, `${peer.arm} ${fixed(peer.mean)}`),
      );
    }
    const front = plane.fronts[cost.name].map((index) => plane.points[index]);
    if (front.length) {
      const steps = front.map((point, i) => i ? `H${x(point.cost[cost.name])}V${y(point.mean)}` : `M${x(point.cost[cost.name])},${y(point.mean)}`);
      nodes.push(svg("path", { class: "front", d: `${steps.join("")}H${area.right}` }));
    }
    const series = seen.map((point) => {
      const index = arms.indexOf(point.arm), px = x(point.cost[cost.name]), py = y(point.mean);
      nodes.push(svg("line", { x1: px, x2: px, y1: y(point.low), y2: y(point.high), stroke: colour(index), "stroke-width": 2 }), shape(index, px, py, 6));
      const first = front.includes(point) ? "\non the Pareto front" : "";
      return [{ x: px, y: py, text: `${point.arm}\n${fixed(point.mean)} ${plane.column} (${fixed(point.low)} … ${fixed(point.high)})\n${cost.title}: ${shown(point.cost[cost.name])}${first}` }];
    });
    return { height: 400, nodes, series: series.sort((a, b) => a[0].x - b[0].x) };
  }));
}

function drawTraining(place, training) {
  const hidden = new Set(), plots = [], pair = html("div", { class: "pair" });
  place.append(legend(training.runs.map((run) => run.arm), hidden, plots), pair);
  const panels = [["loss", "training loss, nats/token"], ["dev", `dev ${training.column}`]];
  for (const [name, title] of panels) {
    if (!training.runs.some((run) => run[name].length)) continue;
    const box = html("div");
    pair.append(box);
    plots.push(new Plot(box, title, (width) => {
      const seen = training.runs.map((run, index) => ({ run, index })).filter(({ run, index }) => !hidden.has(index) && run[name].length);
      const all = seen.flatMap(({ run }) => run[name]);
      if (!all.length) return { height: 60, nodes: [svg("text", { x: 0, y: 20 }, "every arm is hidden")], series: [] };
      const area = frame(width, 320, [0, Math.max(...all.map((pair) => pair[0]))], span(all.map((pair) => pair[1])), "optimiser step", title);
      const { x, y } = area, nodes = [...area.nodes];
      const series = seen.map(({ run, index }) => {
        const marks = run[name].map(([step, value]) => ({
          x: x(step), y: y(value), text: `${run.arm}\nstep ${shown(step)}, phase ${1 + run.borders.filter((border) => border < step).length}: ${shown(value)}`,
        }));
        for (const border of run.borders) nodes.push(svg("line", { class: "border", x1: x(border), x2: x(border), y1: area.top, y2: area.bottom, stroke: colour(index) }));
        nodes.push(svg("path", { class: "curve", d: `M${marks.map((mark) => `${mark.x.toFixed(1)},${mark.y.toFixed(1)}`).join("L")}`, stroke: colour(index) }));
        if (name === "dev") nodes.push(...marks.map((mark) => shape(index, mark.x, mark.y, 4)));
        return marks;
      });
      return { height: 320, nodes, series };
    }));
  }
}

// Colours of the phases, easy to hard, and grey for what was dropped.
const phaseColour = (phase, phases) => phase ? `hsl(${Math.round(200 + (150 * (phase - 1)) / Math.max(1, phases - 1))} 65% var(--wheel))` : "var(--level)";

function drawDifficulty(place, samples, go) {
  const axes = ["rank", ...samples.columns], column = (index) => PHASE + 1 + index;
  const named = (title, other) => Math.max(axes.indexOf(title), 0) || Math.min(other, axes.length - 1);
  let across = named("NLL", 1), up = across === 1 ? Math.min(2, axes.length - 1) : 1;
  if (up === across) across = 0;
  const groups = [...Array(samples.phases).keys()].map((index) => index + 1).concat([null]);
  const members = groups.map((phase) => samples.rows.filter((row) => row[PHASE] === phase));
  const names = groups.map((phase, i) => `${phase ? `enters in phase ${phase}` : "dropped"} (${members[i].length.toLocaleString("en")})`);
  const hidden = new Set(), plots = [], redraw = () => plots.forEach((plot) => plot.redraw());
  place.append(
    html("div", { class: "options" },
      choice("Across", axes, (index) => { across = index; redraw(); }, across),
      choice("Up", axes, (index) => { up = index; redraw(); }, up)),
    legend(names, hidden, plots, (index, x, y) => svg("circle", { cx: x, cy: y, r: 5, fill: phaseColour(groups[index], samples.phases) })),
  );
  plots.push(new Plot(place, "Difficulty of the training samples by phase", (width) => {
    const known = samples.rows.filter((row) => row[column(across)] != null && row[column(up)] != null);
    const extent = (index) => known.reduce(([low, high], row) => [Math.min(low, row[column(index)]), Math.max(high, row[column(index)])], [Infinity, -Infinity]);
    if (!known.length) return { height: 60, nodes: [svg("text", { x: 0, y: 20 }, "no sample has both")], series: [] };
    const area = frame(width, 420, span(extent(across)), span(extent(up)), axes[across], axes[up]), nodes = [...area.nodes], series = [];
    groups.forEach((phase, index) => {
      if (hidden.has(index)) return;
      const marks = members[index].filter((row) => row[column(across)] != null && row[column(up)] != null).map((row) => ({
        x: area.x(row[column(across)]), y: area.y(row[column(up)]), go: () => go(row[0]),
        text: `${axes[across]} ${shown(row[column(across)])}, ${axes[up]} ${shown(row[column(up)])}, ${phase ? `phase ${phase}` : "dropped"}\n${row[1].slice(0, 120)}\n(Enter, click or a second tap shows the sample)`,
      })).sort((a, b) => a.x - b.x);
      // One path for all dots of a phase: thousands of elements would be slow.
      const d = marks.map((mark) => `M${mark.x.toFixed(1)},${mark.y.toFixed(1)}h.01`).join("");
      nodes.push(svg("path", { class: "dots", d, stroke: phaseColour(phase, samples.phases) }));
      series.push(marks);
    });
    return { height: 420, nodes, series };
  }));
}
