// What the theme's pages lack for keyboards and screen readers (checked with axe).
document.addEventListener("DOMContentLoaded", () => {
  for (const caption of document.querySelectorAll("p.caption[role=heading]")) {
    caption.setAttribute("aria-level", "2");
  }
  const names = { ".sidebar-drawer": "All pages", ".toc-drawer": "On this page" };
  for (const [place, name] of Object.entries(names)) {
    document.querySelector(place)?.setAttribute("aria-label", name);
  }
  for (const wide of document.querySelectorAll(".highlight pre, .table-wrapper")) {
    wide.tabIndex = 0; // whatever scrolls sideways can be scrolled with the keyboard
  }
  const main = document.getElementById("furo-main-content");
  if (main && !main.querySelector("h1")) {
    const heading = document.createElement("h1");
    heading.textContent = document.title.split(" - ")[0];
    main.prepend(heading);
  }
});
