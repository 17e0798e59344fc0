"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  // Charts. "ast" has Vega interpret its expressions: the page's policy forbids making code from text.
  const options = {
    actions: false,
    ast: true,
    renderer: "svg",
    defaultStyle: false,
    config: data.config,
    tooltip: { disableDefaultStyle: true },
  };

  // The charts' library lies in the page packed. Its text gets a script element, which the policy knows by hash.
  const loadLibrary = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (c) => c.charCodeAt(0));
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
  };

  const draw = async (chart, place) => {
    const values = chart.rows.map((row) => Object.fromEntries(row.map((value, i) => [chart.fields[i], value])));
    const spec = { ...data.specs[chart.spec], data: { values }, description: chart.description };
    await vegaEmbed(place, spec, options);
    place.setAttribute("data-state", "drawn");
  };

  const fail = (place, error) => {
    const words = document.createElement("p");
    words.className = "failed";
    words.textContent = `This chart could not be drawn: ${error.message}`;
    place.replaceChildren(words);
    place.setAttribute("data-state", "failed");
  };

  const drawAll = async () => {
    const library = loadLibrary();
    const places = data.charts.map((_, number) => document.getElementById(`chart-${number + 1}`));
    await Promise.all(
      data.charts.map((chart, number) =>
        library.then(() => draw(chart, places[number])).catch((error) => fail(places[number], error)),
      ),
    );
    document.body.setAttribute("data-charts", "done");
  };

  drawAll();

  // Tables: a click on a column's title sorts by it, a second one turns the order.
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent.trim() : Number(cell.dataset.v);
  };

  const compare = (a, b) => {
    const numbers = [a, b].filter((value) => typeof value === "number").length;
    if (numbers === 2) return a - b;
    return numbers === 1 ? 0 : a.localeCompare(b, undefined, { numeric: true });
  };

  const sort = (button) => {
    const head = button.closest("th");
    const body = head.closest("table").tBodies[0];
    const isNumber = head.classList.contains("number");
    const before = head.getAttribute("aria-sort");
    // Numbers: the largest first, which is what is looked for.
    const order = before ? (before === "ascending" ? "descending" : "ascending") : isNumber ? "descending" : "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row) => [key(row, head.cellIndex), row]);
    // Rows without a number stay at the end, whichever the order.
    const isEmpty = (value) => isNumber && typeof value !== "number";
    rows.sort(([a], [b]) => isEmpty(a) - isEmpty(b) || sign * compare(a, b));
    body.append(...rows.map(([, row]) => row));
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("th button");
    if (button) sort(button);
  });

  // Print shows the folded tables that fit on a page.
  const longest = 40;
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")].filter(
      (details) => details.querySelectorAll("tbody tr").length <= longest,
    );
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
})();
