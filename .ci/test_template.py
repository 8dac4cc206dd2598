"""What must hold of the stack that template.yaml makes, whatever its parameters.

The linters see the template; these tests see its result. Routes are those of cargo-lambda's router
in Cargo.toml, which tests/api/template.rs holds to the code's own list.
"""

import functools
import json
import re
import tomllib
import unittest
from collections import Counter

from stack import ROOT, Stack, source

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}

# The stacks that are looked at: as it comes, with as little as there can be, and with everything.
STACKS = {
    "defaults": {},
    "the least": {"Alarms": "essential", "LogLevel": "WARN", "LogRetentionDays": 1},
    "a name that is entered elsewhere": {
        "DomainName": "feedback.example.com",
        "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/0",
    },
    "the least, watched": {"Alarms": "essential", "Dashboard": "yes", "AlarmEmail": "someone@example.com"},
    "events to a bus that is there": {
        "Events": "on",
        "EventBusName": "default",
        "Alarms": "essential",
        "Dashboard": "yes",
    },
    "forwarding from a bus that is there": {
        "Events": "on",
        "EventBusName": "default",
        "Dashboard": "yes",
        "WebhookUrl": "https://hooks.example.com",
        "WebhookFilter": "negative-with-comment",
        "LangfuseUrl": "https://cloud.langfuse.com",
        "LangfusePublicKey": "pk-lf-1",
        "LangfuseSecretKey": "sk-lf-1",
    },
    "everything": {
        "Architecture": "x86_64",
        "MemorySize": 256,
        "FeedbackRetentionDays": 365,
        "AllowedOrigins": "https://app.example.com,https://other.example.com",
        "Alarms": "all",
        "AlarmEmail": "someone@example.com",
        "Dashboard": "yes",
        "Tracing": "Active",
        "Events": "on",
        "WebhookUrl": "https://hooks.example.com/services/T0/B0/x",
        "WebhookSecret": "a-secret",
        "WebhookFormat": "slack",
        "LangfuseUrl": "https://langfuse.example.com",
        "LangfusePublicKey": "pk-lf-1",
        "LangfuseSecretKey": "sk-lf-1",
        "DomainName": "feedback.example.com",
        "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/0",
        "HostedZoneId": "Z0123456789ABCDEFGHIJ",
    },
}

# What AWS publishes, of what is used here: the sets of dimensions each metric comes with. From
# "Work with metrics for HTTP APIs" (API Gateway), "Types of metrics for Lambda functions", "DynamoDB
# metrics and dimensions" and "Available CloudWatch metrics for Amazon SQS", at docs.aws.amazon.com.
API = [{"ApiId"}, {"ApiId", "Stage"}]
FUNCTION = [{"FunctionName"}]
TABLE = [{"TableName"}, {"TableName", "GlobalSecondaryIndexName"}]
OPERATION = [{"TableName", "Operation"}]
PUBLISHED = {
    "AWS/ApiGateway": {name: API for name in ("4xx", "5xx", "Count", "DataProcessed", "IntegrationLatency", "Latency")},
    "AWS/Lambda": {
        name: FUNCTION
        for name in ("ConcurrentExecutions", "Duration", "Errors", "Invocations", "IteratorAge", "Throttles")
    },
    "AWS/DynamoDB": {
        "ConsumedReadCapacityUnits": TABLE,
        "ConsumedWriteCapacityUnits": TABLE,
        "ReadThrottleEvents": TABLE,
        "WriteThrottleEvents": TABLE,
        "SuccessfulRequestLatency": OPERATION,
        "SystemErrors": OPERATION,
        "ThrottledRequests": OPERATION,
    },
    "AWS/SQS": {
        name: [{"QueueName"}] for name in ("ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible")
    },
}

# What a caller cannot put text into, of the variables at docs.aws.amazon.com, "Customize HTTP API
# access logs": ids, times, sizes and statuses, and the route as the template names it.
HARMLESS = {
    "error.responseType",
    "integration.integrationStatus",
    "integration.requestId",
    "integration.status",
    "integrationLatency",
    "requestId",
    "requestTimeEpoch",
    "responseLatency",
    "responseLength",
    "routeKey",
    "status",
}

# What a function needs of AWS besides what its code calls of DynamoDB: to log; of the stream's readers what Lambda
# does in their name, and of `publish` the bus.
LOG = {"logs:CreateLogStream", "logs:PutLogEvents"}
STREAM = {
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
}

# What Lambda reads a queue with, and what the function puts into it.
QUEUE = {
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
}

# The rules that forward events, by the parameter that asks for each.
RULES = {"WebhookRule": "WebhookUrl", "LangfuseRule": "LangfuseUrl"}

# What making and deleting a resource takes of whoever deploys, of the permissions that the handlers of
# CloudFormation's resource schemas name ("AWS resource and property types reference").
HANDLERS = {
    "AWS::ApiGatewayV2::Api": {"apigateway:POST", "apigateway:PUT", "apigateway:DELETE"},
    "AWS::ApiGatewayV2::ApiMapping": {"apigateway:POST", "apigateway:DELETE"},
    "AWS::ApiGatewayV2::DomainName": {"apigateway:POST", "apigateway:DELETE"},
    "AWS::ApiGatewayV2::Stage": {"apigateway:POST", "apigateway:DELETE", "logs:CreateLogDelivery"},
    "AWS::CloudWatch::Alarm": {"cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"},
    "AWS::CloudWatch::Dashboard": {"cloudwatch:PutDashboard", "cloudwatch:DeleteDashboards"},
    "AWS::DynamoDB::Table": {
        "dynamodb:CreateTable",
        "dynamodb:DeleteTable",
        "dynamodb:UpdateContinuousBackups",
        "dynamodb:UpdateTable",
        "dynamodb:UpdateTimeToLive",
    },
    "AWS::Events::ApiDestination": {"events:CreateApiDestination", "events:DeleteApiDestination"},
    "AWS::Events::Connection": {
        "events:CreateConnection",
        "events:DeleteConnection",
        "iam:CreateServiceLinkedRole",
        "secretsmanager:CreateSecret",
        "secretsmanager:DeleteSecret",
        "secretsmanager:GetSecretValue",
        "secretsmanager:PutSecretValue",
    },
    "AWS::Events::Rule": {
        "events:PutRule",
        "events:DeleteRule",
        "events:PutTargets",
        "events:RemoveTargets",
        "iam:PassRole",
    },
    "AWS::Events::EventBus": {"events:CreateEventBus", "events:DeleteEventBus", "events:DescribeEventBus"},
    "AWS::IAM::ManagedPolicy": {"iam:CreatePolicy", "iam:DeletePolicy"},
    "AWS::IAM::Role": {"iam:CreateRole", "iam:DeleteRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"},
    "AWS::Lambda::EventSourceMapping": {"lambda:CreateEventSourceMapping", "lambda:DeleteEventSourceMapping"},
    "AWS::Lambda::Function": {"lambda:CreateFunction", "lambda:DeleteFunction", "iam:PassRole", "s3:GetObject"},
    "AWS::Lambda::Permission": {"lambda:AddPermission", "lambda:RemovePermission"},
    "AWS::Logs::LogGroup": {"logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:PutRetentionPolicy"},
    "AWS::Logs::MetricFilter": {"logs:PutMetricFilter", "logs:DeleteMetricFilter"},
    "AWS::Route53::RecordSet": {"route53:ChangeResourceRecordSets"},
    "AWS::SNS::Topic": {"sns:CreateTopic", "sns:Subscribe", "sns:DeleteTopic"},
    "AWS::SQS::Queue": {"sqs:CreateQueue", "sqs:DeleteQueue"},
    "AWS::SQS::QueuePolicy": {"sqs:SetQueueAttributes"},
}


def many(value):
    return value if isinstance(value, list) else [value]


def binary(name, stack):
    """The binary that a function runs."""
    return stack.resources[name]["Metadata"]["BuildProperties"]["Binary"]


def expected_routes():
    """(method, path, binary) of each route."""
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    router = manifest["workspace"]["metadata"]["lambda"]["watch"]["router"]
    return {(target["method"], path, target["function"]) for path, targets in router.items() for target in targets}


def alarm_metrics(alarm):
    """(namespace, metric, dimensions) of each metric that an alarm looks at."""
    if "Metrics" not in alarm:
        yield alarm["Namespace"], alarm["MetricName"], pairs(alarm.get("Dimensions", []))
    for query in alarm.get("Metrics", []):
        if "MetricStat" in query:
            metric = query["MetricStat"]["Metric"]
            yield metric["Namespace"], metric["MetricName"], pairs(metric["Dimensions"])


def pairs(dimensions):
    return {dimension["Name"]: dimension["Value"] for dimension in dimensions}


def dashboard_metrics(body):
    for widget in body["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            names = [part for part in metric if isinstance(part, str)]
            yield names[0], names[1], dict(zip(names[2::2], names[3::2], strict=True))


def of_each_stack(test):
    """The test of each of STACKS in turn."""

    @functools.wraps(test)
    def of_each(self):
        for name, stack in self.stacks.items():
            with self.subTest(name):
                test(self, stack)

    return of_each


def samconfig():
    """The SAM CLI's settings, by environment and command."""
    return tomllib.loads((ROOT / "samconfig.toml").read_text())


class Template(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stacks = {name: Stack(**parameters) for name, parameters in STACKS.items()}

    def check_metric(self, stack, namespace, metric, dimensions):
        """That AWS publishes it, of something that is in this stack, or a metric filter of the stack does."""
        if not namespace.startswith("AWS/"):
            filters = stack.of("AWS::Logs::MetricFilter").values()
            made = [one for each in filters for one in each["MetricTransformations"]]
            self.assertIn((namespace, metric), [(one["MetricNamespace"], one["MetricName"]) for one in made])
            self.assertEqual(dimensions, {})
            return
        published = PUBLISHED[namespace]
        self.assertIn(metric, published)
        self.assertIn(set(dimensions), published[metric], metric)
        for name, value in dimensions.items():
            match name:
                case "ApiId":
                    self.assertIn(value, stack.of("AWS::ApiGatewayV2::Api"))
                case "Stage":
                    stages = stack.of("AWS::ApiGatewayV2::Stage").values()
                    self.assertIn(value, [stage["StageName"] for stage in stages])
                case "FunctionName":
                    self.assertIn(value, stack.of("AWS::Lambda::Function"))
                case "TableName":
                    self.assertIn(value, stack.of("AWS::DynamoDB::Table"))
                case "GlobalSecondaryIndexName":
                    table = stack.of("AWS::DynamoDB::Table")[dimensions["TableName"]]
                    self.assertIn(value, [index["IndexName"] for index in table["GlobalSecondaryIndexes"]])
                case "Operation":
                    self.assertIn(value, self.operations(stack, dimensions["TableName"]))
                case "QueueName":
                    self.assertIn(value, [f"{queue}.QueueName" for queue in stack.of("AWS::SQS::Queue")])
                case _:
                    self.fail(f"{name} is not looked at")
        if metric == "IteratorAge":
            mappings = stack.of("AWS::Lambda::EventSourceMapping").values()
            self.assertIn(dimensions["FunctionName"], [mapping["FunctionName"] for mapping in mappings])

    def operations(self, stack, table):
        """The operations that functions call on a table. What they write to several items at once
        is allowed by the actions in it."""
        allowed = {
            action.removeprefix("dynamodb:")
            for role in stack.of("AWS::IAM::Role").values()
            for policy in role["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
            for resource in many(statement["Resource"])
            for action in many(statement["Action"])
            if resource.split("/")[0] == f"{table}.Arn"
        }
        writes = {"PutItem", "UpdateItem", "DeleteItem"} & allowed
        return allowed | ({"TransactWriteItems"} if writes else set())

    def test_the_parameters_defaults_are_allowed(self):
        for name, parameter in source()["Parameters"].items():
            with self.subTest(name):
                default = parameter["Default"]
                self.assertTrue(parameter["Description"])
                if "AllowedValues" in parameter:
                    self.assertIn(default, parameter["AllowedValues"])
                if "AllowedPattern" in parameter:
                    self.assertRegex(default, parameter["AllowedPattern"])
                    self.assertTrue(parameter["ConstraintDescription"])
                if parameter["Type"] == "Number":
                    self.assertTrue({"AllowedValues", "MinValue"} & set(parameter))
                    self.assertLessEqual(parameter.get("MinValue", 0), default)

    def test_the_parameters_refuse_what_is_none(self):
        parameters = source()["Parameters"]
        for name, good, bad in [
            ("AlarmEmail", ["", "a@b.example"], ["a", "a@b@c", "a b@c"]),
            (
                "DomainName",
                ["", "f.example.com"],
                ["example", "https://f.example.com", "f.example.com/", "F.example.com"],
            ),
            (
                "CertificateArn",
                ["", STACKS["everything"]["CertificateArn"]],
                ["certificate/0", "arn:aws:iam::1:role/x"],
            ),
            ("WebhookUrl", ["", "https://hooks.slack.com/services/T0/B0/x?y=z"], ["http://a.example", "https://", "https://a b"]),
            (
                "LangfuseUrl",
                ["", "https://cloud.langfuse.com", "https://a.example:3000/langfuse/"],
                ["cloud.langfuse.com", "http://a.example", "https://a.example?x=1", "https://me@a.example"],
            ),
            ("LangfusePublicKey", ["", "pk-lf-1"], ["pk lf", "a:b"]),
            ("HostedZoneId", ["", "Z0123456789ABCDEFGHIJ"], ["/hostedzone/Z012", "example.com"]),
            (
                "AllowedOrigins",
                ["", "*", "https://a.example", "https://a.example,http://b"],
                ["a.example", "https://a/"],
            ),
        ]:
            pattern = parameters[name]["AllowedPattern"]
            for value in good:
                self.assertRegex(value, pattern)
            for value in bad:
                self.assertNotRegex(value, pattern)

    def test_a_domain_needs_a_certificate(self):
        rule = source()["Rules"]["DomainNeedsCertificate"]
        needed = {"Fn::Not": [{"Fn::Equals": [{"Ref": "CertificateArn"}, ""]}]}
        self.assertEqual(rule["RuleCondition"], {"Fn::Not": [{"Fn::Equals": [{"Ref": "DomainName"}, ""]}]})
        self.assertEqual([assertion["Assert"] for assertion in rule["Assertions"]], [needed])

    @of_each_stack
    def test_the_gateway_routes_what_the_code_answers(self, stack):
        expected = expected_routes()
        self.assertTrue(expected)
        (api,) = stack.of("AWS::ApiGatewayV2::Api").values()
        found = set()
        for path, methods in api["Body"]["paths"].items():
            for method, operation in methods.items():
                self.assertIn(method.upper(), METHODS)
                integration = operation["x-amazon-apigateway-integration"]
                self.assertEqual(integration["payloadFormatVersion"], "2.0")
                self.assertEqual((integration["type"], integration["httpMethod"]), ("aws_proxy", "POST"))
                function = re.search(r"functions/(\w+)\.Arn/invocations$", integration["uri"])[1]
                found.add((method.upper(), path, binary(function, stack)))
        self.assertEqual(found, expected)

    @of_each_stack
    def test_the_gateway_alone_may_invoke_and_each_function_for_its_own_routes(self, stack):
        found = set()
        for permission in stack.of("AWS::Lambda::Permission").values():
            self.assertEqual(permission["Principal"], "apigateway.amazonaws.com")
            self.assertEqual(permission["Action"], "lambda:InvokeFunction")
            # The asterisk is the stage, of which there is one.
            arn = permission["SourceArn"].removeprefix("arn:aws:execute-api:us-east-1:123456789012:HttpApi/*/")
            method, path = arn.split("/", 1)
            found.add((method, f"/{path}", binary(permission["FunctionName"], stack)))
        # In an ARN, a parameter of the path is an asterisk.
        expected = {(m, re.sub(r"\{\w+\}", "*", path), function) for m, path, function in expected_routes()}
        self.assertEqual(found, expected)

    def test_throttling_and_origins_are_as_they_were_given(self):
        (stage,) = Stack(ThrottlingRate=7, ThrottlingBurst=9).of("AWS::ApiGatewayV2::Stage").values()
        limits = {"ThrottlingRateLimit": "7", "ThrottlingBurstLimit": "9"}
        self.assertEqual((stage["StageName"], stage["DefaultRouteSettings"]), ("$default", limits))
        for parameters, origins in [
            ({}, None),
            ({"AllowedOrigins": "*"}, ["*"]),
            ({"AllowedOrigins": "https://a.example,https://b.example"}, ["https://a.example", "https://b.example"]),
        ]:
            (api,) = Stack(**parameters).of("AWS::ApiGatewayV2::Api").values()
            cors = api["Body"].get("x-amazon-apigateway-cors") or {}
            self.assertEqual(cors.get("allowOrigins"), origins)
            self.assertNotIn("allowCredentials", cors)

    @of_each_stack
    def test_every_log_has_a_group_that_forgets(self, stack):
        groups = stack.of("AWS::Logs::LogGroup")
        for group in groups.values():
            self.assertEqual(group["RetentionInDays"], stack.parameters["LogRetentionDays"])
        used = Counter()
        for function in stack.of("AWS::Lambda::Function").values():
            used[function["LoggingConfig"]["LogGroup"]] += 1
            self.assertEqual(function["LoggingConfig"]["LogFormat"], "JSON")
            self.assertEqual(function["LoggingConfig"]["ApplicationLogLevel"], stack.parameters["LogLevel"])
        for stage in stack.of("AWS::ApiGatewayV2::Stage").values():
            used[stage["AccessLogSettings"]["DestinationArn"].removesuffix(".Arn")] += 1
        self.assertEqual(used, {name: 1 for name in groups})

    @of_each_stack
    def test_the_access_log_is_json_and_holds_nothing_of_a_caller_s(self, stack):
        (stage,) = stack.of("AWS::ApiGatewayV2::Stage").values()
        line = stage["AccessLogSettings"]["Format"]
        self.assertNotIn("\n", line)
        variables = set(re.findall(r"\$context\.([\w.]+)", line))
        self.assertLessEqual(variables, HARMLESS)
        self.assertLessEqual({"requestId", "routeKey", "status", "responseLatency"}, variables)
        # A variable without a value is a dash.
        for value in ("-", "200", "PUT /v1/feedback/{id}"):
            fields = json.loads(re.sub(r"\$context\.[\w.]+", value, line))
            self.assertEqual(set(fields.values()), {value})
            self.assertEqual(len(fields), len(variables))

    @of_each_stack
    def test_tables_outlive_mistakes(self, stack):
        for name, table in stack.of("AWS::DynamoDB::Table").items():
            resource = stack.resources[name]
            policies = (resource["DeletionPolicy"], resource["UpdateReplacePolicy"])
            recovery = table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled", False)
            kept = (table.get("DeletionProtectionEnabled", False), recovery)
            if name in ("IdempotencyTable", "SessionsTable"):
                self.assertEqual((policies, kept), (("Delete", "Delete"), (False, False)))
            else:
                self.assertEqual((policies, kept), (("Retain", "Retain"), (True, True)), name)
            # A name of ours could not be restored beside itself, nor be there twice.
            self.assertNotIn("TableName", table)
            self.assertNotIn("SSESpecification", table)

    @of_each_stack
    def test_a_first_deployment_that_fails_does_not_block_the_second(self, stack):
        """CloudFormation deletes what it made, unless that is retained. What it deletes must not be protected
        against it, which ends in ROLLBACK_FAILED; what it leaves must not have a name, which the second
        would need; and the stack itself must go, since one in ROLLBACK_COMPLETE takes no update."""
        for name, resource in stack.resources.items():
            properties = resource["Properties"]
            retained = resource.get("DeletionPolicy", "Delete") == "Retain"
            if retained:
                named = {key for key in properties if key.endswith("Name")}
                self.assertEqual(named, set(), name)
            else:
                for protection in ("DeletionProtectionEnabled", "DeletionProtection", "EnableTerminationProtection"):
                    self.assertFalse(properties.get(protection, False), name)
            # A policy that CloudFormation does not have is an error at deployment.
            self.assertIn(resource.get("DeletionPolicy", "Delete"), ("Delete", "Retain"), name)
        self.assertEqual(samconfig()["default"]["deploy"]["parameters"]["on_failure"], "DELETE")

    def test_a_deployment_asks_nothing(self):
        """Without --guided, `sam deploy` asks to confirm the changes, where that is set, and nothing else
        (samcli/commands/deploy). What it needs to know it must have."""
        config = samconfig()
        del config["version"]
        self.assertEqual(set(config), {"default", "x86_64"})
        for environment, commands in config.items():
            deploy = {**commands["global"]["parameters"], **commands["deploy"]["parameters"]}
            self.assertEqual(deploy["confirm_changeset"], False)
            self.assertTrue(deploy["stack_name"] and deploy["capabilities"] and deploy["resolve_s3"])
            # Build and deployment must be of one processor.
            architecture = {"default": None, "x86_64": "Architecture=x86_64"}[environment]
            for command in ("build", "deploy"):
                self.assertEqual(commands[command]["parameters"].pop("parameter_overrides", None), architecture)
        self.assertEqual(config["default"], config["x86_64"])

    @of_each_stack
    def test_counting_stopped_is_not_told_by_writes_that_failed_their_condition(self, stack):
        """"If a condition evaluates to false, DynamoDB still consumes write capacity from the table"
        (DynamoDB's guide, "Working with items and attributes"), and puts nothing on the stream. An index
        consumes it only "when an item in a table is added, updated, or deleted, and a global secondary
        index is affected by this" ("Using global secondary indexes in DynamoDB"). So it must be an index
        that each write of a record affects: not a sparse one, and with all attributes."""
        if "CountingStoppedAlarm" not in stack.resources:
            return
        alarm = stack.resources["CountingStoppedAlarm"]["Properties"]
        (writes,) = [
            dimensions for _, metric, dimensions in alarm_metrics(alarm) if metric == "ConsumedWriteCapacityUnits"
        ]
        self.assertEqual(writes["TableName"], "FeedbackTable")
        table = stack.of("AWS::DynamoDB::Table")["FeedbackTable"]
        (index,) = [
            index
            for index in table["GlobalSecondaryIndexes"]
            if index["IndexName"] == writes["GlobalSecondaryIndexName"]
        ]
        self.assertEqual(index["Projection"], {"ProjectionType": "ALL"})
        keys = {key["AttributeName"] for key in index["KeySchema"]}
        self.assertEqual(keys, {"time_key", "id"})
        # Which every record has, whatever is in it.
        item = (ROOT / "shared/src/store/item.rs").read_text()
        always = item[item.index("let mut item = HashMap::from(["):item.index("match draft.score")]
        for key in keys:
            self.assertIn(f'"{key}".to_owned()', always)

    @of_each_stack
    def test_the_stream_gives_up_on_nothing_in_silence(self, stack):
        mappings = self.stream_readers(stack)
        # "No more than two processes should read from the same stream shard at the same time" (DynamoDB's guide,
        # "Change data capture for DynamoDB Streams").
        readers = {binary(mapping["FunctionName"], stack): mapping for mapping in mappings}
        has_events = stack.parameters["Events"] == "on"
        self.assertEqual(set(readers), {"aggregate", "publish"} if has_events else {"aggregate"})
        self.assertEqual(len(readers), len(mappings))
        for program, mapping in readers.items():
            with self.subTest(program):
                delay = {"aggregate": stack.parameters["CountingDelay"], "publish": 1}[program]
                self.assertEqual(mapping["MaximumBatchingWindowInSeconds"], delay)
                self.check_mapping(stack, mapping)
        queues = {mapping["DestinationConfig"]["OnFailure"]["Destination"] for mapping in mappings}
        self.assertEqual(len(queues), len(readers))

    def stream_readers(self, stack):
        """The mappings of the table's stream, and not those of queues."""
        mappings = stack.of("AWS::Lambda::EventSourceMapping").values()
        return [mapping for mapping in mappings if mapping["EventSourceArn"] == "FeedbackTable.StreamArn"]

    def check_mapping(self, stack, mapping):
        self.assertEqual(mapping["EventSourceArn"], "FeedbackTable.StreamArn")
        self.assertEqual(mapping["StartingPosition"], "TRIM_HORIZON")
        # One change that is never read must not end what is behind it.
        self.assertNotIn("FunctionResponseTypes", mapping)
        # Two hours are left to fetch what the stream forgets after 24.
        self.assertEqual((mapping["MaximumRetryAttempts"], mapping["MaximumRecordAgeInSeconds"]), (-1, 79200))
        self.assertGreater(mapping["TumblingWindowInSeconds"], 0)
        queue = mapping["DestinationConfig"]["OnFailure"]["Destination"].removesuffix(".Arn")
        self.assertTrue(stack.of("AWS::SQS::Queue")[queue]["SqsManagedSseEnabled"])
        watched = [
            dimensions
            for alarm in stack.of("AWS::CloudWatch::Alarm").values()
            for _, _, dimensions in alarm_metrics(alarm)
        ]
        self.assertIn({"QueueName": f"{queue}.QueueName"}, watched)

    @of_each_stack
    def test_a_parked_change_is_told_of_whatever_the_log_level_and_without_other_metrics(self, stack):
        """The line is an error's, and tests/api/logs.rs knows its words (docs.aws.amazon.com, "Filter pattern
        syntax for metric filters")."""
        expected = {"AggregateLogs": "ParkedAlarm"}
        if stack.parameters["Events"] == "on":
            expected["PublishLogs"] = "ParkedEventsAlarm"
        metrics = {metric["LogGroupName"]: metric for metric in stack.of("AWS::Logs::MetricFilter").values()}
        self.assertEqual(set(metrics), set(expected))
        for group, metric in metrics.items():
            self.assertEqual(metric["FilterPattern"], '{ $.message = "a change is parked" }')
            (transformation,) = metric["MetricTransformations"]
            alarm = stack.resources[expected[group]]["Properties"]
            self.assertEqual(
                (transformation["MetricNamespace"], transformation["MetricName"]),
                (alarm["Namespace"], alarm["MetricName"]),
            )

    @of_each_stack
    def test_a_function_has_a_role_of_its_own_that_allows_what_is_named(self, stack):
        roles = stack.of("AWS::IAM::Role")
        functions = stack.of("AWS::Lambda::Function")
        used = {function["Role"]: name for name, function in functions.items()}
        # Besides, EventBridge has one to post to the webhook.
        others = {"WebhookRole"} & set(roles)
        self.assertEqual({role.removesuffix(".Arn") for role in used} | others, set(roles))
        self.assertEqual(len(used), len(functions))
        for role, name in used.items():
            properties = roles[role.removesuffix(".Arn")]
            (trust,) = properties["AssumeRolePolicyDocument"]["Statement"]
            self.assertEqual(trust["Principal"], {"Service": "lambda.amazonaws.com"})
            self.assertEqual(
                properties.get("ManagedPolicyArns", []),
                ["TracePolicy"] if stack.parameters["Tracing"] == "Active" else [],
            )
            policies = {policy["PolicyName"]: policy["PolicyDocument"] for policy in properties["Policies"]}
            program = binary(name, stack)
            reads = {"stream"} if program in ("aggregate", "publish") else set()
            sends = {"bus"} if program == "publish" else set()
            queues = {"queues"} if program == "langfuse" else set()
            self.assertEqual(set(policies), {"data", "log"} | reads | sends | queues)
            self.assertNotIn("*", json.dumps(policies), name)
            # What is in `data` is derived from real calls by tests/api/policies.rs.
            self.assertEqual(
                [(set(s["Action"]), s["Resource"]) for s in policies["log"]["Statement"]],
                [(LOG, f"{functions[name]['LoggingConfig']['LogGroup']}.Arn")],
            )
            if sends:
                given = stack.parameters["EventBusName"]
                bus = f"arn:aws:events:us-east-1:123456789012:event-bus/{given}" if given else "EventBus.Arn"
                self.assertEqual(
                    [(set(many(s["Action"])), s["Resource"]) for s in policies["bus"]["Statement"]],
                    [({"events:PutEvents"}, bus)],
                )
                told = functions[name]["Environment"]["Variables"]["EVENT_BUS"]
                self.assertEqual((told, stack.outputs["EventBusArn"]), (given or "EventBus", bus))
                self.assertEqual(list(stack.of("AWS::Events::EventBus")), [] if given else ["EventBus"])
            if reads:
                (mapping,) = [
                    mapping
                    for mapping in stack.of("AWS::Lambda::EventSourceMapping").values()
                    if mapping["FunctionName"] == name
                ]
                self.assertEqual(
                    [(set(many(s["Action"])), s["Resource"]) for s in policies["stream"]["Statement"]],
                    [
                        (STREAM, mapping["EventSourceArn"]),
                        ({"sqs:SendMessage"}, mapping["DestinationConfig"]["OnFailure"]["Destination"]),
                    ],
                )

    @of_each_stack
    def test_forwarding_repeats_for_a_day_and_sets_aside_what_fails(self, stack):
        rules = stack.of("AWS::Events::Rule")
        parameters = stack.parameters
        wanted = {rule for rule, url in RULES.items() if parameters[url]}
        self.assertEqual(set(rules), wanted)
        queues = stack.of("AWS::SQS::Queue")
        allowed = {
            (queue, many(statement["Action"])[0], statement["Condition"]["ArnEquals"]["aws:SourceArn"])
            for policy in stack.of("AWS::SQS::QueuePolicy").values()
            for statement in policy["PolicyDocument"]["Statement"]
            for queue in many(statement["Resource"])
            if statement["Principal"] == {"Service": "events.amazonaws.com"}
        }
        needed = set()
        for name, rule in rules.items():
            self.assertEqual(rule["EventBusName"], parameters["EventBusName"] or "EventBus")
            (target,) = rule["Targets"]
            policy = {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
            self.assertEqual(target["RetryPolicy"], policy)
            for arn in {target["DeadLetterConfig"]["Arn"], target["Arn"]}:
                queue = arn.removesuffix(".Arn")
                if queue in queues:
                    needed.add((arn, "sqs:SendMessage", f"{name}.Arn"))
                    self.assertTrue(queues[queue]["SqsManagedSseEnabled"])
                    self.assertEqual(queues[queue]["MessageRetentionPeriod"], 1209600)
            dead = target["DeadLetterConfig"]["Arn"].removesuffix(".Arn")
            self.assertEqual(stack.outputs[f"{dead}Url"], dead)
        self.assertEqual(allowed, needed)
        if "WebhookRule" in rules:
            (target,) = rules["WebhookRule"]["Targets"]
            (destination,) = stack.of("AWS::Events::ApiDestination").values()
            self.assertEqual(
                (destination["InvocationEndpoint"], destination["HttpMethod"], destination["ConnectionArn"]),
                (parameters["WebhookUrl"], "POST", "WebhookConnection.Arn"),
            )
            (connection,) = stack.of("AWS::Events::Connection").values()
            key = connection["AuthParameters"]["ApiKeyAuthParameters"]
            secret = {"ApiKeyName": "x-hindsight-secret", "ApiKeyValue": parameters["WebhookSecret"] or "none"}
            self.assertEqual((connection["AuthorizationType"], key), ("API_KEY", secret))
            role = stack.of("AWS::IAM::Role")[target["RoleArn"].removesuffix(".Arn")]
            (policy,) = role["Policies"]
            self.assertEqual(
                policy["PolicyDocument"]["Statement"],
                [{"Effect": "Allow", "Action": "events:InvokeApiDestination", "Resource": target["Arn"]}],
            )
            (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
            self.assertEqual(trust["Principal"], {"Service": "events.amazonaws.com"})
        if "LangfuseRule" in rules:
            self.check_langfuse(stack, rules["LangfuseRule"])

    def check_langfuse(self, stack, rule):
        (target,) = rule["Targets"]
        # The function reads an event's detail, and its own messages of that form.
        self.assertEqual(target["InputPath"], "$.detail")
        queue = stack.of("AWS::SQS::Queue")["LangfuseQueue"]
        (mapping,) = [
            mapping
            for mapping in stack.of("AWS::Lambda::EventSourceMapping").values()
            if mapping["EventSourceArn"] == target["Arn"]
        ]
        self.assertEqual(mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        function = stack.of("AWS::Lambda::Function")[mapping["FunctionName"]]
        # "At least six times" ("Creating and configuring an Amazon SQS event source mapping").
        self.assertGreaterEqual(queue["VisibilityTimeout"], 6 * function["Timeout"])
        # What the waits of functions/langfuse/src/lib.rs make a day of.
        redrive = {"deadLetterTargetArn": target["DeadLetterConfig"]["Arn"], "maxReceiveCount": 110}
        self.assertEqual(queue["RedrivePolicy"], redrive)
        (role,) = [role for role in stack.of("AWS::IAM::Role") if f"{role}.Arn" == function["Role"]]
        policies = stack.of("AWS::IAM::Role")[role]["Policies"]
        (statements,) = [p["PolicyDocument"]["Statement"] for p in policies if p["PolicyName"] == "queues"]
        self.assertEqual(
            [(set(many(s["Action"])), s["Resource"]) for s in statements],
            [(QUEUE, target["Arn"]), ({"sqs:SendMessage"}, target["DeadLetterConfig"]["Arn"])],
        )
        variables = function["Environment"]["Variables"]
        self.assertEqual(variables["LANGFUSE_QUEUE"], "LangfuseQueue")
        self.assertEqual(variables["LANGFUSE_DEAD_LETTERS"], "LangfuseDeadLetters")
        for name in ("LANGFUSE_URL", "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"):
            parameter = "".join(part.capitalize() for part in name.split("_"))
            self.assertEqual(variables[name], stack.parameters[parameter])

    def test_forwarding_needs_events_and_keys_and_hides_secrets(self):
        rules = source()["Rules"]
        given = {"Fn::Not": [{"Fn::Equals": [{"Ref": "%s"}, ""]}]}
        is_given = lambda name: json.loads(json.dumps(given) % name)
        events = {"Fn::Equals": [{"Ref": "Events"}, "on"]}
        for rule, url, needed in [
            ("WebhookNeedsEvents", "WebhookUrl", [events]),
            (
                "LangfuseNeedsEventsAndKeys",
                "LangfuseUrl",
                [events, is_given("LangfusePublicKey"), is_given("LangfuseSecretKey")],
            ),
        ]:
            self.assertEqual(rules[rule]["RuleCondition"], is_given(url))
            self.assertEqual([assertion["Assert"] for assertion in rules[rule]["Assertions"]], needed)
        for name, parameter in source()["Parameters"].items():
            self.assertEqual(parameter.get("NoEcho", False), name.startswith(("WebhookS", "LangfuseS")), name)

    @of_each_stack
    def test_traces_are_sent_where_they_are_asked_for_and_allowed(self, stack):
        active = stack.parameters["Tracing"] == "Active"
        for function in stack.of("AWS::Lambda::Function").values():
            self.assertEqual(function["TracingConfig"]["Mode"], "Active" if active else "PassThrough")
        allowed = [
            (set(statement["Action"]), statement["Resource"])
            for policy in stack.of("AWS::IAM::ManagedPolicy").values()
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        # X-Ray has no resources to name.
        traces = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}
        self.assertEqual(allowed, [(traces, "*")] if active else [])

    @of_each_stack
    def test_alarms_look_at_what_is_published_and_can_fire(self, stack):
        alarms = stack.of("AWS::CloudWatch::Alarm")
        of_options = {"Events": 4, "WebhookUrl": 1, "LangfuseUrl": 2}
        more = sum(count for name, count in of_options.items() if stack.parameters[name] not in ("", "off"))
        self.assertLessEqual(len(alarms), 12 + more)
        for name, alarm in alarms.items():
            with self.subTest(name):
                metrics = list(alarm_metrics(alarm))
                self.assertTrue(metrics)
                # CloudWatch takes no more in an alarm.
                self.assertLessEqual(len(metrics), 10)
                for metric in metrics:
                    self.check_metric(stack, *metric)
                self.assertTrue(alarm["AlarmDescription"])
                self.assertLessEqual(alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"])
                self.assertEqual(alarm["ComparisonOperator"], "GreaterThanThreshold")
                self.assertEqual(alarm["TreatMissingData"], "notBreaching")
                if "Metrics" in alarm:
                    self.check_expression(alarm)
                else:
                    self.assertTrue(("Statistic" in alarm) != ("ExtendedStatistic" in alarm))

    def check_expression(self, alarm):
        """One expression is what the alarm is about, and it is of all the metrics and no others."""
        expressions = [query for query in alarm["Metrics"] if "Expression" in query]
        metrics = [query for query in alarm["Metrics"] if "MetricStat" in query]
        self.assertEqual([query["ReturnData"] for query in expressions], [True])
        self.assertEqual({query["ReturnData"] for query in metrics}, {False})
        self.assertEqual({query["MetricStat"]["Stat"] for query in metrics}, {"Sum"})
        self.assertEqual(len({query["MetricStat"]["Period"] for query in metrics}), 1)
        named = set(re.findall(r"\b[a-z]\w*", expressions[0]["Expression"]))
        self.assertEqual(named, {query["Id"] for query in metrics})
        self.assertNotIn("SEARCH", expressions[0]["Expression"])
        seen = {json.dumps(metric, sort_keys=True) for metric in alarm_metrics(alarm)}
        self.assertEqual(len(seen), len(metrics))

    def test_every_function_and_table_is_watched(self):
        stack = self.stacks["everything"]
        watched = {
            (metric, tuple(sorted(dimensions.items())))
            for alarm in stack.of("AWS::CloudWatch::Alarm").values()
            for _, metric, dimensions in alarm_metrics(alarm)
        }
        self.assertLessEqual(
            {"5xx", "Latency", "Duration", "IteratorAge", "ApproximateNumberOfMessagesVisible", "SystemErrors"},
            {metric for metric, _ in watched},
        )
        for function in stack.of("AWS::Lambda::Function"):
            if binary(function, stack) == "langfuse":
                # Its messages come again, so that whatever fails, the oldest one gets old.
                age = ("ApproximateAgeOfOldestMessage", (("QueueName", "LangfuseQueue.QueueName"),))
                self.assertIn(age, watched)
                continue
            for metric in ("Errors", "Throttles"):
                self.assertIn((metric, (("FunctionName", function),)), watched)
        for name, table in stack.of("AWS::DynamoDB::Table").items():
            operations = self.operations(stack, name)
            # A session is written when somebody signs in, and read for each page.
            is_written = "TransactWriteItems" in operations and name != "SessionsTable"
            metric = "WriteThrottleEvents" if is_written else "ReadThrottleEvents"
            self.assertIn((metric, (("TableName", name),)), watched)
            for index in table.get("GlobalSecondaryIndexes", []):
                dimensions = (("GlobalSecondaryIndexName", index["IndexName"]), ("TableName", name))
                self.assertIn(("WriteThrottleEvents", dimensions), watched)

    @of_each_stack
    def test_alarms_tell_whom_they_were_told_to(self, stack):
        email = stack.parameters["AlarmEmail"]
        topics = stack.of("AWS::SNS::Topic")
        subscriptions = [subscription for topic in topics.values() for subscription in topic["Subscription"]]
        self.assertEqual(subscriptions, [{"Protocol": "email", "Endpoint": email}] if email else [])
        for alarm in stack.of("AWS::CloudWatch::Alarm").values():
            self.assertEqual(alarm.get("AlarmActions", []), list(topics))
            self.assertEqual(alarm.get("OKActions", []), list(topics))

    def test_the_guide_tells_what_alarms_cost_and_what_each_means(self):
        guide = "".join((ROOT / "docs" / name).read_text() for name in ("deploy.md", "operations.md"))
        for events in ("off", "on"):
            for parameters in ({}, {"Alarms": "essential"}):
                stack = Stack(Events=events, **parameters)
                alarms = stack.of("AWS::CloudWatch::Alarm")
                # $0.10 a month for each metric (aws.amazon.com/cloudwatch/pricing).
                metrics = sum(len(list(alarm_metrics(alarm))) for alarm in alarms.values())
                name = f"`{stack.parameters['Alarms']}`" + (", and `Events=on`" if events == "on" else "")
                row = f"| {name} | {len(alarms)} | {metrics} | ${metrics / 10:.2f} |"
                self.assertIn(row, guide)
        for name in self.stacks["everything"].of("AWS::CloudWatch::Alarm"):
            self.assertIn(f"### {name}\n", guide)
        for name in source()["Parameters"]:
            self.assertIn(f"| `{name}` |", guide)
        for name in source()["Outputs"]:
            self.assertIn(f"`{name}`", guide)

    def test_the_guide_tells_what_a_deployer_must_be_allowed(self):
        policy = json.loads((ROOT / "docs" / "deployer-policy.json").read_text())
        # "IAM and AWS STS quotas": characters of a managed policy, white space aside.
        self.assertLessEqual(len(re.sub(r"\s", "", json.dumps(policy))), 6144)
        allowed = {action for statement in policy["Statement"] for action in many(statement["Action"])}
        guide = (ROOT / "docs" / "deploy.md").read_text()
        for statement in policy["Statement"]:
            self.assertIn(f"`{statement['Sid']}`", guide)
        # What some parameters need besides is in a table.
        besides = set(re.findall(r"`([a-z0-9]+:[A-Z]\w+)`", guide))
        for name, parameters in STACKS.items():
            rights = allowed if name == "defaults" else allowed | besides
            for resource in Stack(**parameters).resources.values():
                self.assertLessEqual(HANDLERS[resource["Type"]], rights, resource["Type"])

    @of_each_stack
    def test_the_dashboard_shows_what_is_published(self, stack):
        dashboards = stack.of("AWS::CloudWatch::Dashboard")
        self.assertEqual(len(dashboards), int(stack.parameters["Dashboard"] == "yes"))
        for dashboard in dashboards.values():
            body = json.loads(dashboard["DashboardBody"])
            metrics = list(dashboard_metrics(body))
            for metric in metrics:
                # What the functions write themselves is of a namespace of their own.
                if metric[0].startswith("AWS/"):
                    self.check_metric(stack, *metric)
            self.assertLessEqual(len({json.dumps(metric) for metric in metrics if metric[0].startswith("AWS/")}), 50)
            functions = {
                (name, dimensions["FunctionName"]) for _, name, dimensions in metrics if "FunctionName" in dimensions
            }
            for function in stack.of("AWS::Lambda::Function"):
                # Fifty metrics are free. What is wrong with `publish` shows in how far events are behind.
                # With `langfuse`, it shows in the age of its queue.
                if binary(function, stack) == "langfuse":
                    self.assertIn("LangfuseLagsAlarm", stack.of("AWS::CloudWatch::Alarm"))
                    continue
                callers_wait = binary(function, stack) != "publish"
                for name in ("Errors", "Duration", "ConcurrentExecutions") if callers_wait else ("IteratorAge",):
                    self.assertIn((name, function), functions)
            shown = [arn for widget in body["widgets"] for arn in widget["properties"].get("alarms", [])]
            self.assertEqual(set(shown), {f"{alarm}.Arn" for alarm in stack.of("AWS::CloudWatch::Alarm")})
            self.check_layout(body["widgets"])

    def check_layout(self, widgets):
        """No two widgets lie on one another, and none beyond the 24 columns."""
        taken = set()
        for widget in widgets:
            self.assertLessEqual(widget["x"] + widget["width"], 24)
            cells = {
                (x, y)
                for x in range(widget["x"], widget["x"] + widget["width"])
                for y in range(widget["y"], widget["y"] + widget["height"])
            }
            self.assertFalse(cells & taken, widget)
            taken |= cells

    @of_each_stack
    def test_a_domain_leads_to_the_api(self, stack):
        name = stack.parameters["DomainName"]
        domains = stack.of("AWS::ApiGatewayV2::DomainName")
        self.assertEqual([domain["DomainName"] for domain in domains.values()], [name] if name else [])
        mappings = stack.of("AWS::ApiGatewayV2::ApiMapping")
        self.assertEqual(len(mappings), len(domains))
        for mapping in mappings.values():
            self.assertIn(mapping["DomainName"], domains)
            self.assertIn(mapping["ApiId"], stack.of("AWS::ApiGatewayV2::Api"))
            self.assertIn(mapping["Stage"], stack.of("AWS::ApiGatewayV2::Stage"))
        for domain in domains.values():
            (configuration,) = domain["DomainNameConfigurations"]
            self.assertEqual(configuration["SecurityPolicy"], "TLS_1_2")
        records = stack.of("AWS::Route53::RecordSet")
        self.assertEqual(len(records), int(bool(stack.parameters["HostedZoneId"])))
        for record in records.values():
            self.assertEqual((record["Name"], record["Type"]), (name, "A"))
            self.assertEqual(record["AliasTarget"]["DNSName"], "Domain.RegionalDomainName")
        host = name or "HttpApi.execute-api.us-east-1.amazonaws.com"
        self.assertEqual(stack.outputs["PortkeyBaseUrl"], f"https://{host}/v1")
        self.assertEqual(stack.outputs["TrueFoundryControlPlaneUrl"], f"https://{host}")

    @of_each_stack
    def test_the_outputs_are_what_an_operator_needs(self, stack):
        for table in stack.of("AWS::DynamoDB::Table"):
            self.assertEqual(stack.outputs[f"{table}Name"], table)
        self.assertEqual(
            stack.outputs["FirstKeyCommand"],
            "cargo run -- keys create --stack hindsight --workspace default --name first --scope admin",
        )

    @of_each_stack
    def test_what_is_paid_for_is_tagged(self, stack):
        untagged = {
            "AWS::ApiGatewayV2::ApiMapping",
            "AWS::CloudWatch::Dashboard",
            "AWS::Events::ApiDestination",
            "AWS::Events::Connection",
            "AWS::Events::Rule",
            "AWS::IAM::ManagedPolicy",
            "AWS::Lambda::EventSourceMapping",
            "AWS::Lambda::Permission",
            "AWS::Logs::MetricFilter",
            "AWS::Route53::RecordSet",
            "AWS::SQS::QueuePolicy",
        }
        for name, resource in stack.resources.items():
            tags = resource["Properties"].get("Tags", [])
            found = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
            if resource["Type"] == "AWS::ApiGatewayV2::Api":
                value = "x-amazon-apigateway-tag-value"
                found = {tag["name"]: tag[value] for tag in resource["Properties"]["Body"]["tags"]}
            if resource["Type"] not in untagged:
                self.assertEqual(found.get("application"), "hindsight", name)

    @of_each_stack
    def test_a_name_is_the_stack_s_own(self, stack):
        own = {"DomainName", "EventBusName", "FunctionName", "LogGroupName", "MetricName", "Name", "StageName"}
        for name, resource in stack.resources.items():
            properties = resource["Properties"]
            self.assertLessEqual({key for key in properties if key.endswith("Name")}, own, name)
            if resource["Type"] == "AWS::Logs::LogGroup" and "LogGroupName" in properties:
                self.assertIn("/hindsight/", properties["LogGroupName"])


if __name__ == "__main__":
    unittest.main()
