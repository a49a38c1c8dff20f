"use strict";
// What a reader takes away: tables that sort and can be copied, figures as SVG and their data as CSV; folded parts open when needed.
(() => {
  const button = (parent, text, label, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    parent.append(made, " ");
    return made;
  };
  const save = (content, kind, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], {type: kind}));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // Figures: what is packed in the page is unpacked here, nothing is fetched.
  const packed = JSON.parse(document.getElementById("downloads").textContent);
  const unpacked = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).blob();
  };
  for (const place of document.querySelectorAll("[data-figure]")) {
    const name = place.dataset.figure, kinds = {svg: "image/svg+xml", csv: "text/csv"};
    for (const kind in packed[name] || {}) {
      button(place, kind.toUpperCase(), `Download ${name} as ${kind.toUpperCase()}`, async () =>
        save(await unpacked(packed[name][kind]), kinds[kind], `${name}.${kind}`));
    }
  }

  // Tables: sorted by a column, in groups where rows have headings; copied as tab-separated text, saved as CSV.
  const cells = (row) => [...row.cells].map((cell) => cell.textContent.trim());
  for (const place of document.querySelectorAll("[data-table]")) {
    const name = place.dataset.table, heading = document.getElementById(name), table = place.parentElement.querySelector(`[aria-labelledby="${name}"] table`);
    const rows = () => [...table.rows].map(cells);
    const copy = button(place, "Copy", `Copy the table ${heading.textContent}`, async () => {
      await navigator.clipboard.writeText(rows().map((row) => row.join("\t")).join("\n"));
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    });
    if (!navigator.clipboard) copy.remove();
    const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    button(place, "CSV", `Download the table ${heading.textContent} as CSV`, () =>
      save(rows().map((row) => row.map(quoted).join(",")).join("\n") + "\n", "text/csv", `${name}.csv`));
    [...table.tHead.rows[0].cells].forEach((head, k) => {
      const text = head.textContent;
      head.textContent = "";
      const sorter = document.createElement("button");
      sorter.type = "button";
      sorter.className = "sort";
      sorter.textContent = text || "name";
      head.append(sorter);
      sorter.addEventListener("click", () => sort(table, head, k));
    });
  }
  function sort(table, head, k) {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.cells[k] ? row.cells[k].textContent.trim() : "", number = (text) => (text === "" ? NaN : Number(text.replace("−", "-").split(/[ ±]/)[0]));
    const before = (p, q) => {
      const a = number(key(p)), b = number(key(q)), both = !Number.isNaN(a) && !Number.isNaN(b);
      const order = both ? a - b : Number.isNaN(a) !== Number.isNaN(b) ? (Number.isNaN(a) ? 1 : -1) : key(p).localeCompare(key(q));
      return both || Number.isNaN(a) === Number.isNaN(b) ? (up ? order : -order) : order;  // what is no number comes last
    };
    const body = table.tBodies[0], groups = [[]];
    for (const row of [...body.rows]) {
      if (row.classList.contains("group")) groups.push([row]);
      else groups.at(-1).push(row);
    }
    for (const group of groups) {
      const first = group[0] && group[0].classList.contains("group") ? [group[0]] : [];
      body.append(...first, ...group.slice(first.length).sort(before));
    }
  }

  // Folded parts open for a link into them, and on paper.
  const reveal = () => {
    const wanted = location.hash && document.getElementById(location.hash.slice(1));  // anchors hold letters, digits, _ and -
    const fold = wanted && wanted.closest("details");
    if (fold && !fold.open) { fold.open = true; wanted.scrollIntoView(); }
  };
  addEventListener("hashchange", reveal);
  reveal();
  let closed = [];
  addEventListener("beforeprint", () => { closed = [...document.querySelectorAll("details:not([open])")]; for (const fold of closed) fold.open = true; });
  addEventListener("afterprint", () => { for (const fold of closed) fold.open = false; });
})();
