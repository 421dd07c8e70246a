/* Figures take their colours from the style sheet, and take them again when the theme changes. */
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const onTheme = new Set();
let printing = false;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function redraw() {
  for (const act of onTheme) act();
}

dark.addEventListener("change", redraw);

/* A ranked defense has its own colour, the others that of their role. */
function seriesColours(series) {
  let next = 0;
  return series.map(({ role }) => colour(role === "ranked" ? `s${next++ % 8}` : role));
}
