"use strict";
// Draws the page from the JSON inside it. Everything that came from run folders reaches the page as text, never as markup.

(async () => {
  const told = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const NOTHING = "–";
  const COLOURS = 8; // --c0 to --c7 in the style
  const metricOf = told.monitor.replace(/^val_/, "");

  const state = { sort: "score", down: false, on: new Set(), visible: new Set(), colours: new Map(), chosen: null, open: null };

  // --- small tools ---

  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "class") element.className = value;
      else if (key.startsWith("aria-")) element.setAttribute(key, value);
      else element[key] = value;
    }
    element.append(...children);
    return element;
  }

  // Plotly reads a little markup in its texts
  const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function duration(seconds) {
    if (seconds < 90) return `${seconds.toFixed(1)} s`;
    if (seconds < 5400) return `${(seconds / 60).toFixed(1)} min`;
    return `${(seconds / 3600).toFixed(1)} h`;
  }

  function firstEpoch(variant) {
    const found = variant.runs.map((run) => run.epoch).filter((epoch) => epoch !== null && epoch !== undefined);
    return found.length ? Math.min(...found) : null;
  }

  const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
  const words = (column) => column.replace(/^val_/, "validation ").replace(/_/g, " ");
  const measured = told.variants.filter((variant) => variant.mean[told.monitor] !== null);
  const statusOf = (variant) => {
    const failed = variant.runs.filter((run) => run.status === "failed").length;
    if (failed === variant.runs.length) return "failed";
    if (failed) return `${failed} failed`;
    const other = variant.runs.find((run) => run.status !== "finished");
    return other ? other.status : "";
  };

  // --- colours and theme ---

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (theme) => { root.dataset.theme = theme; };
  setTheme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => { setTheme(dark.matches ? "dark" : "light"); drawPlots(); });
  byId("theme").addEventListener("click", () => {
    setTheme(root.dataset.theme === "dark" ? "light" : "dark");
    drawPlots();
  });
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // a variant keeps its colour while it is on; a freed colour goes to the next. No colour stands for two: the rest have none
  function paint() {
    for (const rank of [...state.colours.keys()]) if (!state.on.has(rank)) state.colours.delete(rank);
    const taken = new Set(state.colours.values());
    const free = [...Array(COLOURS).keys()].filter((colour) => !taken.has(colour));
    for (const rank of [...state.on].sort((a, b) => a - b)) {
      if (free.length && !state.colours.has(rank)) state.colours.set(rank, free.shift());
    }
  }

  // --- header ---

  function drawHeader() {
    const runs = told.variants.reduce((sum, variant) => sum + variant.runs.length, 0);
    byId("name").textContent = told.name;
    const facts = [told.repeated ? `${plural(told.variants.length, "variant")}, ${plural(runs, "run")}` : plural(runs, "run")];
    if (told.failures.length) facts.push(`${told.failures.length} failed`);
    if (told.images) facts.push(`${plural(told.images, "validation image")}`);
    if (told.seconds) facts.push(`${duration(told.seconds)} in all`);
    byId("facts").textContent = facts.join(" · ");
    if (told.command) {
      byId("command").hidden = false;
      byId("command").textContent = told.command;
    }
    const card = (title, value, below, extra = "", text = "") =>
      byId("cards").append(make("div", { class: `card ${extra}` },
        make("div", { class: "quiet small", textContent: title }),
        make("div", { class: `value ${text}`, textContent: value }),
        make("div", { class: "quiet small", textContent: below })));
    const best = measured[0];
    if (best) {
      const range = told.interval ? `95 % interval ${told.interval[0]} to ${told.interval[1]}` : "";
      card(`best ${words(told.monitor)}`, best.shown[told.monitor], range);
      card("best variant", best.label, `in epoch ${best.shown.epoch}`, "wide", "text");
      const ties = told.variants.filter((variant) => variant.tied).length;
      if (measured.length > 1) {
        card("tied with the best", told.ties ? String(ties) : NOTHING, told.ties ? "a difference that chance can make" : "no interval for this metric");
      }
    } else {
      card("best", NOTHING, "no run has an epoch yet");
    }
    for (const note of told.notes.slice(0, 20)) byId("notes").append(make("p", { class: "note small", textContent: note }));
    if (told.notes.length > 20) byId("notes").append(make("p", { class: "note small", textContent: `… and ${told.notes.length - 20} more` }));
  }

  // --- table ---

  const scoreColumn = (column) => ({
    id: column, title: column.startsWith("val_") ? words(column) : `training ${words(column)}`, number: true, value: (v) => v.mean[column],
    cell: (v) => {
      const [mean, spread] = v.shown[column].split(" ± ");
      return spread ? make("span", {}, mean, make("span", { class: "spread-of", textContent: ` ± ${spread}` })) : mean;
    },
  });

  // the place among the good ones; a run that is none of them says what it is instead
  function standing(variant) {
    const status = statusOf(variant);
    const tag = status && make("span", { class: `tag ${status.includes("failed") ? "failed" : ""}`, textContent: status });
    if (variant.cut_short || variant.mean[told.monitor] === null) return tag || NOTHING;
    return make("span", { class: "place" }, variant.tied ? "≈" : String(variant.rank + 1), ...(tag ? [" ", tag] : []));
  }

  // what a run is and the compared column stand in front, where a phone shows them too
  const columns = [
    { id: "score", title: "#", number: true, value: (v) => v.rank, cell: standing },
    scoreColumn(told.monitor),
    ...(told.keys.length
      ? told.keys.map((key, place) => ({
          id: `key:${key.key}`, title: key.key, number: key.numeric, key: place, class: "value",
          value: (v) => v.values[place].number ?? v.values[place].shown, cell: (v) => v.values[place].shown ?? NOTHING,
        }))
      : [{ id: "run", title: "run", class: "value", value: (v) => v.label, cell: (v) => v.label }]),
    { id: "epoch", title: "best epoch", number: true, value: firstEpoch, cell: (v) => v.shown.epoch },
    ...told.columns.filter((column) => column !== told.monitor).map(scoreColumn),
    { id: "seconds", title: "seconds", number: true, value: (v) => v.seconds, cell: (v) => v.shown.seconds },
    { id: "parameters", title: "parameters", number: true, value: (v) => v.parameters, cell: (v) => v.shown.parameters },
  ];

  function order() {
    const column = columns.find((each) => each.id === state.sort);
    const sign = state.down ? -1 : 1;
    return [...told.variants].sort((a, b) => {
      const [left, right] = [column.value(a), column.value(b)];
      const gone = (value) => value === null || value === undefined;
      if (gone(left) || gone(right)) return gone(left) - gone(right) || a.rank - b.rank;
      const way = typeof left === "number" && typeof right === "number"
        ? left - right : String(left).localeCompare(String(right), "en", { numeric: true });
      return sign * way || a.rank - b.rank;
    });
  }

  const rows = new Map();

  function buildTable() {
    const head = make("tr", {}, make("th", { class: "still", textContent: "curve" }));
    for (const column of columns) {
      const button = make("button", { type: "button", textContent: column.title, title: `sort by ${column.title}` });
      button.addEventListener("click", () => {
        // the first click on a measured column brings its best or largest to the top
        const best = told.higher[column.id] ?? false;
        state.down = state.sort === column.id ? !state.down : best;
        state.sort = column.id;
        sortTable();
      });
      head.append(make("th", { class: column.number ? "number" : "", scope: "col" }, button));
      column.head = head.lastChild;
    }
    byId("table").tHead.append(head);
    for (const variant of told.variants) {
      const box = make("input", { type: "checkbox", "aria-label": `curve of ${variant.label}`, disabled: variant.mean[told.monitor] === null });
      const swatch = make("span", { class: "swatch" });
      const row = make("tr", { tabIndex: 0, title: variant.runs.map((run) => run.name).join(", ") },
        make("td", {}, make("label", { class: "switch" }, box, swatch)));
      for (const column of columns) {
        const cell = column.cell(variant);
        row.append(make("td", { class: `${column.number ? "number" : ""} ${column.class || ""}`, title: column.class === "value" ? column.cell(variant) : "" }, cell));
      }
      row.classList.toggle("best", variant === measured[0]);
      row.classList.toggle("none", variant.cut_short !== null || variant.mean[told.monitor] === null);
      row.dataset.rank = variant.rank;
      box.addEventListener("change", () => {
        if (box.checked) state.on.add(variant.rank);
        else state.on.delete(variant.rank);
        refresh();
      });
      row.addEventListener("click", (event) => {
        if (event.target.closest("label, input")) return;
        open(variant.rank);
      });
      row.addEventListener("keydown", (event) => {
        if (event.target === row && event.key === "Enter") open(variant.rank);
      });
      rows.set(variant.rank, { row, box, swatch });
    }
    sortTable();
  }

  function sortTable() {
    for (const column of columns) {
      if (column.id === state.sort) column.head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else column.head.removeAttribute("aria-sort");
    }
    byId("table").tBodies[0].append(...order().map((variant) => rows.get(variant.rank).row));
    if (state.open !== null) rows.get(state.open).row.after(detail);
  }

  // what differs from the best opens under the row that is clicked, where one looks; a second click closes it
  const detail = make("tr", { id: "detail" }, make("td", { colSpan: columns.length + 1 }));

  function open(rank) {
    state.open = state.open === rank ? null : rank;
    detail.remove();
    if (state.open === null) return;
    choose(rank, 0);
    const more = make("button", { type: "button", textContent: "whole config" });
    more.addEventListener("click", () => {
      byId("whole").parentElement.open = true;
      byId("config").scrollIntoView();
    });
    detail.firstChild.replaceChildren(make("div", { class: "detail" }, ...differences(told.variants[rank].runs[0]), more));
    rows.get(rank).row.after(detail);
  }

  // --- filter ---

  const selects = [];

  function buildFilter() {
    told.keys.forEach((key, place) => {
      const known = told.variants.filter((variant) => variant.values[place].shown !== null);
      const values = [...new Map(known.map((variant) => [variant.values[place].shown, variant.values[place]])).values()]
        .sort((a, b) => (a.number !== null && b.number !== null ? a.number - b.number : a.shown.localeCompare(b.shown)));
      if (values.length < 2 || values.length > 40) return;
      const select = make("select", { "aria-label": `only this ${key.key}` }, make("option", { value: "", textContent: `${key.key}: any` }));
      for (const value of values) select.append(make("option", { value: `=${value.shown}`, textContent: `${key.key}=${value.shown}` }));
      select.addEventListener("change", applyFilter);
      select.dataset.key = key.key;
      selects.push([place, select]);
      byId("selects").append(select);
    });
    byId("filter").addEventListener("input", applyFilter);
  }

  function applyFilter() {
    const terms = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    state.visible = new Set();
    for (const variant of told.variants) {
      const text = [variant.label, statusOf(variant), variant.tied ? "tie" : "", ...variant.runs.map((run) => run.name)].join(" ").toLowerCase();
      const fits = terms.every((term) => text.includes(term)) &&
        selects.every(([place, select]) => !select.value || select.value === `=${variant.values[place].shown}`);
      if (fits) state.visible.add(variant.rank);
      rows.get(variant.rank).row.hidden = !fits;
      if (!fits && state.open === variant.rank) open(variant.rank);
    }
    const all = state.visible.size === told.variants.length;
    byId("count").textContent = all ? "" : `${state.visible.size} of ${plural(told.variants.length, "variant")} shown. `;
    refresh();
  }

  function showBest(count) {
    state.on = new Set(measured.filter((variant) => state.visible.has(variant.rank)).slice(0, count).map((variant) => variant.rank));
    refresh();
  }

  // --- plots ---

  function layout(more) {
    const axis = { gridcolor: css("--line"), zeroline: false, linecolor: css("--line"), tickcolor: css("--line"), automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
      font: { family: getComputedStyle(document.body).fontFamily, color: css("--quiet"), size: 12 },
      margin: { l: 46, r: 12, t: 10, b: 40 },
      hoverlabel: { bgcolor: css("--card"), bordercolor: css("--line"), font: { color: css("--ink") }, align: "left", namelength: -1 },
      ...more,
      xaxis: { ...axis, showgrid: false, ...more.xaxis },
      yaxis: { ...axis, ...more.yaxis },
    };
  }

  const options = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

  // mean over the repeats at each epoch that any of them reached
  function curve(variant, column) {
    const sums = new Map();
    for (const run of variant.runs) {
      const values = run.history[column];
      if (!values) continue;
      run.history.epoch.forEach((epoch, place) => {
        const [sum, count] = sums.get(epoch) || [0, 0];
        sums.set(epoch, values[place] === null || sum === null ? [null, 1] : [sum + values[place], count + 1]);
      });
    }
    const x = [...sums.keys()].sort((a, b) => a - b);
    return { x, y: x.map((epoch) => { const [sum, count] = sums.get(epoch); return sum === null ? null : sum / count; }) };
  }

  function range(variant, column) {
    const values = new Map();
    for (const run of variant.runs) {
      (run.history[column] || []).forEach((value, place) => {
        if (value !== null) values.set(run.history.epoch[place], [...(values.get(run.history.epoch[place]) || []), value]);
      });
    }
    const x = [...values.keys()].sort((a, b) => a - b);
    return { x: [...x, ...[...x].reverse()], y: [...x.map((e) => Math.max(...values.get(e))), ...[...x].reverse().map((e) => Math.min(...values.get(e)))] };
  }

  function drawCurves() {
    const metric = byId("metric").value;
    const traces = [];
    const off = measured.filter((variant) => state.visible.has(variant.rank) && !state.on.has(variant.rank));
    const lit = measured.filter((variant) => state.visible.has(variant.rank) && state.on.has(variant.rank)).reverse();
    const on = lit.filter((variant) => state.colours.has(variant.rank));
    const plain = lit.filter((variant) => !state.colours.has(variant.rank));
    // one trace for all of a kind: two hundred separate ones would be slow
    const together = (variants, line, name) => {
      if (!variants.length) return;
      const x = [], y = [], text = [];
      for (const variant of variants) {
        const { x: epochs, y: values } = curve(variant, `val_${metric}`);
        x.push(...epochs, null); y.push(...values, null); text.push(...epochs.map(() => escape(variant.label)), "");
      }
      traces.push({ x, y, text, mode: "lines", line, opacity: variants.length > 30 ? 0.55 : 0.8,
        hovertemplate: "%{text}<br>epoch %{x}: %{y:.4g}<extra></extra>", name });
    };
    together(off, { color: css("--grey"), width: 1 }, "off");
    together(plain, { color: css("--quiet"), width: 1.4 }, "plain");
    for (const variant of on) {
      const colour = css(`--c${state.colours.get(variant.rank)}`);
      const common = { mode: "lines+markers", hovertemplate: `${escape(variant.label)}<br>%{meta}, epoch %{x}: %{y:.4g}<extra></extra>` };
      if (variant.runs.length > 1) {
        traces.push({ ...range(variant, `val_${metric}`), mode: "lines", fill: "toself", fillcolor: `${colour}22`, line: { width: 0 }, hoverinfo: "skip", name: `range ${variant.rank}` });
      }
      const small = { size: 4 };
      if (byId("training").checked) {
        traces.push({ ...curve(variant, metric), ...common, meta: "training", marker: { ...small, size: 3 }, opacity: 0.6, line: { color: colour, width: 1.4, dash: "dash" }, name: `training ${variant.rank}` });
        traces.at(-1).marker.color = colour;
      }
      traces.push({ ...curve(variant, `val_${metric}`), ...common, meta: "validation", marker: { ...small, color: colour }, line: { color: colour, width: 2.4 }, name: `validation ${variant.rank}` });
    }
    // of few epochs Plotly would mark halves, and name them like wholes
    const epochs = Math.max(1, ...traces.flatMap((trace) => trace.x).filter(Number.isFinite));
    Plotly.react("plot-curves", traces, layout({
      xaxis: { title: { text: "epoch" }, tickformat: "d", rangemode: "normal", dtick: epochs < 10 ? 1 : undefined },
      yaxis: { title: { text: escape(metric.replace(/_/g, " ")) }, type: byId("log").checked ? "log" : "linear", exponentformat: "power" },
    }), options);
    byId("legend").replaceChildren(...[...on].reverse().map((variant) => {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = `var(--c${state.colours.get(variant.rank)})`;
      const button = make("button", { type: "button", title: "switch off" }, swatch, make("span", { textContent: variant.label }));
      button.addEventListener("click", () => { state.on.delete(variant.rank); refresh(); });
      return button;
    }));
    const others = [];
    if (plain.length) others.push(`dark grey: ${plain.length} more, named where one points at them`);
    if (off.length) others.push(`grey: ${plural(off.length, "variant")} switched off`);
    if (others.length) byId("legend").append(make("span", { class: "quiet small", textContent: others.join("; ") }));
  }

  function drawEffects() {
    if (!told.keys.length || measured.length < 2) return;
    const shown = measured.filter((variant) => state.visible.has(variant.rank) && !variant.cut_short);
    told.keys.forEach((key, place) => {
      const at = (variant) => (key.numeric ? variant.values[place].number : escape(variant.values[place].shown));
      const groups = new Map();
      for (const variant of shown) groups.set(at(variant), [...(groups.get(at(variant)) || []), variant]);
      const values = [...groups.keys()].sort((a, b) => (key.numeric ? a - b : String(a).localeCompare(String(b), "en", { numeric: true })));
      const texts = new Map(shown.map((variant) => [at(variant), variant.values[place].shown]));
      const mean = (list) => list.reduce((sum, variant) => sum + variant.mean[told.monitor], 0) / list.length;
      const traces = [
        { x: shown.map(at), y: shown.map((v) => v.mean[told.monitor]), text: shown.map((v) => escape(v.label)), mode: "markers",
          marker: { size: 7, color: css("--accent"), opacity: shown.length > 40 ? 0.35 : 0.6 },
          hovertemplate: "%{text}<br>%{y:.4g}<extra></extra>", name: "variants" },
        { x: values, y: values.map((value) => mean(groups.get(value))), mode: key.numeric ? "lines+markers" : "markers",
          line: { color: css("--ink"), width: 1.5 }, marker: { symbol: "line-ew", size: values.length <= 6 ? 26 : 12, color: css("--ink"), line: { color: css("--ink"), width: 2.5 } },
          hovertemplate: "mean %{y:.4g}<extra></extra>", name: "mean" },
      ];
      const ticks = !key.numeric ? { categoryorder: "array", categoryarray: values }
        : values.length <= 6 ? { tickmode: "array", tickvals: values, ticktext: values.map((value) => texts.get(value)) }
        : key.log ? { exponentformat: "power", dtick: 1 } : {};
      Plotly.react(`effect-${place}`, traces, layout({
        xaxis: { title: { text: escape(key.key) }, type: key.numeric ? (key.log ? "log" : "linear") : "category", ...ticks },
        yaxis: { title: { text: escape(words(told.monitor)) } },
      }), options);
    });
  }

  // --- what a search has found ---

  const SHADES = 6; // of the lines of trials, by how good they are

  function buildSearch() {
    const search = told.search;
    if (!search || !search.trials.length) return;
    byId("search").hidden = false;
    const ended = search.ended ? `, and ${search.ended} that were ended early and are left out here` : "";
    byId("search-facts").textContent = `${plural(search.trials.length, "trial")} drawn by ${search.sampler}${ended}.`;
    byId("importance-said").textContent = `${search.said.join(". ")}. By functional ANOVA: the share of what trials differ by that each key explains.`;
    byId("search-choice").hidden = search.objectives.length < 2;
    byId("front").hidden = search.objectives.length < 2;
    search.objectives.forEach((one, place) => byId("objective").append(make("option", { value: place, textContent: words(one.column) })));
    byId("objective").addEventListener("change", drawSearch);
    search.keys.forEach((_, place) => byId("plot-slices").append(make("div", { id: `slice-${place}` })));
  }

  function drawSearch() {
    const search = told.search;
    if (byId("search").hidden) return;
    const place = Number(byId("objective").value) || 0;
    const { column, higher } = search.objectives[place];
    const result = (trial) => trial.results[place];
    const label = (trial) => escape(search.keys.filter(({ key }) => key in trial.values).map(({ key }) => `${key}=${trial.values[key]}`).join(" "));
    const best = new Set(search.best);
    const at = (trial, { key, numeric }) => (numeric ? Number(trial.values[key]) : escape(trial.values[key]));
    const dot = (trials) => ({ size: 8, color: trials.map((trial) => (best.has(trial.run) ? css("--accent") : "rgba(0,0,0,0)")), line: { color: css("--accent"), width: 1.5 } });

    if (search.objectives.length > 1) {
      const [first, second] = search.objectives;
      Plotly.react("plot-front", [{ x: search.trials.map((trial) => trial.results[1]), y: search.trials.map((trial) => trial.results[0]),
        text: search.trials.map(label), mode: "markers", marker: dot(search.trials), hovertemplate: "%{text}<br>%{y:.4g}, %{x:.4g}<extra></extra>", name: "trials" }],
      layout({ xaxis: { title: { text: escape(words(second.column)) } }, yaxis: { title: { text: escape(words(first.column)) } } }), options);
    }

    const shares = Object.entries(search.importance[place].shares).reverse();
    byId("plot-importance").hidden = !shares.length;
    if (shares.length) {
      Plotly.react("plot-importance", [{ type: "bar", orientation: "h", y: shares.map(([key]) => escape(key)), x: shares.map(([, share]) => share),
        marker: { color: css("--accent") }, hovertemplate: "%{y}: %{x:.2f}<extra></extra>", name: "importance" }],
      layout({ height: 70 + 26 * shares.length, xaxis: { title: { text: "share" }, range: [0, 1] }, yaxis: { type: "category" } }), options);
    }

    search.keys.forEach((key, number) => {
      const trials = search.trials.filter((trial) => key.key in trial.values);
      Plotly.react(`slice-${number}`, [{ x: trials.map((trial) => at(trial, key)), y: trials.map(result), text: trials.map(label), mode: "markers",
        marker: dot(trials), hovertemplate: "%{text}<br>%{y:.4g}<extra></extra>", name: "trials" }],
      layout({ xaxis: { title: { text: escape(key.key) }, type: key.numeric ? (key.log ? "log" : "linear") : "category", ...(key.log ? { exponentformat: "power", dtick: 1 } : {}) },
        yaxis: { title: { text: escape(words(column)) } } }), options);
    });

    drawParallel(search, place);
  }

  // Plotly's own parallel coordinates need WebGL and a function constructor, which the page's policy forbids
  function drawParallel(search, place) {
    const { column, higher } = search.objectives[place];
    const goodness = (trial) => (higher ? trial.results[place] : -trial.results[place]);
    const results = { key: words(column), numeric: true, log: false };
    const axes = [...search.keys, results].map((key, number) => {
      const value = (trial) => (key === results ? trial.results[place] : trial.values[key.key]);
      return scaled(search.trials.map(value), key, number);
    });
    const order = [...search.trials.keys()].sort((a, b) => goodness(search.trials[a]) - goodness(search.trials[b]));
    const traces = [...Array(SHADES).keys()].map((shade) => ({ x: [], y: [], text: [], mode: "lines", name: `shade ${shade}`,
      line: { color: css(shade === SHADES - 1 ? "--accent" : "--quiet"), width: 1 + shade / 3 }, opacity: (shade + 2) / (SHADES + 1), hovertemplate: "%{text}<extra></extra>" }));
    order.forEach((number, rank) => {
      const trial = search.trials[number];
      const trace = traces[Math.min(SHADES - 1, Math.floor((SHADES * (rank + 1)) / order.length))];
      const text = escape(`${words(column)} ${trial.results[place].toPrecision(4)}: ${Object.entries(trial.values).map((pair) => pair.join("=")).join(" ")}`);
      trace.x.push(...axes.keys(), null);
      trace.y.push(...axes.map(({ heights }) => heights[number]), null);
      trace.text.push(...axes.map(() => text), "");
    });
    Plotly.react("plot-parallel", traces, layout({
      xaxis: { tickvals: [...axes.keys()], ticktext: axes.map(({ key }) => escape(key)), showgrid: true, range: [-0.25, axes.length - 0.6], fixedrange: true },
      yaxis: { visible: false, range: [-0.06, 1.06], fixedrange: true },
      annotations: axes.flatMap(({ ticks }, number) => ticks.map(([height, text]) => ({ x: number, y: height, text: escape(text), showarrow: false,
        xanchor: "left", xshift: 4, bgcolor: css("--card"), font: { size: 11 } }))),
    }), options);
  }

  // one of the parallel axes, from 0 to 1: numbers to scale between their ends, words at even distances
  function scaled(values, { key, numeric, log }) {
    const known = values.filter((value) => value !== undefined);
    if (numeric && known.length) {
      const at = (value) => (log ? Math.log10(value) : Number(value));
      const [low, high] = [Math.min(...known.map(at)), Math.max(...known.map(at))];
      const floor = known.length < values.length ? 0.15 : 0;
      const height = (value) => (value === undefined ? 0 : high > low ? floor + ((1 - floor) * (at(value) - low)) / (high - low) : 0.5);
      const text = (end) => String(Number((log ? 10 ** end : end).toPrecision(4)));
      const ends = high > low ? [[floor, text(low)], [1, text(high)]] : [[0.5, text(low)]];
      return { key, heights: values.map(height), ticks: floor ? [[0, NOTHING], ...ends] : ends };
    }
    const texts = values.map((value) => value ?? NOTHING);
    const names = [...new Set(texts)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const height = (name) => (names.length > 1 ? names.indexOf(name) / (names.length - 1) : 0.5);
    return { key, heights: texts.map(height), ticks: names.slice(0, 12).map((name) => [height(name), name]) };
  }

  function drawPlots() {
    if (!window.Plotly) return;
    drawCurves();
    drawEffects();
    drawSearch();
  }

  function refresh() {
    paint();
    for (const [rank, { box, swatch }] of rows) {
      box.checked = state.on.has(rank);
      swatch.style.background = state.colours.has(rank) ? `var(--c${state.colours.get(rank)})` : state.on.has(rank) ? "var(--quiet)" : "";
    }
    drawPlots();
  }

  // --- confusion matrix ---

  function drawMatrix() {
    byId("confusion").hidden = !told.evaluate;
    if (!told.confusion) {
      byId("confusion-facts").textContent = "Not counted yet. This does it, then compare again:";
      byId("matrix").replaceWith(make("pre", { class: "command", textContent: told.evaluate || "" }));
      return;
    }
    const { classes, counts, run } = told.confusion;
    const right = counts.reduce((sum, row, place) => sum + row[place], 0);
    const all = counts.flat().reduce((sum, count) => sum + count, 0);
    byId("confusion-facts").textContent = `${run}: ${right} of ${plural(all, "image")} right. A row is a true class, a column what was predicted; shade is the share of the row.`;
    const head = make("tr", {}, make("th", { textContent: "true \\ predicted" }));
    for (const name of classes) head.append(make("th", { textContent: name, title: name, scope: "col" }));
    const body = make("tbody");
    counts.forEach((row, true_) => {
      const total = row.reduce((sum, count) => sum + count, 0);
      const line = make("tr", {}, make("th", { textContent: classes[true_], title: classes[true_], scope: "row" }));
      row.forEach((count, predicted) => {
        const share = total ? count / total : 0;
        const cell = make("td", { textContent: count || "·", title: `${classes[true_]} taken for ${classes[predicted]}: ${count} (${(100 * share).toFixed(0)} %)` });
        cell.style.background = count ? `rgba(${css("--heat")}, ${(0.08 + 0.8 * share).toFixed(2)})` : "";
        if (share > 0.55) cell.style.color = "#fff";
        if (!count) cell.className = "quiet";
        line.append(cell);
      });
      body.append(line);
    });
    byId("matrix").append(make("thead", {}, head), body);
  }

  // --- config ---

  function buildConfig() {
    for (const variant of told.variants) {
      variant.runs.forEach((run, place) => {
        const seed = variant.runs.length > 1 ? ` trainer.seed=${run.seed}` : "";
        byId("run").append(make("option", { value: `${variant.rank}:${place}`, textContent: `${variant.label}${seed}` }));
      });
    }
    byId("run").addEventListener("change", () => choose(...byId("run").value.split(":").map(Number)));
    choose(measured.length > 1 ? measured[1].rank : 0, 0);
  }

  // what a run is, against the best
  function differences(run) {
    const heading = (text) => make("p", { class: "quiet small", textContent: text });
    if (!run.configured) return [heading(`${run.name} has no config.yaml`)];
    if (run.name === told.reference.name) return [heading(`${run.name}: the best run, which the others are held against`)];
    if (!run.differs.length) return [heading(`${run.name}: no key differs from the best, ${told.reference.name}`)];
    const body = make("tbody");
    for (const [key, own, other] of run.differs) {
      body.append(make("tr", {}, make("td", { class: "mono", textContent: key }), make("td", { class: "mono", textContent: own ?? NOTHING }), make("td", { class: "mono quiet", textContent: other ?? NOTHING })));
    }
    const head = make("tr");
    for (const text of ["differs in", "this run", "the best"]) head.append(make("th", { class: "still", textContent: text }));
    return [heading(`${run.name}, against the best, ${told.reference.name}`),
      make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), body))];
  }

  function choose(rank, place) {
    if (state.chosen !== null) rows.get(state.chosen).row.classList.remove("chosen");
    state.chosen = rank;
    rows.get(rank).row.classList.add("chosen");
    byId("run").value = `${rank}:${place}`;
    const run = told.variants[rank].runs[place];
    byId("differs").replaceChildren(...differences(run));
    const config = new Map(run.configured ? told.reference.config : []);
    const changed = new Set();
    for (const [key, own] of run.differs) {
      changed.add(key);
      if (own === null) config.delete(key);
      else config.set(key, own);
    }
    byId("whole").replaceChildren(...[...config].map(([key, value]) =>
      make("span", { class: changed.has(key) ? "changed" : "", textContent: `${key}: ${value}\n` })));
  }

  // --- failures ---

  function drawFailures() {
    if (!told.failures.length) return;
    byId("failures").hidden = false;
    for (const failure of told.failures) {
      byId("failed").append(make("div", { class: "failure" },
        make("strong", { textContent: failure.label }), make("span", { class: "quiet small", textContent: `  ${failure.name}` }), make("p", { textContent: failure.reason })));
    }
  }

  // --- the plotting library, kept compressed in the page ---

  async function loadPlotly() {
    const packed = Uint8Array.from(atob(byId("plotly").textContent), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  for (const metric of told.metrics) byId("metric").append(make("option", { value: metric, textContent: metric.replace(/_/g, " ") }));
  byId("metric").value = metricOf;
  if (!byId("metric").value && told.metrics.length) byId("metric").selectedIndex = 0;
  for (const id of ["metric", "training", "log"]) byId(id).addEventListener("change", drawCurves);
  byId("show-best").textContent = `best ${Math.min(COLOURS, measured.length)}`;
  byId("show-best").addEventListener("click", () => showBest(COLOURS));
  byId("show-all").addEventListener("click", () => showBest(Infinity));
  byId("show-none").addEventListener("click", () => showBest(0));
  byId("rule").textContent = measured.length > 1 ? `${told.rule}.` : "";

  drawHeader();
  buildTable();
  buildFilter();
  buildConfig();
  drawMatrix();
  drawFailures();
  buildSearch();
  byId("curves").hidden = !measured.length;
  if (!told.keys.length || measured.length < 2) byId("effects").hidden = true;
  else told.keys.forEach((_, place) => byId("plot-effects").append(make("div", { id: `effect-${place}` })));
  applyFilter();
  showBest(COLOURS);
  try {
    await loadPlotly();
    drawPlots();
  } catch (error) {
    byId("plot-curves").replaceWith(make("p", { class: "note", textContent: `Curves can't be drawn by this browser: one of 2023 or later is needed (${error.message}).` }));
    byId("effects").hidden = byId("search").hidden = true;
  }
  root.dataset.ready = "yes";
})();
