// The body of a create, by the rules that take time: JSON, three ranges, and the fields that are indexed,
// which are the members of metadata that begin with an underscore.

export class Invalid extends Error {}

// Reads a body. Throws Invalid with a message for the caller.
export function parse(text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new Invalid(`body: invalid: ${error.message}`);
  }
  const { trace_id: traceId, value, weight = 1, metadata } = body ?? {};
  const isObject = (thing) => typeof thing === "object" && thing !== null && !Array.isArray(thing);
  if (typeof traceId !== "string" || !within(Buffer.byteLength(traceId), 1, 512)) {
    throw new Invalid("trace_id: expected 1 to 512 bytes");
  }
  if (!Number.isInteger(value) || !within(value, -10, 10)) {
    throw new Invalid("value: expected an integer from -10 to 10");
  }
  if (typeof weight !== "number" || !within(weight, 0, 1)) {
    throw new Invalid("weight: expected a number from 0 to 1");
  }
  if (metadata === undefined || metadata === null) {
    return { traceId, value, weight, metadata: null };
  }
  if (!isObject(metadata)) {
    throw new Invalid("metadata: expected a JSON object");
  }
  const indexed = Object.entries(metadata)
    .filter(([name, member]) => name.startsWith("_") && member !== "" && member !== null && typeof member !== "object")
    .map(([name, member]) => [name.slice(1), String(member)]);
  return { traceId, value, weight, metadata: { json: JSON.stringify(metadata), indexed } };
}

function within(number, least, most) {
  return least <= number && number <= most;
}
