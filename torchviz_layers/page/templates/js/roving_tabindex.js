// A group of elements is one stop of the Tab key; the arrow keys move inside it ("roving tabindex" of the ARIA practices).

/**
 * Let the arrow keys move the focus. At the end of a row, Left and Right continue in the next one. Home and End go to the
 * ends of the row, with Ctrl to those of all rows. In a single row, Up and Down move, too.
 * @param {HTMLElement} host
 * @param {() => any[][]} rows its elements as they are shown now, row by row
 * @param {(element: any) => void} [arrived] called with the element that a key moved to
 * @param {() => any[]} [all] its elements in order, where rows take long to find
 * @returns {(element?: any) => void} makes an element the stop, by default the first; call it when the elements change
 */
export function rovingTabindex(host, rows, arrived = () => {}, all = () => rows().flat()) {
  const stopAt = (element = all()[0]) => {
    for (const other of all()) other.setAttribute("tabindex", other === element ? "0" : "-1");
  };
  const elementOf = (event) => all().find((element) => element.contains(event.target));
  host.addEventListener("focusin", (event) => elementOf(event) && stopAt(elementOf(event)));
  host.addEventListener("keydown", (event) => {
    const from = elementOf(event);
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

/** The element that a key moves to; undefined if the key does not move. */
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
