// Makes headings of tables into buttons that sort: a number's column from the largest, a name's from the first letter,
// then the other way round, then as it was. Kept free of the two signs that XML reads as its own.
"use strict";
(() => {
  // What stands as text among numbers: 2,875 or 1.51x or 87 %.
  const NUMBER = /^[-+]?[\d,]*\.?\d+(e[-+]?\d+)?( ?[x%])?$/;
  const UNKNOWN = ["", "-", "?"];
  const value = (row, column) => {
    const cell = row.cells[column];
    if ("v" in cell.dataset) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    return NUMBER.test(text) ? Number.parseFloat(text.replaceAll(",", "")) : text;
  };
  const order = (a, b) =>
    typeof a === "number" ? (typeof b === "number" ? a - b : -1)
      : typeof b === "number" ? 1
        : a.localeCompare(b, "en", { numeric: true });

  for (const table of document.querySelectorAll("table.sorts")) {
    const body = table.tBodies[0];
    const original = Array.from(body.rows);
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach((head, column) => {
      if (head.textContent.trim() === "") return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const numeric = original.some((row) => typeof value(row, column) === "number");
        const turns = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
        const turn = turns[(turns.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        let rows = original;
        if (turn !== null) {
          head.setAttribute("aria-sort", turn);
          const sign = turn === "ascending" ? 1 : -1;
          const known = original.filter((row) => !UNKNOWN.includes(value(row, column)));
          // What is not known stands last, whichever way.
          const unknown = original.filter((row) => UNKNOWN.includes(value(row, column)));
          rows = known.sort((a, b) => sign * order(value(a, column), value(b, column))).concat(unknown);
        }
        body.append(...rows);
      });
    });
  }
})();
