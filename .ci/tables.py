"""Makes the tables of template.yaml in a DynamoDB at an endpoint, as CloudFormation does in an account.

    AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8000 python .ci/tables.py

They have the names that the functions' processes are told on one machine. What is not of a table
itself (backups, protection, tags) is left out; so is the time to live, since DynamoDB Local would
sweep by it while the suites look.
"""

import os
import sys

import boto3
from stack import Stack

NAMES = {
    "FeedbackTable": "feedback",
    "IdempotencyTable": "idempotency",
    "ApiKeysTable": "api-keys",
    "StatsTable": "stats",
    "SessionsTable": "sessions",
}


def main():
    dynamodb = boto3.client(
        "dynamodb",
        endpoint_url=os.environ["AWS_ENDPOINT_URL_DYNAMODB"],
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    tables = Stack().of("AWS::DynamoDB::Table")
    if set(tables) != set(NAMES):
        print(f"template.yaml has the tables {sorted(tables)}, expected {sorted(NAMES)}", file=sys.stderr)
        return 1
    for name, table in tables.items():
        asked = {
            key: table[key]
            for key in ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode")
            if key in table
        }
        if "StreamSpecification" in table:
            asked["StreamSpecification"] = {"StreamEnabled": True, **table["StreamSpecification"]}
        dynamodb.create_table(TableName=NAMES[name], **asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
