// API keys: `hsk_{id}_{secret}{checksum}`, looked up by their id, remembered for a minute.

import { createHash, timingSafeEqual } from "node:crypto";

import { GetItemCommand } from "@aws-sdk/client-dynamodb";

const KEY = /^(hsk_([0-9a-f]{16})_([0-9a-f]{64}))([0-9a-f]{8})$/;
const REMEMBERED = 60_000;
const MOST = 1024;

const sha256 = (data) => createHash("sha256").update(data).digest();

export class Keyring {
  #dynamodb;
  #table;
  #memory = new Map();

  constructor(dynamodb, table) {
    this.#dynamodb = dynamodb;
    this.#table = table;
  }

  // The record of a key that is valid at `now`, in milliseconds; undefined of any other.
  async verify(text, now) {
    const match = KEY.exec(text);
    if (!match) {
      return undefined;
    }
    const [, signed, id, secret, checksum] = match;
    if (sha256(signed).toString("hex", 0, 4) !== checksum) {
      return undefined;
    }
    const record = await this.#find(id, now);
    if (!record) {
      return undefined;
    }
    const matches = timingSafeEqual(sha256(Buffer.from(secret, "hex")), record.hash);
    const valid = !record.revoked && now < record.expiresAt;
    return matches && valid ? record : undefined;
  }

  async #find(id, now) {
    const known = this.#memory.get(id);
    if (known && known.since <= now && now - known.since < REMEMBERED) {
      return known.record;
    }
    const { Item } = await this.#dynamodb.send(
      new GetItemCommand({ TableName: this.#table, Key: { id: { S: id } }, ConsistentRead: true }),
    );
    const record = Item && {
      workspace: Item.workspace.S,
      scopes: Item.scopes.SS,
      hash: Item.hash.B,
      expiresAt: Item.expires_at ? Number(Item.expires_at.N) : Infinity,
      revoked: Item.revoked_at !== undefined,
    };
    if (this.#memory.size >= MOST) {
      this.#memory.clear();
    }
    this.#memory.set(id, { since: now, record });
    return record;
  }
}
