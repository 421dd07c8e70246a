/* Put everything to work: tables at once, figures when they come near the screen. */
function trouble(error) {
  const place = document.getElementById("trouble");
  place.textContent = `A part of this page could not be shown: ${error.message || error}`;
  place.hidden = false;
}

function watchFigures(data) {
  const figures = [...document.querySelectorAll(".figure")];
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      drawFigure(entry.target, data).catch(trouble);
    }
  }, { rootMargin: "400px" });
  for (const figure of figures) watcher.observe(figure);
  // Those further down as well once there is nothing else to do, for whoever prints the page.
  setTimeout(async () => {
    for (const figure of figures) await drawFigure(figure, data).catch(trouble);
    document.documentElement.dataset.drawn = "all";
  }, 1500);
}

async function start() {
  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll("input[data-filters]").forEach(makeFilter);
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old; one from 2023 or later shows the figures and trials");
  const unpacked = unpackJson("data");
  const ready = unpacked.then((data) => startTrials(data));
  watchFigures(await unpacked);
  await ready;
  document.documentElement.dataset.ready = "yes";
}

start().catch(trouble);
