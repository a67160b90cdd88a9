// Body of a function of Bokeh's: `value` is the sample's row, `said` and `truth` its classes (-1: unknown), `values` its target where
// that is no class.
const parts = [`#${value}`];
if (said[value] >= 0) parts.push(names[said[value]]);
if (truth[value] >= 0) parts.push(said[value] >= 0 ? `(true: ${names[truth[value]]})` : names[truth[value]]);
if (values.length) parts.push(String(Number(values[value].toPrecision(6))));
return parts.join(" ");
