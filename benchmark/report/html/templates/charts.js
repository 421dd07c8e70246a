/* The figures of a leaderboard. Each has check boxes for its series and its numbers as a table. */
function plotly() {
  return once("plotly", async () => {
    const script = element("script", { text: await unpack("plotly") });
    document.head.append(script);
    if (!window.Plotly) throw new Error("the plotting library did not start");
    return window.Plotly;
  });
}

/* Plotly reads a few tags in its texts; ours have none. */
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

const PLOT = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"], toImageButtonOptions: { format: "svg", filename: "figure" } };

function axis(settings) {
  const { title, ...others } = settings;
  return { title: { text: title, standoff: 8 }, gridcolor: colour("line"), linecolor: colour("soft"), zeroline: false, automargin: true, ...others };
}

function baseLayout() {
  return { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, margin: { l: 55, r: 12, t: 12, b: 45 }, font: { color: colour("ink"), family: "system-ui, sans-serif", size: 12 }, hoverlabel: { namelength: -1 } };
}

function numbersTable(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col", text })));
  const body = rows.map(([first, ...others]) => element("tr", {}, element("th", { scope: "row", text: first }), ...others.map((text) => element("td", { class: "number", text }))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

/* Filled when it is first opened. */
function numbers(make) {
  const made = element("details", {}, element("summary", { text: "Numbers as a table" }));
  made.addEventListener("toggle", () => once(made, () => made.append(element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Numbers of the figure" }, make()))), { once: true });
  return made;
}

function legend(series, shown, change) {
  const colours = seriesColours(series);
  const boxes = series.map(({ label, role }, at) => {
    const box = element("input", { type: "checkbox", checked: shown[at], on: { change: () => { shown[at] = box.checked; change(); } } });
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = colours[at];
    const note = role === "ranked" ? "" : ` (${role})`;
    return [element("label", {}, box, swatch, label + note), swatch];
  });
  onTheme.add(() => seriesColours(series).forEach((value, at) => { boxes[at][1].style.background = value; }));
  return element("fieldset", { class: "legend" }, element("legend", { text: "Shown:" }), ...boxes.map(([label]) => label));
}

function nothing(place, text) {
  place.classList.remove("figure");
  place.append(element("p", { class: "notes", text }));
}

/* A screen reader has the table; the buttons over the figure stay within reach. */
function hideDrawing(plot) {
  for (const drawing of plot.querySelectorAll(".main-svg")) drawing.setAttribute("aria-hidden", "true");
}

/* The parts of every figure; `draw(plot, Plotly, shown)` fills the plot and is called again. */
async function figure(place, series, shown, label, draw, table) {
  const Plotly = await plotly();
  const plot = element("div");
  const again = async () => {
    await draw(plot, Plotly, shown);
    hideDrawing(plot);
  };
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", label);
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${label}: figure, scrolls sideways` }, plot);
  place.append(legend(series, shown, again), scroll, numbers(table));
  onTheme.add(again);
  await again();
}

function drawFigure(place, data) {
  return once(place, () => {
    const board = data.boards[Number(place.dataset.board)];
    const what = place.dataset.figure;
    return what === "grid" ? gridFigure(place, board, data.patches) : frontFigure(place, board, what);
  });
}

/* Every trigger with a group of bars over it and its picture under it. */
function gridFigure(place, board, patches) {
  const { triggers, series } = board.grid;
  if (!triggers.length) return nothing(place, "No trial of this leaderboard has an ASR yet.");
  const main = series.some(({ role }) => role === "ranked" || role === "oracle");
  const shown = series.map(({ role }) => !main || role === "ranked" || role === "oracle");
  const label = `ASR after the defense for each of ${triggers.length} triggers`;
  const draw = (plot, Plotly, visible) => {
    const count = visible.filter(Boolean).length;
    const colours = seriesColours(series);
    const traces = series.map((one, at) => bars(one, triggers, colours[at])).filter((_, at) => visible[at]);
    const least = triggers.length * (count * 5 + 8) + 70;
    plot.style.minWidth = printing ? "" : `${least}px`;
    plot.style.maxWidth = `${triggers.length * (count * 40 + 60) + 70}px`;
    return Plotly.react(plot, traces, gridLayout(board.grid, patches, visible), PLOT);
  };
  const table = () => numbersTable(["Trigger", ...series.map((one) => one.label)], triggers.map((trigger, at) => [trigger.label, ...series.map((one) => barText(one.bars[at]))]));
  return figure(place, series, shown, label, draw, table);
}

function barText(bar) {
  if (!bar) return "-";
  return percent(bar[0]) + (bar[1] === null ? "" : ` ± ${percent(bar[1])}`);
}

function bars(one, triggers, fill) {
  const there = triggers.map((_, at) => at).filter((at) => one.bars[at]);
  const spread = there.map((at) => 100 * (one.bars[at][1] ?? 0));
  return {
    type: "bar", name: plain(one.label), x: there, y: there.map((at) => 100 * one.bars[at][0]),
    marker: { color: fill, line: { color: fill, width: 1 }, pattern: { shape: one.role === "oracle" ? "/" : "", fgcolor: colour("page"), size: 5 } },
    error_y: { type: "data", array: spread, visible: spread.some((value) => value > 0), thickness: 1, width: 2, color: colour("soft") },
    hovertext: there.map((at) => `trigger ${plain(triggers[at].label)}<br>${plain(one.label)}: ${barText(one.bars[at])} % (${one.bars[at][2]} trial${one.bars[at][2] > 1 ? "s" : ""})`),
    hoverinfo: "text",
  };
}

function gridLayout(grid, patches, visible) {
  const many = grid.triggers.length > 30;
  const top = Math.max(...grid.series.flatMap((one, at) => (visible[at] ? one.bars.map((bar) => (bar ? bar[0] + (bar[1] ?? 0) : 0)) : [0])), 0.02);
  const height = 400;
  const side = 22;
  const images = grid.triggers.map((trigger, at) => ({
    source: trigger.patch === null ? "" : pictureOf(patches[trigger.patch]), xref: "x", yref: "paper", x: at, y: -0.02, xanchor: "center", yanchor: "top", sizex: 0.8, sizey: side / (height - 112), sizing: "contain", layer: "above",
  })).filter((image) => image.source);
  return {
    ...baseLayout(), height, barmode: "group", bargap: 0.25, images,
    margin: { l: 55, r: 12, t: 12, b: 100 },
    xaxis: axis({ title: "trigger, sorted by what the ranked defenses leave of it", tickmode: "array", tickvals: grid.triggers.map((_, at) => at), ticktext: grid.triggers.map((trigger) => plain(trigger.label)), ticks: "outside", ticklen: side + 10, tickcolor: "rgba(0,0,0,0)", tickfont: { size: many ? 9 : 11 }, showgrid: false, range: [-0.6, grid.triggers.length - 0.4], automargin: false }),
    yaxis: axis({ title: "ASR after, %", range: [0, Math.min(100, 106 * top)], ticksuffix: "" }),
  };
}

/* A picture large enough that no browser smooths it. */
function pictureOf(packed) {
  packed.url ??= patchCanvas(packed, 12, null).toDataURL();
  return packed.url;
}

const SYMBOLS = { ranked: "circle", oracle: "star", control: "diamond-open", floor: "x" };

/* What is left against what it costs, and the front of those that nobody beats on both. */
function frontFigure(place, board, cost) {
  const points = board.fronts[cost];
  if (!points.length) return nothing(place, "No row of this leaderboard has these numbers yet.");
  const time = cost === "seconds";
  const shown = points.map(({ role }) => role !== "floor" || points.every((point) => point.role === "floor"));
  const value = (point) => (time ? point.cost : 100 * point.cost);
  const draw = (plot, Plotly, visible) => {
    const colours = seriesColours(points);
    const traces = points.map((point, at) => pointTrace(point, value(point), colours[at], time)).filter((_, at) => visible[at]);
    const front = points.filter((point, at) => point.front && visible[at]).sort((a, b) => a.cost - b.cost);
    const line = { type: "scatter", mode: "lines", x: front.map(value), y: front.map((point) => 100 * point.asr), line: { color: colour("soft"), dash: "dot", width: 1.5 }, hoverinfo: "skip" };
    const layout = { ...baseLayout(), height: 360, xaxis: axis({ title: time ? "seconds a trial" : "clean accuracy after, %", type: time ? "log" : "linear" }), yaxis: axis({ title: "ASR after, %", rangemode: "tozero" }) };
    return Plotly.react(plot, [line, ...traces], layout, PLOT);
  };
  const heads = ["Defense", time ? "Seconds" : "Clean accuracy, %", "ASR after, %", "95 % interval", "On the front"];
  const table = () => numbersTable(heads, points.map((point) => [point.label, time ? seconds(point.cost) : percent(point.cost), percent(point.asr), point.low === null ? "-" : `${percent(point.low)} to ${percent(point.high)}`, point.front ? "yes" : "no"]));
  return figure(place, points, shown, time ? "ASR after the defense against its seconds" : "ASR after the defense against clean accuracy", draw, table);
}

function pointTrace(point, x, fill, time) {
  const up = point.high === null ? 0 : 100 * (point.high - point.asr);
  const down = point.low === null ? 0 : 100 * (point.asr - point.low);
  const what = time ? `${seconds(point.cost)} s` : `${percent(point.cost)} % clean accuracy`;
  return {
    type: "scatter", mode: "markers", x: [x], y: [100 * point.asr],
    marker: { color: fill, size: 12, symbol: SYMBOLS[point.role] ?? "circle", line: { width: point.role === "control" ? 2 : 0, color: fill } },
    error_y: { type: "data", symmetric: false, array: [up], arrayminus: [down], visible: up + down > 0, thickness: 1.2, width: 4, color: fill },
    hovertext: `${plain(point.label)}: ${percent(point.asr)} % ASR, ${what}`, hoverinfo: "text",
  };
}

/* On paper: light, as wide as the sheet. Plotly draws at once when it is asked to. */
function print(on) {
  printing = on;
  for (const plot of document.querySelectorAll(".figure .js-plotly-plot")) plot.style.width = on ? (plot.closest(".pair") ? "480px" : "1000px") : "";
  redraw();
}
window.addEventListener("beforeprint", () => print(true));
window.addEventListener("afterprint", () => print(false));
