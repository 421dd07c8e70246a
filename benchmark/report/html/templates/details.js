/* Everything about one trial, in a dialog; unpacked and drawn when it is opened. */
let opened = null;

function startDetails() {
  const dialog = document.getElementById("details");
  document.getElementById("close").addEventListener("click", () => dialog.close());
  document.getElementById("earlier").addEventListener("click", () => neighbour(-1));
  document.getElementById("later").addEventListener("click", () => neighbour(1));
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#trial=")) history.replaceState(null, "", location.pathname + location.search);
  });
  const wanted = decodeURIComponent(location.hash.replace(/^#trial=/, ""));
  const linked = location.hash.startsWith("#trial=") && list.all.find((trial) => trial.trial === wanted);
  if (linked) openTrial(linked.number);
}

/* The one before or after in the list as it is filtered and sorted. */
function neighbour(step) {
  const at = list.found.findIndex((trial) => trial.number === opened);
  const next = list.found[at + step];
  if (next) openTrial(next.number);
}

async function openTrial(number) {
  const dialog = document.getElementById("details");
  const body = document.getElementById("details-body");
  const trial = list.all[number];
  opened = number;
  document.getElementById("details-title").textContent = `${trial.defense} on trigger ${trial.trigger}, target ${trial.target}, seed ${trial.seed}`;
  const at = list.found.findIndex((one) => one.number === number);
  document.getElementById("earlier").disabled = at <= 0;
  document.getElementById("later").disabled = at < 0 || at >= list.found.length - 1;
  body.replaceChildren(element("p", { text: "Unpacking …" }));
  if (!dialog.open) dialog.showModal();
  document.getElementById("details-title").focus();
  history.replaceState(null, "", `#trial=${encodeURIComponent(trial.trial)}`);
  const { chunk } = list.data;
  try {
    const details = (await once(`chunk-${Math.floor(number / chunk)}`, () => unpackJson(`chunk-${Math.floor(number / chunk)}`)))[number % chunk];
    if (opened !== number) return;
    body.replaceChildren(...parts(trial, details));
    dialog.scrollTop = 0;
    await Promise.all([...curves(body, "curves", details.charts), ...curves(body, "attack-curves", details.attack ?? [])]);
  } catch (error) {
    body.replaceChildren(element("p", { class: "notice", text: `This trial could not be shown: ${error.message}` }));
  }
}

function parts(trial, details) {
  const made = [];
  if (trial.error) made.push(element("p", { class: "notice", text: `Failed: ${trial.error}` }));
  const [first, ...others] = details.sections;
  made.push(...section(first[0], pairs(first[1])));
  for (const [title, values] of others.splice(0, 2)) made.push(...section(title, pairs(values)));
  made.push(...section("triggers", triggers(trial, details)));
  if (details.charts.length) made.push(...section("curves of the defense", element("div", { class: "curves", "data-curves": "curves" })));
  made.push(...section("stamped test images", stamped(trial, details.examples)));
  if (details.log) made.push(...section("log" + details.whose, element("pre", { tabindex: "0", text: details.log })));
  for (const [title, values] of others) made.push(folded(title, pairs(values)));
  if (details.attack?.length) made.push(folded("curves of the attack", element("div", { class: "curves", "data-curves": "attack-curves" }), true));
  return made;
}

function section(title, ...content) {
  return [element("h3", { text: title }), ...content];
}

function folded(title, content, open = false) {
  return element("details", { open }, element("summary", { text: title }), content);
}

function pairs(values) {
  return element("dl", {}, ...values.map(([name, value]) => element("div", { class: value.length + name.length > 44 ? "wide" : null }, element("dt", { text: name }), element("dd", { text: value }))));
}

function captioned(content, text, ...more) {
  return element("figure", {}, content, element("figcaption", { text }), ...more);
}

function triggers(trial, details) {
  const made = element("div", { class: "maps" });
  const maps = element("div", { class: "maps" });
  const original = list.data.patches[trial.patch];
  const size = (packed, pixels) => Math.max(1, Math.floor(pixels / Math.max(packed.height, packed.width)));
  if (original) made.append(captioned(patchCanvas(original, size(original, 96), `original trigger ${trial.trigger}`), "original"));
  if (details.unreadable) made.append(element("p", { class: "notice", text: details.unreadable }));
  if (details.recovered) {
    const { count } = details.recovered;
    const told = count < details.kept ? `${count} of ${details.kept} recovered triggers, evenly chosen` : `${count} recovered trigger${count > 1 ? "s" : ""}`;
    made.append(captioned(patchSheet(details.recovered, size(details.recovered, 24), told), told));
  } else if (!details.unreadable) made.append(element("p", { class: "notes", text: "This defense returned no triggers." }));
  for (const [key, text] of [["components", "first two components (truncated SVD)"], ["tsne", "t-SNE"]]) {
    const plane = details[key];
    if (plane) maps.append(captioned(planeCanvas(plane, `${text} of ${plane.points.length} recovered triggers`), `${text} of ${plane.points.length} recovered triggers`));
  }
  return element("div", {}, made, maps);
}

function stamped(trial, examples) {
  if (examples.missing) return element("p", { class: "notes", text: examples.missing });
  const name = (label) => (examples.names[label] === undefined ? String(label) : `${label} (${examples.names[label]})`);
  const patch = list.data.patches[trial.patch];
  return element("div", { class: "examples" }, ...examples.rows.map(([picture, row, column, label, cleanBefore, before, cleanAfter, after]) => {
    const said = (title, clean, stampedAnswer) => element("p", { text: `${title}: ${name(clean)}; stamped: ` }, element("span", { class: stampedAnswer === trial.target ? "hit" : null, text: name(stampedAnswer) }));
    return captioned(stampedCanvas(list.data.pictures[picture], patch, row, column, `test image of class ${name(label)}, stamped`), `true class ${name(label)}`, said("before", cleanBefore, before), said("after", cleanAfter, after));
  }));
}

function lineCaption(line, at) {
  const swatch = element("span", { class: "swatch" });
  swatch.style.background = `var(--s${at % 8})`;
  const name = line.label ? `${line.label}: ` : "";
  return [swatch, `${name}${line.y[0]} to ${line.y.at(-1)}`];
}

/* One small chart a quantity, one line a sub-model. */
function curves(body, key, charts) {
  const place = body.querySelector(`[data-curves="${key}"]`);
  return charts.map(async (chart) => {
    const Plotly = await plotly();
    const plot = element("div", { class: "curve", "aria-hidden": "true" });
    const caption = element("figcaption", { text: `${chart.stage}, ${chart.quantity}, from first to last:` }, ...chart.lines.flatMap(lineCaption));
    place.append(element("figure", {}, plot, caption));
    const traces = chart.lines.map((line, at) => ({ type: "scatter", mode: line.x.length < 30 ? "lines+markers" : "lines", name: plain(line.label || chart.quantity), x: line.x, y: line.y, line: { color: colour(`s${at % 8}`), width: 1.5 }, marker: { size: 4 } }));
    const layout = { ...baseLayout(), margin: { l: 50, r: 8, t: 8, b: 38 }, hovermode: "x unified", xaxis: axis({ title: plain(chart.step) }), yaxis: axis({ title: plain(chart.quantity) }) };
    await Plotly.react(plot, traces, layout, { ...PLOT, displayModeBar: false });
  });
}
