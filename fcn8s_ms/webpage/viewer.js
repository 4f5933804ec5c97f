// The answer of the page: overlay, legend with switches, certainty, and what is under the pointer.
// Gradio runs this as the body of a function of `element`, `props` and `watch`. Everything is drawn
// here, from the class ids and certainties that the server has computed.

const find = (selector) => element.querySelector(selector);
const message = find(".viewer-message");
const stage = find(".viewer-stage");
const picture = stage.querySelector("img");
const canvas = stage.querySelector("canvas");
const cross = find(".viewer-cross");
const list = find(".viewer-classes ul");
const slider = find(".viewer-opacity input");
const radios = [...element.querySelectorAll(".viewer-views input")];
const heat = props.heat;
const welcome = message.textContent;

let answer = null; // its summary
let ids = null; // of the pixels that are shown
let certainty = null; // of the same, 0…255; null if it is not known
let hidden = new Set(); // ids of the classes without a colour
let view = "classes";
let pointed = null; // [x, y] in pixels that are shown
let asked = 0; // number of the latest answer; older ones that arrive later are dropped

const percent = (share) => {
  const value = 100 * share;
  if (value > 0 && value < 1) return "<1 %";
  if (value > 99 && value < 100) return ">99 %";
  return `${Math.round(value)} %`;
};
const certain = (value) => percent(Math.min(value, 254) / 255); // no probability is 1

const url = (file, query = "") => new URL(`answers/${answer.key}/${file}${query}`, document.baseURI);

function say(text, isError = false) {
  message.textContent = text;
  message.hidden = !text;
  message.classList.toggle("viewer-error", isError);
  message.setAttribute("role", isError ? "alert" : "status");
  find(".viewer-answer").hidden = Boolean(text);
  element.dataset.state = isError ? "error" : text ? "waiting" : "answered";
}

function paint() {
  if (!ids) return;
  const [width, height] = answer.shown;
  const context = canvas.getContext("2d");
  canvas.hidden = view === "picture";
  if (!canvas.hidden) {
    // Colour of each value, as the four bytes of a pixel.
    const colours = new Uint8ClampedArray(256 * 4);
    const alpha = Math.round(2.55 * slider.value);
    const fill = (value, [red, green, blue]) =>
      colours.set([red, green, blue, alpha], 4 * value);
    if (view === "certainty") heat.forEach((colour, value) => fill(value, colour));
    else answer.classes.forEach((one) => hidden.has(one.id) || fill(one.id, one.colour));
    const table = new Uint32Array(colours.buffer);
    const pixels = context.createImageData(width, height);
    const target = new Uint32Array(pixels.data.buffer);
    const values = view === "certainty" ? certainty : ids;
    for (let i = 0; i < target.length; i++) target[i] = table[values[i]];
    context.putImageData(pixels, 0, 0);
  }
  find(".viewer-opacity output").textContent = `${slider.value} %`;
  find(".viewer-opacity").classList.toggle("viewer-off", view === "picture");
  find(".viewer-heat").hidden = view !== "certainty";
  find(".viewer-classes").classList.toggle("viewer-off", view !== "classes");
  link();
}

function link() {
  const overlay = find("[data-file=overlay]");
  const chosen = new URLSearchParams({ opacity: slider.value / 100, hidden: [...hidden].join() });
  if (overlay) overlay.href = url("overlay.png", `?${chosen}`);
}

function point(place) {
  pointed = place;
  cross.hidden = !place;
  const line = find(".viewer-pointer");
  if (!place) {
    line.textContent = "Point at the picture to see its classes.";
    return;
  }
  const [width, height] = answer.shown;
  const [x, y] = place;
  const at = y * width + x;
  const one = answer.classes.find((other) => other.id === ids[at]);
  const patch = document.createElement("i");
  patch.style.background = `rgb(${one.colour})`;
  const name = document.createElement("b");
  name.textContent = one.name;
  const column = Math.floor(((x + 0.5) * answer.width) / width);
  const row = Math.floor(((y + 0.5) * answer.height) / height);
  const sure = certainty ? ` ${certain(certainty[at])}` : "";
  line.replaceChildren(patch, name, `${sure} at column ${column}, row ${row}`);
  cross.style.left = `${(100 * (x + 0.5)) / width}%`;
  cross.style.top = `${(100 * (y + 0.5)) / height}%`;
}

function place(event) {
  const box = stage.getBoundingClientRect();
  const [width, height] = answer.shown;
  const inside = (value, size) => Math.min(Math.max(Math.floor(value), 0), size - 1);
  return [
    inside(((event.clientX - box.left) / box.width) * width, width),
    inside(((event.clientY - box.top) / box.height) * height, height),
  ];
}

function listClasses() {
  list.replaceChildren(
    ...answer.classes.map((one) => {
      const row = document.createElement("li");
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = !hidden.has(one.id);
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(one.id);
        else hidden.add(one.id);
        paint();
      });
      const patch = document.createElement("i");
      patch.style.background = `rgb(${one.colour})`;
      const name = document.createElement("span");
      name.textContent = one.name;
      const share = document.createElement("small");
      share.textContent = percent(one.share);
      label.append(box, patch, name, share);
      row.append(label);
      return row;
    }),
  );
}

function tellFacts() {
  const size = ([width, height]) => `${width}×${height}`;
  const facts = [
    answer.name,
    `${size([answer.width, answer.height])} pixels`,
    `${answer.seconds.toFixed(2)} s, of which the network took ${answer.network_seconds.toFixed(2)} s`,
  ];
  if (answer.seen[0] !== answer.width || answer.seen[1] !== answer.height)
    facts.push(`the network saw it at ${size(answer.seen)}`);
  if (!answer.certainty) facts.push("this file computes class ids only, so certainty is not known");
  find(".viewer-facts").textContent = facts.join(" · ");
  const links = answer.files.map(([kind, title, file, name]) => {
    const anchor = document.createElement("a");
    anchor.textContent = title;
    anchor.dataset.file = kind;
    anchor.href = url(file);
    anchor.download = name;
    return anchor;
  });
  find(".viewer-files").replaceChildren("Download: ", ...links);
}

async function fetched(file) {
  const response = await fetch(url(file));
  if (!response.ok) throw new Error(await response.text());
  return response;
}

async function load() {
  const number = ++asked;
  const given = props.value;
  ids = certainty = null;
  if (!given || given.error) {
    answer = null;
    say(given ? given.error : welcome, Boolean(given));
    return;
  }
  answer = given;
  try {
    const loaded = new Image();
    loaded.src = url("picture.jpg");
    const [response] = await Promise.all([fetched("planes"), loaded.decode()]);
    const planes = new Uint8Array(await response.arrayBuffer());
    if (number !== asked) return;
    const [width, height] = answer.shown;
    ids = planes.subarray(0, width * height);
    certainty = answer.certainty ? planes.subarray(width * height) : null;
    picture.src = loaded.src;
    [canvas.width, canvas.height] = [width, height];
    stage.style.setProperty("--ratio", width / height);
  } catch (error) {
    if (number === asked) say(`The answer could not be loaded: ${error.message}`, true);
    return;
  }
  hidden = new Set(answer.classes.filter((one) => !one.on).map((one) => one.id));
  radios[1].disabled = !certainty;
  if (!certainty && view === "certainty") radios[0].click();
  listClasses();
  tellFacts();
  say("");
  point(null);
  paint();
  // Below the chooser, as on a phone, nobody would see that something has come.
  if (element.getBoundingClientRect().top > 0.6 * window.innerHeight)
    element.scrollIntoView({ behavior: "smooth" });
}

for (const radio of radios)
  radio.addEventListener("change", () => {
    // Their own group: other pages in the same document may have such radios, too.
    for (const other of radios) other.checked = other === radio;
    view = radio.value;
    paint();
  });
slider.addEventListener("input", paint);
for (const button of element.querySelectorAll("[data-switch]"))
  button.addEventListener("click", () => {
    hidden = new Set(button.dataset.switch === "all" ? [] : answer.classes.map((one) => one.id));
    listClasses();
    paint();
  });
for (const event of ["pointermove", "pointerdown"])
  stage.addEventListener(event, (found) => ids && point(place(found)));
stage.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const move = step[event.key];
  if (!ids || !move) return;
  event.preventDefault();
  const far = event.shiftKey ? 10 : 1;
  const start = pointed || answer.shown.map((side) => Math.floor(side / 2));
  point(
    start.map((value, axis) =>
      Math.min(Math.max(value + far * move[axis], 0), answer.shown[axis] - 1),
    ),
  );
});

// A picture that is pasted or dropped anywhere on the page goes the way of one that is chosen.
async function give(file) {
  const chooser = () => document.querySelector(".demo-picture input[type=file]");
  const clear = document.querySelector(".demo-picture button[aria-label='Clear']");
  if (!chooser() && clear) clear.click(); // the picture before it stands in the chooser's place
  for (let wait = 0; !chooser() && wait < 40; wait++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  if (!chooser()) return;
  const chosen = new DataTransfer();
  chosen.items.add(file);
  chooser().files = chosen.files;
  chooser().dispatchEvent(new Event("change", { bubbles: true }));
}

document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (!file) return;
  event.preventDefault();
  give(file);
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  if (event.defaultPrevented) return; // Gradio's own place for it
  event.preventDefault(); // the browser would leave the page
  if (event.dataTransfer.files.length) give(event.dataTransfer.files[0]);
});

const scale = find(".viewer-heat canvas").getContext("2d");
heat.forEach((colour, value) => {
  scale.fillStyle = `rgb(${colour})`;
  scale.fillRect(value, 0, 1, 1);
});
watch("value", load);
load();
