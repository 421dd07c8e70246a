/* Small images drawn pixel by pixel. */
function decoded(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function bytesOf(packed) {
  packed.bytes ??= decoded(packed.pixels);
  if (packed.opacity) packed.veil ??= decoded(packed.opacity);
  return packed.bytes;
}

/* Draw image `number` of `packed` at (x, y) of a canvas, each pixel `size` wide. */
function drawPatch(context, packed, number, x, y, size) {
  const bytes = bytesOf(packed);
  let at = number * packed.height * packed.width * 3;
  for (let row = 0; row < packed.height; row += 1) {
    for (let column = 0; column < packed.width; column += 1) {
      const opacity = packed.veil ? packed.veil[at / 3] / 255 : 1;
      context.fillStyle = `rgb(${bytes[at]} ${bytes[at + 1]} ${bytes[at + 2]} / ${opacity})`;
      context.fillRect(x + column * size, y + row * size, size, size);
      at += 3;
    }
  }
}

/* White patches on a white page, and black on black, need an edge. */
function frame(context, packed, x, y, size) {
  context.strokeStyle = "#888888";
  context.lineWidth = 1;
  context.strokeRect(x - 0.5, y - 0.5, packed.width * size + 1, packed.height * size + 1);
}

function patchCanvas(packed, size, label, number = 0) {
  const canvas = element("canvas", { width: packed.width * size + 2, height: packed.height * size + 2, role: label ? "img" : null, "aria-label": label, "aria-hidden": label ? null : "true" });
  const context = canvas.getContext("2d");
  drawPatch(context, packed, number, 1, 1, size);
  frame(context, packed, 1, 1, size);
  return canvas;
}

function patchSheet(packed, size, label) {
  const gap = 4;
  const across = Math.min(packed.count, 16);
  const step = [packed.width * size + gap, packed.height * size + gap];
  const canvas = element("canvas", { width: across * step[0], height: Math.ceil(packed.count / across) * step[1], role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  for (let number = 0; number < packed.count; number += 1) {
    const x = (number % across) * step[0] + gap / 2;
    const y = Math.floor(number / across) * step[1] + gap / 2;
    drawPatch(context, packed, number, x, y, size);
    frame(context, packed, x, y, size);
  }
  return canvas;
}

/* Points of the unit square as dots, thumbnails over those that are far enough apart. */
function planeCanvas(plane, label) {
  const side = 420;
  const margin = 18;
  const canvas = element("canvas", { width: side, height: side, class: "framed", role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  const place = ([x, y]) => [margin + x * (side - 2 * margin), side - margin - y * (side - 2 * margin)];
  context.fillStyle = "#8a8f96";
  for (const point of plane.points) {
    const [x, y] = place(point);
    context.fillRect(x - 1, y - 1, 2, 2);
  }
  const size = Math.max(1, Math.round(21 / Math.max(plane.patches.width, plane.patches.height)));
  plane.drawn.forEach((at, number) => {
    const [x, y] = place(plane.points[at]);
    const left = Math.round(x - (plane.patches.width * size) / 2);
    const top = Math.round(y - (plane.patches.height * size) / 2);
    drawPatch(context, plane.patches, number, left, top, size);
    frame(context, plane.patches, left, top, size);
  });
  return canvas;
}

/* A test image with the trigger on it, as it was stamped when the trial was scored. */
function stampedCanvas(picture, patch, row, column, label) {
  const size = Math.max(1, Math.floor(128 / picture.width));
  const canvas = element("canvas", { width: picture.width * size, height: picture.height * size, role: "img", "aria-label": label });
  const context = canvas.getContext("2d");
  drawPatch(context, picture, 0, 0, 0, size);
  if (patch) drawPatch(context, patch, 0, column * size, row * size, size);
  return canvas;
}
