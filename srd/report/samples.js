// The samples: one page of them in the document at a time, found by words, kept by a filter, sorted by a column.

const PAGE = 25;
const ID = 0, PROMPT = 1, REFERENCE = 2, ANSWER = 3, PHASE = 4;

// The text with what was searched for marked; never read as HTML.
function marked(text, words) {
  const parts = [], low = text.toLowerCase();
  let at = 0;
  // Lower case may be longer than the text: then places do not agree, and nothing is marked.
  while (words && low.length === text.length) {
    const found = low.indexOf(words, at);
    if (found < 0) break;
    parts.push(text.slice(at, found), html("mark", {}, text.slice(found, found + words.length)));
    at = found + words.length;
  }
  return [...parts, text.slice(at)];
}

class Explorer {
  // `columns`: { title, kind: "text" | "number", value(row) to sort by, cell(row) text, note(row) a small line }.
  // `rows()` are those that the filters leave, in their own order; `details(row)` pairs of title and text.
  constructor(place, { what, columns, rows, filters, details, searched, sort }) {
    Object.assign(this, { what, columns, rows, details, searched, sort, page: 0, words: "" });
    this.haystacks = new Map();
    this.search = html("input", { type: "search", oninput: (event) => this.find(event.target.value) });
    this.status = html("p", { role: "status", "aria-live": "polite" });
    this.head = html("thead");
    this.body = html("tbody");
    this.sorting = html("div", { class: "narrow" });
    this.table = html("table", { class: "samples", role: "table", "aria-label": what }, this.head, this.body);
    this.turn = ["« first", "‹ previous", "next ›", "last »"].map((text, index) => html("button", { type: "button", onclick: () => this.go([0, this.page - 1, this.page + 1, Infinity][index]) }, text));
    this.number = html("input", { type: "number", min: 1, value: 1, onchange: (event) => this.go(Number(event.target.value) - 1) });
    this.last = html("span");
    place.append(
      html("div", { class: "options" }, html("label", {}, "Search", this.search), ...filters, this.sorting),
      this.status,
      html("div", { class: "scroll" }, this.table),
      html("div", { class: "pages", role: "group", "aria-label": `Pages of ${what}` }, this.turn[0], this.turn[1], html("label", {}, "page ", this.number), this.last, this.turn[2], this.turn[3]),
    );
    this.update();
  }

  find(words) {
    this.words = words.trim().toLowerCase();
    if (this.search.value.trim().toLowerCase() !== this.words) this.search.value = words;
    this.update();
  }

  haystack(row) {
    if (!this.haystacks.has(row)) this.haystacks.set(row, this.searched(row).join("\n").toLowerCase());
    return this.haystacks.get(row);
  }

  // What the filters, the search and the sort leave; then the first page of it.
  update() {
    const columns = this.columns();
    let found = this.rows();
    if (this.words) found = found.filter((row) => this.haystack(row).includes(this.words));
    const { title, falling } = this.sort() ?? {};
    const by = columns.find((column) => column.title === title);
    if (by) {
      const sign = falling ? -1 : 1;
      // A row without a value comes last, whichever way.
      const compare = (a, b) => a == null || b == null ? (a == null) - (b == null) : sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
      found = found.map((row) => [by.value(row), row]).sort((a, b) => compare(a[0], b[0])).map((pair) => pair[1]);
    }
    this.found = found;
    this.drawHead(columns);
    this.go(0);
  }

  sortBy(title, falling) {
    this.sort = () => ({ title, falling });
    this.update();
  }

  drawHead(columns) {
    const texts = columns.filter((column) => column.kind === "text").length;
    this.table.style.minWidth = `${5 + 9 * texts + 5.5 * (columns.length - texts)}rem`;
    const { title, falling } = this.sort() ?? {};
    const focused = this.head.contains(document.activeElement) ? document.activeElement.textContent : null;
    const cells = columns.map((column) => {
      const sorted = column.title === title, arrow = sorted ? (falling ? " ▼" : " ▲") : "";
      const turn = sorted ? !falling : column.kind === "number" && column.falls;
      const button = html("button", { type: "button", title: "Sort", onclick: () => this.sortBy(column.title, turn) }, column.title, html("span", { "aria-hidden": "true" }, arrow));
      return html("th", { scope: "col", role: "columnheader", class: column.kind, "aria-sort": sorted ? (falling ? "descending" : "ascending") : "none" }, button);
    });
    this.head.replaceChildren(html("tr", { role: "row" }, html("td", { class: "open" }), ...cells));
    const again = [...this.head.querySelectorAll("button")].find((each) => focused && each.textContent.replace(/ [▲▼]$/, "") === focused.replace(/ [▲▼]$/, ""));
    again?.focus();
    if (this.sorting.contains(document.activeElement)) return;
    const ways = columns.flatMap((column) => [[column.title, false], [column.title, true]]);
    const chosen = ways.findIndex(([name, way]) => name === title && way === Boolean(falling));
    const select = choice("Sort by", ["the order of the list", ...ways.map(([name, way]) => `${name} ${way ? "▼" : "▲"}`)],
      (index) => index ? this.sortBy(...ways[index - 1]) : this.sortBy(null, false), chosen + 1);
    this.sorting.replaceChildren(select);
  }

  go(page) {
    const pages = Math.max(1, Math.ceil(this.found.length / PAGE));
    this.page = Math.max(0, Math.min(pages - 1, Number.isNaN(page) ? 0 : page));
    const from = this.page * PAGE, rows = this.found.slice(from, from + PAGE), columns = this.columns();
    this.body.replaceChildren(...rows.map((row) => this.line(row, columns)));
    const range = rows.length ? `, ${(from + 1).toLocaleString("en")} to ${(from + rows.length).toLocaleString("en")} shown` : "";
    const what = this.found.length === 1 ? this.what.replace(/s$/, "") : this.what;
    this.status.textContent = `${this.found.length.toLocaleString("en")} ${what}${range}`;
    this.number.value = this.page + 1;
    this.number.max = pages;
    this.last.textContent = `of ${pages.toLocaleString("en")}`;
    this.turn.forEach((button, index) => { button.disabled = index < 2 ? this.page === 0 : this.page === pages - 1; });
  }

  line(row, columns) {
    const open = html("button", { type: "button", "aria-expanded": "false", "aria-label": "Whole texts and more of this sample", onclick: () => this.unfold(line, open, row, columns.length) }, "more");
    const cells = columns.map((column) => {
      const text = column.cell(row) ?? "", note = column.note?.(row);
      if (column.kind === "number") return html("td", { role: "cell", class: `number ${column.mark?.(row) ?? ""}`, "data-title": column.title }, text);
      return html("td", { role: "cell", "data-title": column.title },
        html("div", { class: "text" }, ...marked(text, this.words)), note ? html("div", { class: "score" }, note) : null);
    });
    const line = html("tr", { role: "row" }, html("td", { class: "open", role: "cell" }, open), ...cells);
    return line;
  }

  unfold(line, button, row, width) {
    const folded = button.getAttribute("aria-expanded") === "false";
    button.setAttribute("aria-expanded", String(folded));
    button.textContent = folded ? "less" : "more";
    line.classList.toggle("whole", folded);
    if (!folded) return line.nextSibling.remove();
    const pairs = this.details(row).flatMap(([title, text]) => [html("dt", {}, title), html("dd", {}, ...marked(text, this.words))]);
    line.after(html("tr", { class: "more", role: "row" }, html("td", { colspan: width + 1, role: "cell" }, html("dl", {}, ...pairs))));
  }
}

function exploreTraining(place, samples) {
  let phase = 0;
  const names = ["all", ...Array.from({ length: samples.phases }, (_, index) => `phase ${index + 1}`), "dropped"];
  const number = (title, index, digits) => ({ title, kind: "number", value: (row) => row[index], cell: (row) => row[index] == null ? "" : digits == null ? String(row[index]) : fixed(row[index], digits) });
  const text = (title, index) => ({ title, kind: "text", value: (row) => row[index], cell: (row) => row[index] });
  const enters = { title: "phase", kind: "number", value: (row) => row[PHASE], cell: (row) => row[PHASE] == null ? "dropped" : String(row[PHASE]) };
  const values = samples.columns.map((title, index) => number(title, PHASE + 2 + index, title.endsWith("rank") ? 1 : 2));
  // A window of plain text has no prompt.
  const prompted = samples.rows.some((row) => row[PROMPT]);
  const columns = [number("rank", PHASE + 1), enters, ...values, ...(prompted ? [text("prompt", PROMPT)] : []), text("reference", REFERENCE),
    ...(samples.answered ? [text("the student's answer", ANSWER)] : [])];
  const kept = (row) => phase === 0 || row[PHASE] === (phase > samples.phases ? null : phase);
  const chosen = choice("Enters in", names, (index) => { phase = index; explorer.update(); });
  const explorer = new Explorer(place, {
    what: "training samples",
    columns: () => columns,
    rows: () => samples.rows.filter(kept),
    filters: [chosen],
    details: (row) => [["id", row[ID]], ["prompt", row[PROMPT]], ["reference", row[REFERENCE]], ...(samples.answered ? [["the student's answer", row[ANSWER] ?? ""]] : [])],
    searched: (row) => [row[ID], row[PROMPT], row[REFERENCE], row[ANSWER] ?? ""],
    sort: () => ({ title: "rank", falling: false }),
  });
  explorer.showOne = (id) => {
    phase = 0;
    chosen.querySelector("select").value = 0;
    explorer.find(id);
    place.scrollIntoView();
    explorer.search.focus();
  };
  return explorer;
}

// Trained arms side by side; of more, the two that are compared (all of them stand below an opened sample).
const MOST_ARMS = 4;

function exploreHeldOut(place, suite) {
  const of = (index) => ANSWER + index, arms = suite.arms.map((arm, index) => ({ ...arm, index }));
  const trained = arms.filter((arm) => arm.target === "distill"), untrained = arms.filter((arm) => arm.target === "student");
  const listed = [...trained, ...untrained];
  let one = listed.length > 1 ? 1 : 0, other = 0, shownAs = 0;
  if (listed.length > 1 && trained.length > 1) [one, other] = [trained.length - 1, 0];
  const score = (row, arm) => row[of(arm.index)]?.[0] ?? null;
  const gain = (row) => {
    const [a, b] = [score(row, listed[one]), score(row, listed[other])];
    return a == null || b == null ? null : (suite.higher_is_better ? 1 : -1) * (a - b);
  };
  const scored = (cell, arm) => !cell ? "" : `${suite.column} ${fixed(cell[0], suite.decimals)}` + (arm.answers > 1 ? ` (mean of ${arm.answers}; this answer ${fixed(cell[2], suite.decimals)})` : "");
  const answers = (arm) => ({ title: arm.name, kind: "text", value: (row) => score(row, arm), cell: (row) => row[of(arm.index)]?.[1], note: (row) => scored(row[of(arm.index)], arm) });
  const columns = () => {
    const seen = trained.length <= MOST_ARMS ? trained : [...new Set([listed[other], listed[one]])].filter((arm) => arm.target === "distill");
    const sums = listed.length > 1 ? [{ title: "gain", kind: "number", falls: true, value: gain, cell: (row) => gain(row) == null ? "" : signed(gain(row)), mark: (row) => gain(row) > 0 ? "gain" : gain(row) < 0 ? "loss" : "" }] : [];
    const text = (title, index) => ({ title, kind: "text", value: (row) => row[index], cell: (row) => row[index] });
    return [...sums, text("prompt", PROMPT), text("reference", REFERENCE), ...untrained.map(answers), ...seen.map(answers)];
  };
  const ways = ["every sample", "largest gains first", "largest losses first"];
  const names = listed.map((arm) => arm.name);
  const filters = listed.length < 2 ? [] : [
    choice("Gain of", names, (index) => { one = index; explorer.update(); }, one),
    choice("over", names, (index) => { other = index; explorer.update(); }, other),
    choice("Show", ways, (index) => { shownAs = index; explorer.sortBy(index ? "gain" : null, index === 1); }),
  ];
  const explorer = new Explorer(place, {
    what: "held-out samples",
    columns,
    rows: () => shownAs === 0 ? suite.rows : suite.rows.filter((row) => shownAs === 1 ? gain(row) > 0 : gain(row) < 0),
    filters,
    details: (row) => [["id", row[ID]], ["prompt", row[PROMPT]], ["reference", row[REFERENCE]],
      ...arms.filter((arm) => row[of(arm.index)]).map((arm) => [`${arm.name}, ${scored(row[of(arm.index)], arm)}`, row[of(arm.index)][1]])],
    searched: (row) => [row[ID], row[PROMPT], row[REFERENCE], ...arms.map((arm) => row[of(arm.index)]?.[1] ?? "")],
    sort: () => null,
  });
  return explorer;
}
