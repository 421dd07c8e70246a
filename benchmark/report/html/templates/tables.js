/* Sorting and filtering of the tables that came as markup. */
function keyOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.key ?? cell.textContent.trim();
  if (text === "" || text === "-") return null;
  const number = Number(text);
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

/* What has no value comes last, whatever the direction. */
function compare(a, b, ascending) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  return ascending ? order : -order;
}

/* Turn to the other direction, or start with the one in which the best comes first. */
function direction(header, headers) {
  const now = header.getAttribute("aria-sort");
  const next = now ? (now === "ascending" ? "descending" : "ascending") : header.dataset.start;
  for (const other of headers) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", next);
  return next === "ascending";
}

/* Rows are sorted within their section: floor and oracle stay apart. */
function makeSortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    header.querySelector("button")?.addEventListener("click", () => {
      const ascending = direction(header, headers);
      for (const body of table.tBodies) {
        const rows = [...body.querySelectorAll("tr.row")];
        rows.sort((a, b) => compare(keyOf(a, column), keyOf(b, column), ascending));
        body.append(...rows);
      }
    });
  });
}

function makeFilter(input) {
  const table = document.getElementById(input.dataset.filters);
  const said = document.getElementById(input.id.replace("filter", "found"));
  const rows = [...table.querySelectorAll("tr.row")];
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    for (const body of table.tBodies) {
      body.querySelector(".head").hidden = !body.querySelector("tr.row:not([hidden])");
    }
    const shown = rows.filter((row) => !row.hidden).length;
    said.textContent = wanted ? `${shown} of ${rows.length} rows` : "";
  });
}
