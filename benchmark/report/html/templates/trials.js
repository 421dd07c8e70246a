/* The list of all trials: filtered, sorted, and drawn a hundred rows at a time. */
const PAGE = 100;
const HEADS = [["trial", "Trial", "ascending"], ["defense", "Defense", "ascending"], ["trigger", "Trigger", "ascending"], ["target", "Target", "ascending"], ["seed", "Seed", "ascending"], ["status", "Status", "descending"], ["before", "ASR before", "ascending"], ["after", "ASR after", "descending"], ["clean", "Clean acc.", "ascending"], ["seconds", "Seconds", "descending"], ["error", "Reason", "descending"]];
const list = { data: null, all: [], found: [], shown: 0, sort: null };

function startTrials(data) {
  list.data = data;
  list.all = data.trials.map((values, number) => Object.fromEntries([["number", number], ...data.columns.map((name, at) => [name, values[at]])]));
  const defense = document.getElementById("trial-defense");
  for (const name of new Set(list.all.map((trial) => trial.defense))) defense.append(element("option", { value: name, text: name }));
  document.getElementById("trial-tools").hidden = false;
  for (const id of ["text", "board", "defense", "status"]) document.getElementById(`trial-${id}`).addEventListener("input", filterTrials);
  document.getElementById("more").addEventListener("click", showMore);
  document.querySelectorAll("button.link[data-label]").forEach((button) => button.addEventListener("click", () => {
    document.getElementById("trial-board").value = button.dataset.board;
    document.getElementById("trial-defense").value = button.dataset.label;
    filterTrials();
    document.getElementById("trials").scrollIntoView();
    document.getElementById("trial-text").focus({ preventScroll: true });
  }));
  makeHead();
  filterTrials();
  startDetails();
}

function makeHead() {
  const row = element("tr");
  for (const [name, text, start] of HEADS) {
    const header = element("th", { scope: "col", "data-start": start }, element("button", { type: "button", text, on: { click: () => {
      list.sort = [name, direction(header, [...row.cells])];
      filterTrials();
    } } }));
    row.append(header);
  }
  document.getElementById("trial-list").append(element("thead", {}, row), element("tbody"));
}

function filterTrials() {
  const value = (id) => document.getElementById(`trial-${id}`).value;
  const [text, board, defense, status] = [value("text").trim().toLowerCase(), value("board"), value("defense"), value("status")];
  list.found = list.all.filter((trial) => (!board || trial.board === Number(board)) && (!defense || trial.defense === defense) && (!status || trial.status === status)
    && (!text || `${trial.trial} ${trial.defense} ${trial.trigger} ${trial.error}`.toLowerCase().includes(text)));
  if (list.sort) {
    const [name, ascending] = list.sort;
    list.found.sort((a, b) => compare(sortable(a[name]), sortable(b[name]), ascending));
  }
  document.getElementById("trial-found").textContent = `${list.found.length} of ${list.all.length} trials`;
  list.shown = 0;
  document.getElementById("trial-list").tBodies[0].replaceChildren();
  showMore();
}

function sortable(value) {
  return value === "" || value === undefined ? null : value;
}

function showMore() {
  const next = list.found.slice(list.shown, list.shown + PAGE);
  document.getElementById("trial-list").tBodies[0].append(...next.map(trialRow));
  list.shown += next.length;
  document.getElementById("more").hidden = list.shown >= list.found.length;
}

function trialRow(trial) {
  const open = element("button", { type: "button", class: "link", text: trial.trial.slice(0, 10), title: `Open trial ${trial.trial}`, on: { click: () => openTrial(trial.number) } });
  const patch = list.data.patches[trial.patch];
  const trigger = element("td", {}, patch ? patchCanvas(patch, 6, null) : null, trial.trigger);
  const number = (text) => element("td", { class: "number", text });
  return element("tr", {}, element("td", {}, open), element("td", { text: trial.defense }), trigger, number(trial.target), number(trial.seed), element("td", { class: trial.status, text: trial.status }), number(percent(trial.before)), number(percent(trial.after)), number(percent(trial.clean)), number(seconds(trial.seconds)), element("td", { class: "error", text: trial.error }));
}
