/* Data in the page: gzip in base64. */
async function unpack(id) {
  const text = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function unpackJson(id) {
  return JSON.parse(await unpack(id));
}

/* Once each: a second caller waits for the first one's answer. */
const kept = new Map();
function once(key, make) {
  if (!kept.has(key)) kept.set(key, make());
  return kept.get(key);
}

/* An element with plain text and children; text is never read as markup. */
function element(name, settings = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(settings)) {
    if (key === "text") made.textContent = value;
    else if (key === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function percent(value) {
  return value === null || value === undefined ? "-" : (100 * value).toFixed(1);
}

function seconds(value) {
  return value < 100 ? value.toFixed(1) : value.toFixed(0);
}
