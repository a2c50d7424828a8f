"use strict";
const told = JSON.parse(document.getElementById("told").textContent);
const made = (tag, text, kind) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
};
document.getElementById("name").textContent = told.name;
for (const one of told.findings) {
  document.getElementById("findings").append(made("li", one.severity + ": " + one.what + " \u2192 " + one.advice, one.severity));
}
const cell = (text) => /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
const save = (name, rows) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([rows.map((row) => row.map(cell).join(",") + "\n").join("")], {type: "text/csv"}));
  link.download = name;
  link.click();
};
const card = (one, lines) => {
  const node = made("div", undefined, "card"), label = made("label"), tick = made("input");
  tick.type = "checkbox";
  tick.checked = true;
  tick.addEventListener("change", () => node.classList.toggle("off", !tick.checked));
  const shown = made(one.image ? "img" : "div", undefined, one.image ? "" : "none");
  if (one.image) { shown.src = one.image; shown.alt = ""; }
  label.append(tick, " ", one.path);
  node.append(shown, label, ...lines);
  return {node, tick};
};
const show = (list, header, lines, row) => {
  const section = document.getElementById(list), entries = told[list];
  section.hidden = !entries.length;
  const cards = entries.map((one) => { const more = lines(one); return {one, more, ...card(one, more)}; });
  section.querySelector(".grid").append(...cards.map(({node}) => node));
  section.querySelector("button").addEventListener("click", () =>
    save(list + ".csv", [header, ...cards.filter(({tick}) => tick.checked).map(({one, more}) => row(one, more))]));
};
show("exclude", ["path", "why"], (one) => [made("div", one.why, "quiet")], (one) => [one.path, one.why]);
show("relabel", ["path", "label", "was", "share"], (one) => {
  const chosen = made("select");
  for (const name of told.classes) chosen.append(made("option", name));
  chosen.value = one.label;
  return [made("div", one.was + "? \u2192"), chosen, made("div", "as " + one.share + " of its neighbours", "quiet")];
}, (one, more) => [one.path, more[1].value, one.was, one.share]);
