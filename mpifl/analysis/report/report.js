"use strict";
// Draws the figures one after the other, in the colours of the page; hides groups; turns landscapes.
const root = document.documentElement;
const DARK = new Map(Object.entries({
  "#0072B2": "#2389d6", "#222222": "#e8e8e8", "#444444": "#a8adb5", "#e3e3e3": "#343a42", "#000000": "#f2f2f2",
  "white": "#15181c", "black": "#f2f2f2", "rgba(255,255,255,0.8)": "rgba(21,24,28,0.8)",
}));
const CONFIG = {
  responsive: true, displaylogo: false, plotlyServerURL: "",
  displayModeBar: innerWidth < 600 ? false : "hover",
  modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d", "autoScale2d"],
};
const FINGER = matchMedia("(pointer: coarse)").matches;
const hidden = new Set();

// --- light and dark

const button = document.getElementById("theme");
let chosen = null;
try { chosen = localStorage.getItem("mpifl-theme"); } catch { /* a page from a file may not keep */ }

function useTheme(theme) {
  root.dataset.theme = theme;
  button.setAttribute("aria-pressed", String(theme === "dark"));
  for (const plot of document.querySelectorAll(".plot.drawn")) draw(plot);
}

button.addEventListener("click", () => {
  const theme = root.dataset.theme === "dark" ? "light" : "dark";
  useTheme(theme);
  try { localStorage.setItem("mpifl-theme", theme); } catch { /* likewise */ }
});
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
prefersDark.addEventListener("change", event => useTheme(event.matches ? "dark" : "light"));
root.dataset.theme = chosen ?? (prefersDark.matches ? "dark" : "light");
button.setAttribute("aria-pressed", String(root.dataset.theme === "dark"));

// --- figures

function figureOf(plot) {
  const dark = root.dataset.theme === "dark";
  const inTheme = (key, value) =>
    dark && typeof value === "string" && /color$/.test(key) ? DARK.get(value) ?? value : value;
  const figure = JSON.parse(plot.nextElementSibling.textContent, inTheme);
  for (const trace of figure.data) {
    if (hidden.has(trace.legendgroup) && !figure.layout.showlegend) trace.visible = false;
  }
  figure.layout.uirevision = "kept";  // zoom and camera stay
  if (FINGER && !figure.layout.scene) figure.layout.dragmode = false;  // a finger scrolls the page
  return figure;
}

function draw(plot) {
  const figure = figureOf(plot);
  plot.classList.add("drawn");
  return Plotly.react(plot, figure.data, figure.layout, CONFIG);
}

const waiting = [...document.querySelectorAll(".plot")];
const resized = new ResizeObserver(entries => {
  for (const entry of entries) {
    if (entry.target.classList.contains("drawn")) Plotly.Plots.resize(entry.target);
  }
});

function drawNext() {
  const plot = waiting.shift();
  if (!plot) {
    root.dataset.figures = "drawn";
    return;
  }
  draw(plot).then(() => resized.observe(plot));
  setTimeout(drawNext);  // so that the page can be read and scrolled meanwhile
}
drawNext();

// --- groups

for (const one of document.querySelectorAll(".legend button")) {
  one.addEventListener("click", () => {
    const group = one.dataset.group;
    const isShown = one.getAttribute("aria-pressed") === "true";
    if (isShown) hidden.add(group); else hidden.delete(group);
    for (const same of document.querySelectorAll(`.legend button[data-group="${group}"]`)) {
      same.setAttribute("aria-pressed", String(!isShown));
    }
    for (const plot of document.querySelectorAll(".plot.drawn")) {
      if (plot.data.some(trace => trace.legendgroup === group)) draw(plot);
    }
  });
}

// --- landscapes: arrow keys turn them

const TURNS = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };

function turned(eye, [around, up]) {
  const cos = Math.cos(around), sin = Math.sin(around);
  return { x: eye.x * cos - eye.y * sin, y: eye.x * sin + eye.y * cos, z: eye.z + up };
}

for (const plot of document.querySelectorAll(".solid .plot")) {
  plot.addEventListener("keydown", event => {
    if (!(event.key in TURNS) || !plot.layout) return;
    event.preventDefault();
    const eye = turned(plot.layout.scene.camera.eye, TURNS[event.key]);
    Plotly.relayout(plot, { "scene.camera.eye": eye });
  });
}

// --- contents: where the reader is

const links = new Map();
for (const link of document.querySelectorAll("nav a")) links.set(link.hash.slice(1), link);
const contents = document.querySelector("nav details");
contents.open = matchMedia("(min-width: 1000px)").matches;
matchMedia("(min-width: 1000px)").addEventListener("change", event => { contents.open = event.matches; });
const headings = [...document.querySelectorAll("h2")];

function markCurrent() {
  let current = headings[0];
  for (const heading of headings) {
    if (heading.getBoundingClientRect().top < innerHeight / 3) current = heading;
  }
  for (const [anchor, link] of links) {
    link.setAttribute("aria-current", String(anchor === current.id));
  }
}
addEventListener("scroll", markCurrent, { passive: true });
markCurrent();

// --- print: in light colours, as wide as paper

let before = "";
addEventListener("beforeprint", () => {
  before = root.dataset.theme;
  while (waiting.length) draw(waiting.shift());
  useTheme("light");
  for (const fold of document.querySelectorAll("nav details")) fold.open = false;
  for (const plot of document.querySelectorAll(".plot")) Plotly.relayout(plot, { width: 660 });
});
addEventListener("afterprint", () => {
  useTheme(before);
  contents.open = matchMedia("(min-width: 1000px)").matches;
  for (const plot of document.querySelectorAll(".plot")) {
    Plotly.relayout(plot, { width: null, autosize: true });
  }
});
