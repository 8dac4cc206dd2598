"""API keys: `hsk_{id}_{secret}{checksum}`, looked up by their id, remembered for a minute."""

import hashlib
import hmac
import re

KEY = re.compile(r"(hsk_([0-9a-f]{16})_([0-9a-f]{64}))([0-9a-f]{8})")
REMEMBERED = 60_000
MOST = 1024


class Keyring:
    def __init__(self, dynamodb, table):
        self.dynamodb = dynamodb
        self.table = table
        self.memory = {}

    def verify(self, text, now):
        """The record of a key that is valid at `now`, in milliseconds; None of any other."""
        match = KEY.fullmatch(text)
        if match is None:
            return None
        signed, key_id, secret, checksum = match.groups()
        if hashlib.sha256(signed.encode()).hexdigest()[:8] != checksum:
            return None
        record = self.find(key_id, now)
        if record is None:
            return None
        matches = hmac.compare_digest(hashlib.sha256(bytes.fromhex(secret)).digest(), record["hash"])
        valid = not record["revoked"] and (record["expires_at"] is None or now < record["expires_at"])
        return record if matches and valid else None

    def find(self, key_id, now):
        since, record = self.memory.get(key_id, (None, None))
        if since is not None and 0 <= now - since < REMEMBERED:
            return record
        found = self.dynamodb.get_item(TableName=self.table, Key={"id": {"S": key_id}}, ConsistentRead=True)
        record = read(found["Item"]) if "Item" in found else None
        if len(self.memory) >= MOST:
            self.memory.clear()
        self.memory[key_id] = (now, record)
        return record


def read(item):
    return {
        "workspace": item["workspace"]["S"],
        "scopes": set(item["scopes"]["SS"]),
        "hash": item["hash"]["B"],
        "expires_at": int(item["expires_at"]["N"]) if "expires_at" in item else None,
        "revoked": "revoked_at" in item,
    }
