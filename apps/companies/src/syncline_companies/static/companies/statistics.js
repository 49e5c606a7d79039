// Draws the page's charts from the data in it. Without this script the tables say the same.
"use strict";

const brief = new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Quarters are too many to name each: the first of a year bears the year.
function year(index) {
  const [name, quarter] = this.getLabelForValue(index).split(" ");
  return quarter === "Q1" ? name : "";
}

function options(lying) {
  const text = colour("--soft");
  const values = { beginAtZero: true, border: { display: false }, grid: { color: colour("--line") }, ticks: { color: text, precision: 0, maxTicksLimit: 6, callback: (value) => brief.format(value) } };
  const names = { border: { display: false }, grid: { display: false }, ticks: { color: text, autoSkip: false, maxRotation: 0, ...(lying ? {} : { callback: year }) } };
  return {
    indexAxis: lying ? "y" : "x",
    animation: false,
    maintainAspectRatio: false,
    scales: lying ? { x: values, y: names } : { x: names, y: values },
    plugins: {
      legend: { display: false },
      tooltip: { displayColors: false, callbacks: { label: (item) => `${item.dataset.label}: ${exact.format(item.raw)}` } },
    },
  };
}

function draw(id, { label, labels, values, lying = false }) {
  const canvas = document.getElementById(id);
  canvas.parentElement.hidden = false;
  canvas.closest("section").querySelector("details").open = false;
  const backgroundColor = colour(lying ? "--bar-lying" : "--bar");
  const dataset = { label, data: values, backgroundColor, borderRadius: 4, maxBarThickness: 26 };
  return new Chart(canvas, { type: "bar", data: { labels, datasets: [dataset] }, options: options(lying) });
}

const data = JSON.parse(document.getElementById("chart-data").textContent);
let drawn = [];

function drawAll() {
  drawn.forEach((chart) => chart.destroy());
  drawn = Object.entries(data).map(([id, chart]) => draw(id, chart));
}

Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
