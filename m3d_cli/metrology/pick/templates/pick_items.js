// The page's items in the form of a measurement file. Follows pick.js in the same script.
// A point is [u, v], or [u, v, side] at an edge; a measurement file takes sides only in points written as text.
function written(points) {
  if (points.every((p) => p.length === 2)) return points;
  return points.map((p) => `${p[0]},${p[1]}${p[2] ? `:${p[2]}` : ""}`).join(" ");
}
function common(item) {
  const one = {name: item.name, points: written(item.points), pick_sigma: item.pick_sigma};
  if (item.on) one.on = item.on;
  return one;
}
function asMeasure(item) {
  const one = {...common(item), kind: item.kind};
  if (item.second.length) one.second = written(item.second);
  if (item.unit) one.unit = item.unit;
  return one;
}
function asReference(item) {
  if (item.object) return {...common(item), object: item.object};
  const one = {...common(item), length: /[a-z]\s*$/i.test(item.length) ? item.length : `${item.length} ${unit}`};
  if (item.tolerance !== undefined) one.tolerance = item.tolerance;
  return one;
}
function isKnown(item) { return item.kind === "reference" && Boolean(item.object || item.length.trim()); }
function request() {
  const measure = items.filter((each) => each.kind !== "reference").map(asMeasure);
  const reference = items.filter(isKnown).map(asReference);
  const allowed = {allow_assumed_focal: $("allow").checked, allow_unknown_errors: Boolean(info && info.allow_unknown_errors)};
  return {unit, ...allowed, measure, reference};
}
