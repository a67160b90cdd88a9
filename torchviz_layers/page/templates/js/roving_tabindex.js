// Many elements, one stop of the Tab key: the arrow keys walk among them (roving tabindex of the ARIA practices).

/**
 * Let the arrow keys walk. Left and Right pass from row to row at their ends; Home and End go to those of a row, with
 * Ctrl of all rows. A single row is walked with Up and Down, too.
 * @param {HTMLElement} host
 * @param {() => any[][]} rows its elements as they lie now, row by row
 * @param {(element: any) => void} [arrived] told of the element that a key led to
 * @returns {(element?: any) => void} to be called with new elements: makes one the stop, the first unless told
 */
export function rovingTabindex(host, rows, arrived = () => {}) {
  const stopAt = (element = rows()[0]?.[0]) => {
    for (const other of rows().flat()) other.setAttribute("tabindex", other === element ? "0" : "-1");
  };
  const here = (event) =>
    rows()
      .flat()
      .find((element) => element.contains(event.target));
  host.addEventListener("focusin", (event) => here(event) && stopAt(here(event)));
  host.addEventListener("keydown", (event) => {
    const from = here(event);
    const to = from && target(rows(), from, event);
    if (!to) return;
    event.preventDefault();
    event.stopPropagation(); // the queue listens to arrow keys, too
    to.focus();
    arrived(to);
  });
  stopAt();
  return stopAt;
}

/** Where a key leads from an element; undefined where it leads nowhere. */
function target(rows, from, { key, ctrlKey, altKey, metaKey }) {
  if (altKey || metaKey) return undefined;
  const all = rows.flat();
  const row = rows.findIndex((elements) => elements.includes(from));
  if (key === "Home" || key === "End") return (ctrlKey ? all : rows[row]).at(key === "Home" ? 0 : -1);
  if (ctrlKey) return undefined;
  const along = { ArrowLeft: -1, ArrowRight: 1 }[key] ?? (rows.length === 1 ? { ArrowUp: -1, ArrowDown: 1 }[key] : 0);
  if (along) return all[Math.min(all.length - 1, Math.max(0, all.indexOf(from) + along))];
  const across = { ArrowUp: -1, ArrowDown: 1 }[key];
  if (!across) return undefined;
  const next = rows[Math.min(rows.length - 1, Math.max(0, row + across))];
  return next[Math.min(next.length - 1, rows[row].indexOf(from))];
}
