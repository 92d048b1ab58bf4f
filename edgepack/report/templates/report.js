"use strict";
// Sorting: a click on a heading (or Enter or Space on it) sorts its table by that column.
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const body = heading.closest("table").tBodies[0];
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = Array.from(body.rows, (row) => [row.cells[heading.cellIndex].dataset.value, row]);
    rows.sort(([a, rowA], [b, rowB]) => {
      if (a === "" || b === "") return (a === "") - (b === ""); // what is missing comes last
      const numbers = Number(a) - Number(b);
      const order = Number.isNaN(numbers) ? a.localeCompare(b) : numbers;
      return (descending ? -order : order) || rowA.dataset.position - rowB.dataset.position;
    });
    body.append(...rows.map(([, row]) => row));
  });
}

// Filtering: rows of the comparison tables whose text holds every word that is typed.
const filter = document.getElementById("filter");
const front = document.getElementById("front");
const rows = Array.from(document.querySelectorAll(".comparison tbody tr"));
function show() {
  const words = filter.value.toLowerCase().split(/\s+/);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word)) ||
      (front.checked && row.dataset.front !== "yes");
    shown += !row.hidden;
  }
  const all = !front.checked && filter.value.trim() === "";
  document.getElementById("shown").textContent = all ? "" : `${shown} of ${rows.length} rows`;
}
filter.addEventListener("input", show);
front.addEventListener("change", show);
filter.form.addEventListener("submit", (event) => event.preventDefault());
