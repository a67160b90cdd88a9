// Makes elements without HTML strings, so that a name in the data can only become text.

/**
 * Make an element. Properties that start with "on" become listeners, "class", "role" and names with a hyphen become attributes.
 * @param {string} tag @param {Record<string, any>} [properties] @param {...(Node | string | null)} children
 * @returns {any}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class" || name === "role" || name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Make an SVG element. @param {string} tag @param {Record<string, any>} attributes @param {...(Node | string)} children @returns {any} */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/**
 * A name in two parts: the first is cut short where there is no room, the end always stays: the last part of a path, in
 * which the layers of a network differ. @param {string} name
 */
export function shortened(name) {
  if (name.length <= 7) return [h("span", {}, name)];
  const separator = Math.max(name.lastIndexOf("/"), name.lastIndexOf("."));
  const end = separator < 0 ? 5 : Math.min(10, Math.max(5, name.length - separator));
  return [h("span", {}, name.slice(0, -end)), h("span", {}, name.slice(-end))];
}

/** @param {string} id @returns {any} */
export const $ = (id) => document.getElementById(id);

/** @param {number} share @param {number} [digits] */
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;

const inGroups = new Intl.NumberFormat("en-US");

/** @param {number} count */
export const grouped = (count) => inGroups.format(count);
