// Rings around the sample that is shown, and smaller ones around its neighbours in a layer.

import { columns, state, visible } from "./state.js";
import { soon } from "./frames.js";
import { PANEL, whenSeen } from "./panel_sight.js";
import { coordinates, drawn, maps, models, stageCoordinates } from "./maps.js";

const RING = { own: 15, near: 6 }; // diameters in pixels

export function showRings() {
  ring(models["ring-stage"], stageCoordinates(), state.stage);
  // Those in the panels in the frames that follow: the reader looks at what is under the pointer.
  for (const k of drawn) if (models[`ring-${k}`]) whenSeen(k, "ring", () => soon(`ring ${k}`, PANEL, () => ringInPanel(k)));
}

const ringInPanel = (k) => ring(models[`ring-${k}`], coordinates(k), k);

/** Draw a ring around the sample shown and smaller ones around its visible neighbours in a layer. */
export function ring(source, [xs, ys], layer) {
  const { sample } = state;
  const { sampleOf, rowOf } = maps;
  const rows = sample === null || !visible[sample] ? [] : [rowOf[sample]];
  const near = columns[`near-${layer}`];
  if (near && rows.length) {
    const count = near.shape[1];
    for (let k = sample * count; k < (sample + 1) * count; k++) if (visible[near[k]]) rows.push(rowOf[near[k]]);
  }
  const embedded = rows.filter((row) => !Number.isNaN(xs[row]));
  const own = (row) => sampleOf[row] === sample;
  source.data = {
    x: embedded.map((row) => xs[row]),
    y: embedded.map((row) => ys[row]),
    size: embedded.map((row) => (own(row) ? RING.own : RING.near)),
    width: embedded.map((row) => (own(row) ? 1.8 : 0.9)),
  };
}
