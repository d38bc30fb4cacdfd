// Sorts the tables by a click on a column's heading and filters their rows; without it the page is whole, in the order
// of the model. Text of the page is only ever compared, never taken for markup.
(function () {
  "use strict";
  var tables = Array.prototype.slice.call(document.querySelectorAll("table[data-rows]"));

  // 1.2e-3, ≥ 4, <0.1%, 3 of 4, 72.8 ± 1.4: the first number of a cell; not computed comes last in both directions.
  function number(text) {
    var digits = /[-−+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?/i.exec(text);
    return digits ? parseFloat(digits[0].replace("−", "-")) : NaN;
  }

  function value(row, column, numeric) {
    var text = row.cells[column].textContent.trim();
    if (text === "-" || text === "") return null;
    if (!numeric) return text.toLowerCase();
    var parsed = /^[-−+]?inf/.test(text) ? (/^[-−]/.test(text) ? -Infinity : Infinity) : number(text);
    return isNaN(parsed) ? null : parsed;
  }

  function compare(a, b) {
    if (typeof a === "string") return a.localeCompare(b, undefined, { numeric: true });
    return a < b ? -1 : a > b ? 1 : 0;
  }

  // A click sorts, the largest number first; a second one the other way round; a third one as in the model.
  function sort(table, heading, column) {
    var numeric = heading.classList.contains("number");
    var first = numeric ? "descending" : "ascending";
    var second = numeric ? "ascending" : "descending";
    var before = heading.getAttribute("aria-sort");
    var order = before === first ? second : before === second ? "" : first;
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (cell) { cell.removeAttribute("aria-sort"); });
    if (order) heading.setAttribute("aria-sort", order);
    var sign = order === "descending" ? -1 : 1;
    var rows = Array.prototype.map.call(table.tBodies[0].rows, function (row) {
      return { row: row, place: Number(row.dataset.place), value: order ? value(row, column, numeric) : null };
    });
    rows.sort(function (a, b) {
      if ((a.value === null) !== (b.value === null)) return a.value === null ? 1 : -1;
      return (a.value === null ? 0 : sign * compare(a.value, b.value)) || a.place - b.place;
    });
    rows.forEach(function (one) { table.tBodies[0].appendChild(one.row); });
  }

  tables.forEach(function (table) {
    Array.prototype.forEach.call(table.tBodies[0].rows, function (row, place) { row.dataset.place = place; });
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (heading, column) {
      if (!heading.textContent) return;
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      button.title = "sort by this column";
      heading.textContent = "";
      heading.appendChild(button);
      button.addEventListener("click", function () { sort(table, heading, column); });
    });
  });

  var tools = document.getElementById("tools");
  var field = document.getElementById("filter");
  var count = document.getElementById("count");
  if (tools && field && tables.some(function (table) { return table.tBodies[0].rows.length > 1; })) {
    tools.hidden = false;
    field.addEventListener("input", function () {
      var words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      var left = 0, all = 0;
      tables.forEach(function (table) {
        Array.prototype.forEach.call(table.tBodies[0].rows, function (row) {
          var name = row.cells[0].textContent.toLowerCase();
          row.hidden = !words.every(function (word) { return name.indexOf(word) >= 0; });
          all += 1;
          left += row.hidden ? 0 : 1;
        });
      });
      count.textContent = words.length ? left + " of " + all + " rows" : "";
    });
  }

  // What is folded up would be missing on paper.
  window.addEventListener("beforeprint", function () {
    Array.prototype.forEach.call(document.querySelectorAll("details"), function (one) { one.open = true; });
  });
})();
