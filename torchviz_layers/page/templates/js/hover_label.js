// Body of a Bokeh function: `value` is the sample's row, `predicted` and `truth` its classes (-1: unknown), `shares` the
// confidences in the predictions (empty: unknown), `values` its target where that is not a class.
const parts = [`#${value}`];
const [said, right] = [predicted[value], truth[value]];
if (said >= 0) parts.push(names[said]);
if (said >= 0 && shares.length) parts.push(`${Math.round(100 * shares[value])}%`);
if (right >= 0) parts.push(said >= 0 ? `(true: ${names[right]})` : names[right]);
if (said >= 0 && right >= 0 && said !== right) parts.push("✕");
if (values.length) parts.push(String(Number(values[value].toPrecision(6))));
return parts.join(" ");
