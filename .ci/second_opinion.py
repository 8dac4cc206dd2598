"""The tests of the service against Amazon's DynamoDB Local, as a second opinion of what DynamoDB does.

    AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8000 python .ci/second_opinion.py

Each test has a database of its own in it, by an access key of its own: it has to run without
`-sharedDb`. The embedded database and DynamoDB Local were written by different people: what holds
over both is not one's own reading of AWS's documents. What counts reads DynamoDB Local's stream.

What is left out is listed below with the reason, and so is where DynamoDB Local differs from
DynamoDB, with a probe that shows the difference without a line of this project's code. A listed test
that passes, a probe that finds no difference, or a name that is no test fails the run as any other
failure does: then the list is out of date.
"""

import os
import re
import subprocess
import sys

import boto3

# Modules that touch no database: what holds of them holds over any.
NO_DATABASE = ("properties", "template", "transport")

# Tests that would take minutes here and see no more, or that are about the embedded database itself.
LEFT_OUT = {
    # It writes 4,000 votes and counts them in batches of one: at 30 ms for each item of a
    # transaction that takes ten minutes. The units are counted in what is asked, not in answers.
    "counting::batches::what_a_vote_costs_to_count_falls_with_the_batch",
    # They write thousands of items one after another, or all again after each fault: a quarter of a minute to more
    # than one each. Their neighbors check the same with fewer records or pages.
    "console_overview::a_page_takes_few_reads_and_has_few_bytes",
    "console_overview::figures_from_records_say_so_and_what_to_narrow",
    "erasure::an_erasure_that_was_killed_or_failed_is_repeated",
    "erasure::load::a_user_is_erased_from_a_tenth_of_many_records_under_load",
    "export::an_interrupted_export_goes_on_without_a_gap_or_a_repetition",
    "filters::a_filter_that_few_records_match_takes_several_pages",
    # They say what a transaction consumed, which DynamoDB Local tells otherwise: of indexes twice as
    # much (below), of updates less. tests/api/costs.rs holds the same of each call by itself.
    "logs::batches::a_batch_is_one_line_with_what_was_counted_and_how_late",
    "logs::requests::a_request_is_one_line_with_what_it_was_and_what_it_cost",
    # The demo is written past the API, into the embedded database.
    "demo::analytics_equal_a_fold_over_the_records",
    "demo::records_that_would_have_expired_are_left_out",
    "demo::the_records_are_stored_as_the_api_stores_them",
    "demo::the_roll_ups_agree_at_once_and_after_changes",
    # Events of `cargo run` are of the embedded database's stream, and the model's records are put into it.
    "events::delivery::the_fold_of_the_events_is_what_is_there_whatever_goes_wrong",
    "events::destinations::a_file_has_each_event_once_across_restarts",
    "events::destinations::a_url_that_does_not_answer_loses_no_event",
    "events::destinations::events_are_sent_while_the_server_runs",
    # They are about the embedded database: how its own server counts, its stream, and how it fails.
    "import::rebuilds::an_imported_record_counts_once_whenever_it_comes",
    "stream_api::the_server_counts_what_comes_and_goes_on_after_a_restart",
    "stream_load::a_hundred_thousand_changes_are_counted_exactly_whatever_goes_wrong",
}


def charges_transactions_twice(dynamodb):
    """Whether a transaction's writes of an index are charged twice. DynamoDB charges only the table's
    twice: the index is written after the transaction, once (paritysuite/dynamodb-conformance)."""
    dynamodb.create_table(
        TableName="probe",
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
    put = {"TableName": "probe", "Item": {"pk": {"S": "a"}, "other": {"S": "b"}}}
    answer = dynamodb.transact_write_items(TransactItems=[{"Put": put}], ReturnConsumedCapacity="INDEXES")
    return answer["ConsumedCapacity"][0]["GlobalSecondaryIndexes"]["by-other"]["CapacityUnits"] == 2.0


# Where DynamoDB Local differs: the probe of it, and the tests that see it.
DIFFERENCES = {
    charges_transactions_twice: ["costs::a_transaction_writes_twice"],
}

# As the other steps build it, with the features of the whole workspace.
TESTS = ["cargo", "test", "--workspace", "--test", "api", "--locked", "--"]


def main():
    # Of a database that no test has.
    credentials = {"aws_access_key_id": "probe", "aws_secret_access_key": "local"}
    dynamodb = boto3.client(
        "dynamodb",
        endpoint_url=os.environ["AWS_ENDPOINT_URL_DYNAMODB"],
        region_name="us-east-1",
        **credentials,
    )
    faults = []
    for probe in DIFFERENCES:
        if not probe(dynamodb):
            faults.append(f"DynamoDB Local no longer {probe.__name__}")
    every = subprocess.run([*TESTS, "--list"], stdout=subprocess.PIPE, check=True, text=True).stdout
    every = set(re.findall(r"^(\S+): test$", every, re.M))
    without = {test for test in every if test.startswith(tuple(f"{module}::" for module in NO_DATABASE))}
    wanted = sorted(every - without - LEFT_OUT)
    listed = {test for tests in DIFFERENCES.values() for test in tests}
    faults += [f"{test} is no test" for test in sorted((LEFT_OUT | listed) - every)]
    faults += [
        f"{module} has no test" for module in NO_DATABASE if not any(test.startswith(f"{module}::") for test in every)
    ]
    run = subprocess.run(
        [*TESTS, "--exact", *wanted],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    # What a test prints may stand before its result.
    results = dict(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. .*?(ok|FAILED)$", run.stdout, re.M))
    failed = {test for test, result in results.items() if result == "FAILED"}
    faults += [f"{test} failed" for test in sorted(failed - listed)]
    faults += [f"{test} passed, and is listed as different" for test in sorted(listed - failed)]
    total = re.search(r"^test result: \w+\. (\d+) passed; (\d+) failed", run.stdout, re.M)
    if not total or int(total[1]) + int(total[2]) != len(wanted) or int(total[2]) != len(failed):
        faults.append(f"{len(wanted)} tests were to run: {total[0] if total else 'they did not come to their end'}")
    if faults:
        print(run.stdout)
        print("\n".join(faults))
        return 1
    for probe, tests in DIFFERENCES.items():
        print(f"DynamoDB Local {probe.__name__.replace('_', ' ')}, so that {len(tests)} fail: {', '.join(tests)}")
    print(f"left out: {len(without)} that touch no database, {len(LEFT_OUT)} by name")
    print(f"second opinion: {int(total[1])} passed, {len(listed)} known differences")
    return 0


if __name__ == "__main__":
    sys.exit(main())
