"""The tests of the store against moto, as a second opinion of what DynamoDB does.

    python .ci/second_opinion.py

Each test has tables of its own in it. The embedded database and moto were written by different
people from the same documents: what holds over both is not one's own reading of them. What moto is
known to lack is listed below, with a probe that shows the lack without a line of this project's
code. A listed test that passes, or a probe that finds nothing lacking, fails the run as any other
test does: then the list is out of date.
"""

import logging
import os
import re
import subprocess
import sys

import boto3
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

MODULES = ("portkey", "truefoundry", "reads", "races", "headers", "isolation", "faults", "access", "costs")


def probe_table(dynamodb, name):
    """A table with one index, as far from this project's as can be."""
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "other")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-other",
                "KeySchema": [{"AttributeName": "other", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )


def forgets_tokens(dynamodb):
    """Whether a transaction that is repeated under its ClientRequestToken is done again."""
    probe_table(dynamodb, "probe-tokens")
    put = {
        "TableName": "probe-tokens",
        "Item": {"pk": {"S": "a"}},
        "ConditionExpression": "attribute_not_exists(pk)",
    }
    transaction = {"TransactItems": [{"Put": put}], "ClientRequestToken": "the same"}
    dynamodb.transact_write_items(**transaction)
    try:
        dynamodb.transact_write_items(**transaction)
    except ClientError as error:
        return error.response["Error"]["Code"] == "TransactionCanceledException"
    return False


def miscounts_units(dynamodb):
    """Whether the units of an index, of a transaction and of a consistent read are wrong."""
    probe_table(dynamodb, "probe-units")
    ask = {"TableName": "probe-units", "ReturnConsumedCapacity": "INDEXES"}
    item = {"pk": {"S": "a"}, "other": {"S": "b"}}
    put = dynamodb.put_item(Item=item, **ask)["ConsumedCapacity"]
    read = dynamodb.get_item(Key={"pk": {"S": "a"}}, ConsistentRead=True, **ask)["ConsumedCapacity"]
    items = [{"Put": {"TableName": "probe-units", "Item": item}}]
    transaction = dynamodb.transact_write_items(TransactItems=items, ReturnConsumedCapacity="INDEXES")
    return (
        "GlobalSecondaryIndexes" not in put
        and read["CapacityUnits"] == 0.5
        and not transaction.get("ConsumedCapacity")
    )


# What moto lacks: the probe of it, and the tests that need it.
GAPS = {
    forgets_tokens: ["faults::a_passing_fault_is_not_seen_by_the_caller"],
    miscounts_units: [
        "costs::a_create_writes_the_table_and_each_index_it_is_in",
        "costs::a_first_request_looks_its_key_up",
        "costs::a_read_reads_one_place",
        "costs::a_transaction_writes_twice",
        "costs::changes_and_deletes_write_the_same_places_again",
    ],
}


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    credentials = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    dynamodb = boto3.client("dynamodb", endpoint_url=endpoint, region_name="us-east-1", **credentials)
    faults = []
    for probe, tests in GAPS.items():
        if not probe(dynamodb):
            faults.append(f"moto no longer {probe.__name__}")
    # As the other steps build it, with the features of the whole workspace.
    command = ["cargo", "test", "--workspace", "--test", "api", "--locked", "--"]
    run = subprocess.run(
        command + [f"{module}::" for module in MODULES],
        env=dict(os.environ, AWS_ENDPOINT_URL_DYNAMODB=endpoint),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    left = dynamodb.list_tables()["TableNames"]
    server.stop()
    results = dict(re.findall(r"^test (\S+) \.\.\. (ok|FAILED)$", run.stdout, re.M))
    listed = {test for tests in GAPS.values() for test in tests}
    failed = {test for test, result in results.items() if result == "FAILED"}
    faults += [f"{test} failed" for test in sorted(failed - listed)]
    for test in sorted(listed - failed):
        faults.append(f"{test} {'passed' if test in results else 'is no test'}, and is listed as a gap of moto's")
    for module in MODULES:
        if not any(test.startswith(f"{module}::") for test in results):
            faults.append(f"no test of {module} was run")
    # A test that did not come to its end is in the sum and has no line.
    total = rf"^test result: \w+\. {len(results) - len(failed)} passed; {len(failed)} failed"
    if not re.search(total, run.stdout, re.M):
        faults.append("the tests did not come to their end")
    faults += [f"the table {table} was left" for table in left if not table.startswith("probe-")]
    if faults:
        print(run.stdout)
        print("\n".join(faults))
        return 1
    for probe, tests in GAPS.items():
        print(f"moto {probe.__name__.replace('_', ' ')}, so that {len(tests)} fail: {', '.join(tests)}")
    print(f"second opinion: {len(results) - len(failed)} passed, {len(listed)} known gaps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
