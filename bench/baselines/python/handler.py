"""`POST /v1/feedback` as it would be written in Python: boto3, with the client made at import.

It checks the key, validates, and stores the same item as `functions/create`.
"""

import base64
import json
import os
import time

import boto3

import keys
from feedback import Invalid, parse

SHARDS = 8

FEEDBACK_TABLE = os.environ["FEEDBACK_TABLE"]
dynamodb = boto3.client("dynamodb", region_name=os.environ["AWS_REGION"])
keyring = keys.Keyring(dynamodb, os.environ["API_KEYS_TABLE"])


def handler(event, context):
    request_id = event["requestContext"]["requestId"]
    now = time.time_ns() // 1_000_000
    record = keyring.verify(credential(event["headers"]), now)
    if record is None:
        message = "a valid API key is required, in x-portkey-api-key or as Authorization: Bearer"
        return refused(request_id, 401, "AB05", message)
    if not {"write", "admin"} & record["scopes"]:
        message = "this API key lacks the scope write, which this call needs"
        return refused(request_id, 403, "AB03", message)
    try:
        feedback = parse(text_of(event))
    except Invalid as invalid:
        message = str(invalid)
        return refused(request_id, 400, "AB01", message, message.partition(":")[0])
    feedback_id = uuid7(now)
    dynamodb.put_item(
        TableName=FEEDBACK_TABLE,
        Item=item(record["workspace"], feedback_id, feedback, now),
        ConditionExpression="attribute_not_exists(pk)",
    )
    body = {
        "status": "success",
        "message": "Feedback successfully saved",
        "feedback_ids": [feedback_id],
    }
    return answer(request_id, 200, body, {"etag": '"1"'})


def credential(headers):
    """A non-empty `x-portkey-api-key`, or else the bearer token."""
    key = headers.get("x-portkey-api-key", "").strip()
    if key:
        return key
    scheme, _, key = headers.get("authorization", "").strip().partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def text_of(event):
    body = event.get("body") or ""
    octets = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    return octets.decode()


def uuid7(now):
    """A UUIDv7 of this moment; the standard library has them from Python 3.14 on."""
    octets = bytearray(now.to_bytes(6, "big") + os.urandom(10))
    octets[6] = octets[6] & 0x0F | 0x70
    octets[8] = octets[8] & 0x3F | 0x80
    digits = octets.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def item(workspace, feedback_id, feedback, now):
    shard = int(feedback_id[-2:], 16) % SHARDS
    trace = feedback.trace_id
    escaped = trace.replace("%", "%25").replace("#", "%23")
    attributes = {
        "pk": {"S": f"{escaped}#"},
        "sk": {"S": f"{workspace}#{feedback_id}"},
        "id": {"S": feedback_id},
        "time_key": {"S": f"{workspace}#{shard}"},
        "trace_key": {"S": f"{workspace}#{trace}"},
        "value": {"N": str(feedback.value)},
        "weight": {"S": feedback.weight},
        "updated_at": {"N": str(now)},
        "version": {"N": "1"},
        "schema": {"N": "1"},
    }
    if feedback.metadata is not None:
        attributes["metadata"] = {"S": feedback.metadata}
        for name, value in feedback.indexed.items():
            attributes[f"{name}_key"] = {"S": f"{workspace}#{shard}#{value}"}
    return attributes


def refused(request_id, status, code, message, param=None):
    body = {
        "status": "failure",
        "success": False,
        "message": message,
        "error": {"message": message, "code": code, "param": param},
        "data": {"message": message, "errorCode": code},
    }
    return answer(request_id, status, body, {"www-authenticate": "Bearer"} if status == 401 else {})


def answer(request_id, status, body, headers):
    return {
        "statusCode": status,
        "headers": {
            "content-type": "application/json",
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "x-request-id": request_id,
            **headers,
        },
        "body": json.dumps(body, separators=(",", ":"), ensure_ascii=False),
        "isBase64Encoded": False,
    }
