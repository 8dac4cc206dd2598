// `POST /v1/feedback` as it would be written for Node.js: the AWS SDK v3, with the client made when the
// module is loaded. It checks the key, validates, and stores the same item as `functions/create`.

import { randomBytes } from "node:crypto";

import { DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";

import { Invalid, parse } from "./feedback.js";
import { Keyring } from "./keys.js";

const SHARDS = 8;

const dynamodb = new DynamoDBClient({});
const keyring = new Keyring(dynamodb, process.env.API_KEYS_TABLE);

export async function handler(event) {
  const { requestId } = event.requestContext;
  const now = Date.now();
  const record = await keyring.verify(credential(event.headers), now);
  if (!record) {
    const message = "a valid API key is required, in x-portkey-api-key or as Authorization: Bearer";
    return refused(requestId, 401, "AB05", message);
  }
  if (!record.scopes.some((scope) => scope === "write" || scope === "admin")) {
    const message = "this API key lacks the scope write, which this call needs";
    return refused(requestId, 403, "AB03", message);
  }
  let feedback;
  try {
    feedback = parse(textOf(event));
  } catch (error) {
    if (!(error instanceof Invalid)) {
      throw error;
    }
    return refused(requestId, 400, "AB01", error.message, error.message.split(":")[0]);
  }
  const id = uuid7(now);
  await dynamodb.send(
    new PutItemCommand({
      TableName: process.env.FEEDBACK_TABLE,
      Item: item(record.workspace, id, feedback, now),
      ConditionExpression: "attribute_not_exists(pk)",
    }),
  );
  const body = { status: "success", message: "Feedback successfully saved", feedback_ids: [id] };
  return answer(requestId, 200, body, { etag: '"1"' });
}

// A non-empty `x-portkey-api-key`, or else the bearer token.
function credential(headers) {
  const key = headers["x-portkey-api-key"]?.trim();
  if (key) {
    return key;
  }
  return /^bearer (.*)$/i.exec(headers.authorization?.trim() ?? "")?.[1].trim() ?? "";
}

function textOf(event) {
  return Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8").toString();
}

// A UUIDv7 of this moment; node:crypto makes version 4 only.
function uuid7(now) {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(now, 0, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function item(workspace, id, feedback, now) {
  const shard = parseInt(id.slice(-2), 16) % SHARDS;
  const trace = feedback.traceId;
  const escaped = trace.replaceAll("%", "%25").replaceAll("#", "%23");
  const attributes = {
    pk: { S: `${escaped}#` },
    sk: { S: `${workspace}#${id}` },
    id: { S: id },
    time_key: { S: `${workspace}#${shard}` },
    trace_key: { S: `${workspace}#${trace}` },
    value: { N: String(feedback.value) },
    weight: { S: String(feedback.weight) },
    updated_at: { N: String(now) },
    version: { N: "1" },
    schema: { N: "1" },
  };
  if (feedback.metadata) {
    attributes.metadata = { S: feedback.metadata.json };
    for (const [name, value] of feedback.metadata.indexed) {
      attributes[`${name}_key`] = { S: `${workspace}#${shard}#${value}` };
    }
  }
  return attributes;
}

function refused(requestId, status, code, message, param = null) {
  const body = {
    status: "failure",
    success: false,
    message,
    error: { message, code, param },
    data: { message, errorCode: code },
  };
  return answer(requestId, status, body, status === 401 ? { "www-authenticate": "Bearer" } : {});
}

function answer(requestId, statusCode, body, headers) {
  return {
    statusCode,
    headers: {
      "content-type": "application/json",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "x-request-id": requestId,
      ...headers,
    },
    body: JSON.stringify(body),
    isBase64Encoded: false,
  };
}
