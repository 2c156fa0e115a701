"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = table.tBodies[0];
    const keyOf = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
    const isNumber = head.classList.contains("num");
    const compare = (a, b) => isNumber
      ? (a === "" ? Infinity : Number(a)) - (b === "" ? Infinity : Number(b))
      : a.localeCompare(b, undefined, {numeric: true});
    const rows = [...body.rows].map((row, place) => [keyOf(row), place, row]);
    rows.sort((a, b) => (compare(a[0], b[0]) || 0) * (up ? 1 : -1) || a[1] - b[1]);
    body.append(...rows.map((each) => each[2]));
  }));
}
