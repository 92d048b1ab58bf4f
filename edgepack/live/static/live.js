"use strict";
// Shows the state that the event stream sends. Every text goes in as text, never as markup.
const byId = (id) => document.getElementById(id);
const element = (name, text = "", kind = "") => {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
const amount = (value) => (value >= 1e6 ? `${(value / 1e6).toFixed(1)} M` : String(Math.round(value)));

function progress(device) {
  const cell = element("td");
  if (device.failed) {
    cell.append(element("span", device.failed, "failed"));
  } else if (device.total) {
    const bar = element("progress");
    bar.max = device.total;
    bar.value = Math.min(device.done ?? 0, device.total);
    bar.setAttribute("aria-label", `${device.name}: ${device.stage}`);
    cell.append(bar, `${amount(device.done ?? 0)} of ${amount(device.total)}`);
  } else {
    cell.textContent = device.message;
  }
  return cell;
}

const three = (value) => value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
const time = (us) => (us >= 999.5 ? `${three(us / 1000)} ms` : `${three(us)} µs`);

function trace(values) {
  const svg = (name) => document.createElementNS("http://www.w3.org/2000/svg", name);
  const picture = svg("svg");
  picture.setAttribute("viewBox", "-1 -1 82 20");
  picture.setAttribute("aria-hidden", "true");
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (at) => (80 * at) / Math.max(values.length - 1, 1);
  const y = (us) => (high > low ? 18 - (18 * (us - low)) / (high - low) : 9);
  const line = svg("polyline");
  line.setAttribute("points", values.map((us, at) => `${x(at)},${y(us)}`).join(" "));
  picture.append(line);
  return picture;
}

function measured(device) {
  const cell = element("td");
  for (const name of new Set([...Object.keys(device.samples), ...device.measured])) {
    const found = device.samples[name];
    const said = found ? `${time(found.us.at(-1))}, ${found.rounds} round${found.rounds === 1 ? "" : "s"}` : "";
    const line = element("div", "", "samples");
    line.append(element("span", device.measured.includes(name) ? `${name} ✓` : name, "name"), said);
    if (found) line.append(trace(found.us));
    cell.append(line);
  }
  return cell;
}

function row(device) {
  const made = element("tr");
  const head = element("th", device.name);
  head.scope = "row";
  made.append(head, element("td", device.stage), element("td", device.variant), progress(device), measured(device));
  return made;
}

function line(entry) {
  const where = entry.where ? `[${entry.where}] ` : "";
  return element("li", `${entry.at.toFixed(1)} s  ${where}${entry.message}`, entry.kind);
}

function filter() {
  const wanted = byId("filter").value.toLowerCase();
  for (const item of byId("lines").children) {
    item.hidden = !item.textContent.toLowerCase().includes(wanted);
  }
}

function show(state) {
  byId("title").textContent = state.title;
  byId("status").textContent = state.ended ?? `running for ${Math.round(state.seconds)} s`;
  byId("devices").replaceChildren(...state.devices.map(row));
  byId("lines").replaceChildren(...state.lines.toReversed().map(line));
  filter();
}

byId("filter").addEventListener("input", filter);
const stream = new EventSource("events");
stream.addEventListener("message", (event) => {
  const state = JSON.parse(event.data);
  show(state);
  if (state.ended !== null) stream.close();
});
stream.addEventListener("error", () => {
  if (stream.readyState === EventSource.CLOSED) return;
  stream.close(); // the run, and its server, are gone: asking again would find nobody
  byId("status").textContent = "The run has ended, or was broken off.";
});
