// Makes headings of tables into buttons that sort: a number's column from the largest, a name's from the first letter,
// then the other way round, then as it was. Kept free of the two signs that XML reads as its own.
"use strict";
(() => {
  const value = (row, column) => {
    const cell = row.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent.trim();
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
        const numeric = original.some((row) => "v" in row.cells[column].dataset);
        const turns = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
        const turn = turns[(turns.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        let rows = original;
        if (turn !== null) {
          head.setAttribute("aria-sort", turn);
          const sign = turn === "ascending" ? 1 : -1;
          const known = original.filter((row) => value(row, column) !== "");
          // What is not known stands last, whichever way.
          const unknown = original.filter((row) => value(row, column) === "");
          rows = known.sort((a, b) => sign * order(value(a, column), value(b, column))).concat(unknown);
        }
        body.append(...rows);
      });
    });
  }
})();
