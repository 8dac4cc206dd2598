// The body of a create: what it may hold, and everything that is wrong with it.

const MAX_METADATA = 64 * 1024;
const MAX_INDEXED = 512;
const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;
const INDEXED = ["user", "organisation", "prompt", "environment"];

const TRACE_ID = "a string of 1 to 512 bytes";
const VALUE = "an integer from -10 to 10";
const WEIGHT = "a number from 0 to 1";
const METADATA = "a JSON object, or a string that holds one";

export class Invalid extends Error {
  constructor(faults) {
    super("invalid");
    this.faults = faults;
  }

  static of(field, rest, tooLarge = false) {
    return new Invalid([{ field, message: `${field} ${rest}`, tooLarge }]);
  }
}

// Reads a body. Throws Invalid with all faults.
export function parse(text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw Invalid.of("body", `must be JSON: ${error.message}`);
  }
  if (!isObject(body)) {
    throw Invalid.of("body", `must be a JSON object, got ${describe(body)}`);
  }
  const faults = [];
  const take = (read) => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof Invalid)) {
        throw error;
      }
      faults.push(...error.faults);
      return undefined;
    }
  };
  const required = (name, expected, read) =>
    take(() => {
      if (!Object.hasOwn(body, name)) {
        throw Invalid.of(name, `is required and must be ${expected}`);
      }
      const value = read(body[name]);
      if (value === undefined) {
        throw Invalid.of(name, `must be ${expected}, got ${got(body[name], expected)}`);
      }
      return value;
    });

  const has = (name) => Object.hasOwn(body, name) && body[name] !== null;
  const own = has("trace_id") || !has("traceID") ? required("trace_id", TRACE_ID, nameOf) : undefined;
  const alias = has("traceID") ? required("traceID", TRACE_ID, nameOf) : undefined;
  if (own !== undefined && alias !== undefined && own !== alias) {
    faults.push({ field: "traceID", message: "traceID must be the same as trace_id where both are given" });
  }
  const value = required("value", VALUE, vote);
  const weight = has("weight") ? required("weight", WEIGHT, share) : 1;
  const metadata = has("metadata") ? take(() => readMetadata(body.metadata)) : undefined;
  if (faults.length > 0) {
    throw new Invalid(faults);
  }
  return { traceId: own ?? alias, value, weight, metadata };
}

function nameOf(value) {
  return typeof value === "string" && value !== "" && Buffer.byteLength(value) <= 512 ? value : undefined;
}

function vote(value) {
  const given = number(value);
  return Number.isInteger(given) && given >= -10 && given <= 10 ? given : undefined;
}

function share(value) {
  const given = number(value);
  return given >= 0 && given <= 1 ? given : undefined;
}

// A number, or a string that holds nothing but one.
function number(value) {
  if (typeof value === "string" && NUMBER.test(value)) {
    return Number(value);
  }
  return typeof value === "number" ? value : undefined;
}

// Metadata as JSON text, and the values it is indexed by.
function readMetadata(given) {
  let json, metadata;
  if (typeof given === "string") {
    json = given.trim();
    try {
      metadata = JSON.parse(json);
    } catch {
      const size = Buffer.byteLength(given);
      throw Invalid.of("metadata", `must be ${METADATA}, got a string of ${size} bytes that is not JSON`);
    }
    if (!isObject(metadata)) {
      throw Invalid.of("metadata", `must be ${METADATA}, got a string that holds ${describe(metadata)}`);
    }
  } else if (isObject(given)) {
    metadata = given;
    json = JSON.stringify(given);
  } else {
    throw Invalid.of("metadata", `must be ${METADATA}, got ${describe(given)}`);
  }
  const size = Buffer.byteLength(json);
  if (size > MAX_METADATA) {
    throw Invalid.of("metadata", `must be at most ${MAX_METADATA} bytes of JSON, got ${size}`, true);
  }
  const indexed = [];
  const faults = [];
  for (const name of INDEXED) {
    const value = metadata[`_${name}`] ?? "";
    const text = String(value);
    if (typeof value === "object" || Buffer.byteLength(text) > MAX_INDEXED) {
      const field = `metadata._${name}`;
      const expected = `a string, number or boolean of at most ${MAX_INDEXED} bytes`;
      faults.push({ field, message: `${field} must be ${expected}, got ${describe(value)}` });
    } else if (text !== "") {
      indexed.push([name, text]);
    }
  }
  if (faults.length > 0) {
    throw new Invalid(faults);
  }
  return { json, indexed };
}

// What came. A score may be quoted, a short text at least.
function got(value, expected) {
  const isShort = typeof value === "string" && value !== "" && Buffer.byteLength(value) <= 16;
  return isShort && expected !== TRACE_ID ? `the string ${JSON.stringify(value)}` : describe(value);
}

// What came, for a message: of text only how much there was.
function describe(value) {
  if (typeof value === "string") {
    return value === "" ? "an empty string" : `a string of ${Buffer.byteLength(value)} bytes`;
  }
  if (Array.isArray(value)) {
    return "an array";
  }
  return isObject(value) ? "an object" : String(value);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
