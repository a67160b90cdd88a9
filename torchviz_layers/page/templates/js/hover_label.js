// Body of a Bokeh function: `value` is the sample's row, `predicted` and `truth` its classes (-1: unknown), `values` its target
// where that is not a class.
const parts = [`#${value}`];
if (predicted[value] >= 0) parts.push(names[predicted[value]]);
if (truth[value] >= 0) parts.push(predicted[value] >= 0 ? `(true: ${names[truth[value]]})` : names[truth[value]]);
if (values.length) parts.push(String(Number(values[value].toPrecision(6))));
return parts.join(" ");
