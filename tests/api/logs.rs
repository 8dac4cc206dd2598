//! The log of the functions: one line for each request and each batch, whose fields can be relied
//! on, and which is the document that CloudWatch takes metrics from.

use bench::lambda::TRACE;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;

use aggregate::{Aggregate, Payload, Response};
use lambda_http::LambdaEvent;
use lambda_http::RequestExt as _;
use lambda_http::http::Method;
use lambda_http::lambda_runtime::{self, Context};
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt as _;
use lambda_http::tracing::Dispatch;
use serde_json::{Map, Value, json};
use shared::access::Scope;
use shared::http::{ApiService, Function, Route, event};
use shared::log;
use shared::metrics::{METRICS, NAMESPACE_VARIABLE};
use shared::problem::Problem;
use shared::timestamp::Timestamp;

use crate::capture::{Captured, listen};
use crate::harness::{Api, Fault, PORTKEY, TRUEFOUNDRY, event_json};
use crate::lambda;

const MISSING: &str = "019ab2a9-8fc6-7804-83ea-e496e2dd611d";
const NAMESPACE: &str = "Hindsight/test";

/// The log that the template sets up.
fn deployed(captured: &Captured, level: &'static str) -> Dispatch {
    log::log(captured.clone(), move |name| {
        let value = match name {
            "AWS_LAMBDA_LOG_FORMAT" => "JSON",
            "AWS_LAMBDA_LOG_LEVEL" => level,
            NAMESPACE_VARIABLE => NAMESPACE,
            _ => return None,
        };
        Some(value.to_owned())
    })
}

/// What Lambda tells a function of an invocation.
fn context(id: &str) -> Context {
    let config = lambda_runtime::Config {
        version: "7".to_owned(),
        ..lambda_runtime::Config::default()
    };
    let mut context = Context::default();
    context.request_id = id.to_owned();
    context.env_config = Arc::new(config);
    context
}

/// The functions as containers that stay.
struct Deployed {
    api: Api,
    functions: BTreeMap<Function, ApiService>,
    captured: Captured,
}

impl Deployed {
    async fn new(captured: &Captured) -> Self {
        let api = Api::new().await;
        let function = |name: Function| {
            let function = local::function(name, api.wiring()).unwrap();
            (name, function)
        };
        let functions = Function::ALL.map(function).into();
        captured.take();
        Self {
            api,
            functions,
            captured: captured.clone(),
        }
    }

    /// Calls a route, and returns the status, the answer and the one line that was logged.
    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Value, Value) {
        let mut all = BTreeMap::from([("x-portkey-api-key", self.api.key.as_str())]);
        all.extend(headers.iter().copied());
        let headers: Vec<_> = all.into_iter().collect();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (route, _) = Route::find(&method, path).unwrap();
        let event = event_json(&method, path, query, &headers, body, false);
        let LambdaRequest::ApiGatewayV2(event) = serde_json::from_value(event).unwrap() else {
            panic!("not an event of an HTTP API");
        };
        let request: lambda_http::Request = LambdaRequest::ApiGatewayV2(event::sanitized(event)).into();
        let request = request.with_lambda_context(context("lambda's id"));
        let service = self.functions[&route.function()].clone();
        let response = match service.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status().as_u16();
        let answer = serde_json::from_slice(response.body()).unwrap();
        (status, answer, one_line(&self.captured.take()))
    }
}

/// The one line there is.
#[track_caller]
fn one_line(text: &str) -> Value {
    let mut lines = lines(text).into_iter();
    let line = lines.next().unwrap();
    assert_eq!(lines.next(), None, "{text}");
    line
}

/// Every line, each of which must be a JSON object that Lambda and CloudWatch understand.
#[track_caller]
fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            assert!(line.is_object(), "{line}");
            assert!(
                Timestamp::parse(line["timestamp"].as_str().unwrap()).is_some(),
                "{line}"
            );
            let level = line["level"].as_str().unwrap();
            assert!(
                ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level),
                "{line}"
            );
            check_metrics(&line);
            line
        })
        .collect()
}

/// The specification of the Embedded Metric Format, and its JSON schema, as far as a document can
/// be wrong in it.
#[track_caller]
fn check_metrics(line: &Value) {
    const UNITS: [&str; 2] = ["Count", "Milliseconds"];
    let Some(metadata) = line.get("_aws") else {
        let metric = METRICS.iter().find(|metric| line.get(metric.name).is_some());
        assert!(metric.is_none(), "{metric:?} is not told of: {line}");
        return;
    };
    let names =
        |object: &Value| -> BTreeSet<String> { object.as_object().unwrap().keys().cloned().collect() };
    let expected =
        |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    assert_eq!(names(metadata), expected(&["CloudWatchMetrics", "Timestamp"]));
    let at = Timestamp::from_millis(metadata["Timestamp"].as_u64().unwrap());
    assert_eq!(line["timestamp"], at.to_string());
    let directives = metadata["CloudWatchMetrics"].as_array().unwrap();
    assert!(!directives.is_empty());
    for directive in directives {
        assert_eq!(
            names(directive),
            expected(&["Dimensions", "Metrics", "Namespace"])
        );
        let namespace = directive["Namespace"].as_str().unwrap();
        assert!((1..=1024).contains(&namespace.len()) && !namespace.starts_with("AWS/"));
        let sets = directive["Dimensions"].as_array().unwrap();
        assert_eq!(sets.len(), 1, "each set is a metric that is paid for");
        for name in sets[0].as_array().unwrap() {
            let value = line[name.as_str().unwrap()].as_str().unwrap();
            assert!((1..=1024).contains(&value.len()) && value.is_ascii(), "{line}");
        }
        assert!(sets[0].as_array().unwrap().len() <= 30);
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()));
        for metric in metrics {
            assert_eq!(names(metric), expected(&["Name", "Unit"]));
            assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{line}");
            assert!(UNITS.contains(&metric["Unit"].as_str().unwrap()));
        }
    }
}

/// What a line says of metrics: their names with the values of their dimensions, and their values.
fn metrics(line: &Value) -> BTreeMap<String, f64> {
    let directives = line["_aws"]["CloudWatchMetrics"].as_array();
    directives
        .into_iter()
        .flatten()
        .flat_map(|directive| {
            let dimensions = directive["Dimensions"][0].as_array().unwrap();
            let values: Vec<_> = dimensions
                .iter()
                .map(|name| line[name.as_str().unwrap()].as_str().unwrap())
                .collect();
            let metrics = directive["Metrics"].as_array().unwrap();
            metrics.iter().map(move |metric| {
                let name = metric["Name"].as_str().unwrap();
                let value = line[name].as_f64().unwrap();
                ([&[name], values.as_slice()].concat().join(" "), value)
            })
        })
        .collect()
}

/// Checks the fields of a line. Those that differ from call to call must only be there.
#[track_caller]
fn check(line: &Value, expected: Value) {
    let Value::Object(mut line) = line.clone() else {
        panic!("{line} is no object");
    };
    for name in ["timestamp", "_aws"] {
        line.remove(name);
    }
    assert!(line.remove("ms").is_some_and(|ms| ms.is_f64()), "{line:?}");
    let always = json!({"level": "INFO", "request_id": "lambda's id", "function_version": "7"});
    let Value::Object(mut all) = always else {
        unreachable!();
    };
    all.extend(expected.as_object().unwrap().clone());
    assert_eq!(Value::Object(line), Value::Object(all));
}

/// The fields of every line of a request.
fn request(route: &str, status: u16, rest: Value) -> Value {
    let dialect = if route.contains("/api/svc/") {
        "truefoundry"
    } else {
        "portkey"
    };
    let mut fields: Map<String, Value> = json!({
        "gateway_id": "JKJaXmPLvHcESHA=", "route": route, "dialect": dialect, "status": status,
        "workspace": "test", "message": "answered", "cold": false, "read_units": 0.0, "write_units": 0.0,
    })
    .as_object()
    .unwrap()
    .clone();
    fields.extend(rest.as_object().unwrap().clone());
    fields.retain(|_, value| !value.is_null());
    Value::Object(fields)
}

#[tokio::test(start_paused = true)]
async fn a_request_is_one_line_with_what_it_was_and_what_it_cost() {
    let captured = Captured::default();
    let _log = listen(deployed(&captured, "INFO"));
    let deployed = Deployed::new(&captured).await;
    let valued = json!({"trace_id": "t", "value": 1}).to_string();
    let indexed =
        json!({"trace_id": "t", "value": 1, "metadata": {"_user": "u", "_prompt": "p"}}).to_string();
    let rated = json!({"target": {"traceId": "t", "spanId": "s"}, "rating": 3}).to_string();

    // The first one is cold, and looks up its key.
    let post = "POST /v1/feedback";
    let (_, answer, line) = deployed.call(Method::POST, PORTKEY, &[], &valued).await;
    let vote = json!({"scale": "value", "votes": 1, "write_units": 3.0});
    let mut cold = vote.clone();
    cold["cold"] = json!(true);
    cold["read_units"] = json!(1.0);
    check(&line, request(post, 200, cold));
    assert_eq!(
        metrics(&line),
        BTreeMap::from([("votes portkey value".to_owned(), 1.0)])
    );
    let id = answer["feedback_ids"][0].as_str().unwrap().to_owned();
    let (_, _, line) = deployed.call(Method::POST, PORTKEY, &[], &valued).await;
    check(&line, request(post, 200, vote));

    // What is written to further indexes, in transactions (to a table twice, to an index once), and
    // under a key.
    let once = [("idempotency-key", "once")];
    let bulk = format!("[{valued},{valued}]");
    for (path, headers, body, fields, metric) in [
        (
            PORTKEY,
            &[][..],
            &indexed,
            json!({"scale": "value", "votes": 1, "write_units": 5.0}),
            Some(("votes portkey value", 1.0)),
        ),
        (
            PORTKEY,
            &[],
            &bulk,
            json!({"scale": "value", "votes": 2, "write_units": 8.0}),
            Some(("votes portkey value", 2.0)),
        ),
        (
            TRUEFOUNDRY,
            &[],
            &rated,
            json!({"scale": "rating", "votes": 1, "write_units": 3.0}),
            Some(("votes truefoundry rating", 1.0)),
        ),
        (
            PORTKEY,
            &once,
            &valued,
            json!({"scale": "value", "votes": 1, "write_units": 6.0}),
            Some(("votes portkey value", 1.0)),
        ),
        // A repeat stores nothing, and is no vote.
        (PORTKEY, &once, &valued, json!({"read_units": 1.0}), None),
    ] {
        let (status, answer, line) = deployed.call(Method::POST, path, headers, body).await;
        assert_eq!(status, 200, "{answer}");
        check(&line, request(&format!("POST {path}"), 200, fields));
        let expected = metric.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(metrics(&line), expected.into_iter().collect());
    }

    // The other functions. Each is cold once, and all share what is remembered of keys.
    let cold = |rest: Value| {
        let mut fields = rest;
        fields["cold"] = json!(true);
        fields
    };
    let range = "time_of_generation_min=2026-01-01T00:00:00Z&time_of_generation_max=2026-02-01T00:00:00Z";
    for (method, path, route, body, fields) in [
        (
            Method::PUT,
            format!("{PORTKEY}/{id}"),
            "PUT /v1/feedback/{id}",
            r#"{"value":2}"#,
            cold(json!({"read_units": 0.5, "write_units": 3.0})),
        ),
        (
            Method::GET,
            format!("{PORTKEY}/{id}"),
            "GET /v1/feedback/{id}",
            "",
            cold(json!({"read_units": 1.5})),
        ),
        (
            Method::GET,
            format!("{TRUEFOUNDRY}?traceId=t&spanId=s"),
            "GET /api/svc/v1/gateway-feedback",
            "",
            json!({"read_units": 1.0}),
        ),
        (
            Method::GET,
            format!("/v1/analytics/groups/metadata/_user?{range}"),
            "GET /v1/analytics/groups/metadata/{key}",
            "",
            cold(json!({"read_units": 3.0})),
        ),
        (
            Method::DELETE,
            format!("{PORTKEY}/{id}"),
            "DELETE /v1/feedback/{id}",
            "",
            cold(json!({"read_units": 0.5, "write_units": 3.0})),
        ),
    ] {
        let (status, answer, line) = deployed.call(method, &path, &[], body).await;
        assert_eq!(status, 200, "{answer}");
        check(&line, request(route, 200, fields));
        assert_eq!(line.get("_aws"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_says_why_and_is_counted_by_it() {
    let captured = Captured::default();
    let _log = listen(deployed(&captured, "INFO"));
    let deployed = Deployed::new(&captured).await;
    let valued = json!({"trace_id": "t", "value": 1}).to_string();
    let (_, answer, _) = deployed
        .call(Method::POST, PORTKEY, &[("idempotency-key", "k")], &valued)
        .await;
    let record = format!("{PORTKEY}/{}", answer["feedback_ids"][0].as_str().unwrap());
    let reader = deployed.api.key_for("readers", &[Scope::Read]).await;
    let large = format!(
        r#"{{"trace_id":"t","value":1,"metadata":{{"x":"{}"}}}}"#,
        "x".repeat(70_000)
    );
    let graph = "/v1/analytics/graphs/feedbacks?workspace_slug=foreign&\
                 time_of_generation_min=2026-01-01T00:00:00Z&time_of_generation_max=2026-02-01T00:00:00Z";
    let mut seen = BTreeSet::new();
    for (method, path, headers, body, fault, status, code, says) in [
        (
            Method::POST,
            PORTKEY,
            &[][..],
            r#"{"value":"x"}"#,
            None,
            400,
            "invalid",
            "invalid: trace_id, value",
        ),
        (
            Method::POST,
            PORTKEY,
            &[],
            large.as_str(),
            None,
            413,
            "too_large",
            "invalid: metadata",
        ),
        (
            Method::GET,
            PORTKEY,
            &[("x-portkey-api-key", "x")],
            "",
            None,
            401,
            "unauthorized",
            "a valid API key",
        ),
        (
            Method::POST,
            PORTKEY,
            &[("x-portkey-api-key", &reader)],
            &valued,
            None,
            403,
            "forbidden",
            "write",
        ),
        (
            Method::GET,
            graph,
            &[],
            "",
            None,
            403,
            "foreign_workspace",
            "another workspace",
        ),
        (
            Method::DELETE,
            &format!("{PORTKEY}/{MISSING}"),
            &[],
            "",
            None,
            404,
            "not_found",
            "no such feedback",
        ),
        (
            Method::POST,
            PORTKEY,
            &[("idempotency-key", "k")],
            r#"{"trace_id":"t","value":2}"#,
            None,
            409,
            "key_reused",
            "different request",
        ),
        (
            Method::PUT,
            &record,
            &[("if-match", "\"9\"")],
            r#"{"value":2}"#,
            None,
            412,
            "version_mismatch",
            "version",
        ),
        (
            Method::POST,
            PORTKEY,
            &[],
            &valued,
            Some(Fault::Throttle),
            429,
            "throttled",
            "is throttled",
        ),
        (
            Method::POST,
            PORTKEY,
            &[],
            &valued,
            Some(Fault::ServerError),
            503,
            "unavailable",
            "dynamodb: ",
        ),
        (
            Method::POST,
            PORTKEY,
            &[],
            &valued,
            Some(Fault::AccessDenied),
            500,
            "internal",
            "dynamodb: ",
        ),
    ] {
        let fault = fault.map_or(Vec::new(), |fault| vec![fault; 9]);
        deployed.api.database.fail_on("PutItem", fault);
        let (answered, answer, line) = deployed.call(method, path, headers, body).await;
        deployed.api.database.recover();
        assert_eq!((answered, &line["status"]), (status, &json!(status)), "{answer}");
        assert_eq!(line["problem"], code, "{line}");
        assert!(line["cause"].as_str().unwrap().contains(says), "{line}");
        let (level, message) = if status >= 500 {
            ("ERROR", "failed")
        } else {
            ("INFO", "refused")
        };
        assert_eq!(
            (&line["level"], &line["message"]),
            (&json!(level), &json!(message))
        );
        assert_eq!(metrics(&line), BTreeMap::from([(format!("refused {code}"), 1.0)]));
        // Whose it was is there as soon as it was known.
        let workspace = match code {
            "unauthorized" => Value::Null,
            "forbidden" => json!("readers"),
            _ => json!("test"),
        };
        assert_eq!(line["workspace"], workspace, "{line}");
        seen.insert(code);
    }
    assert_eq!(seen, Problem::CODES.into_iter().collect());
}

#[tokio::test(start_paused = true)]
async fn a_trace_is_logged_if_it_is_one_and_no_text_breaks_a_line() {
    let captured = Captured::default();
    let _log = listen(deployed(&captured, "INFO"));
    let deployed = Deployed::new(&captured).await;
    let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let traceparent = format!("00-{trace}-{parent}-01");
    let broken = format!("00-{}\"}}-{parent}-01", &trace[2..]);
    let root = "5759e988bd862e3fe1be46a994272793";
    for (headers, found, from) in [
        (&[][..], Value::Null, Value::Null),
        (
            &[("traceparent", traceparent.as_str())],
            json!(trace),
            json!(parent),
        ),
        (
            &[("x-amzn-trace-id", TRACE)],
            json!(root),
            json!("53995c3f42cd8ad8"),
        ),
        (
            &[("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793")],
            json!(root),
            Value::Null,
        ),
        (
            &[("traceparent", traceparent.as_str()), ("x-amzn-trace-id", TRACE)],
            json!(trace),
            json!(parent),
        ),
        (
            &[("traceparent", broken.as_str()), ("x-amzn-trace-id", TRACE)],
            json!(root),
            json!("53995c3f42cd8ad8"),
        ),
        (&[("traceparent", broken.as_str())], Value::Null, Value::Null),
        (
            &[("x-amzn-trace-id", "Root=1-\",\"level\":\"x-1")],
            Value::Null,
            Value::Null,
        ),
    ] {
        // The ids of feedback are the caller's, and are not logged, whatever they are.
        for text in [
            "t",
            "\n{\"level\":\"ERROR\"}\n",
            "\r\n\t\0\u{1b}[2J\u{2028}\u{feff}",
            "\",\"_aws\":{}",
        ] {
            let body = json!({"trace_id": text, "value": 1, "metadata": {"_user": text}}).to_string();
            let (status, _, line) = deployed.call(Method::POST, PORTKEY, headers, &body).await;
            assert_eq!(status, 200);
            assert_eq!((&line["trace"], &line["parent"]), (&found, &from), "{headers:?}");
            assert!(text == "t" || !line.to_string().contains(text), "{line}");
            let query: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let (status, _, line) = deployed
                .call(Method::GET, &format!("{PORTKEY}/{query}"), headers, "")
                .await;
            assert_eq!(status, 400);
            assert_eq!(line["route"], "GET /v1/feedback/{id}");
            assert_eq!(line["trace"], found);
        }
    }
}

#[tokio::test]
async fn the_level_and_the_format_are_the_environment_s() {
    let valued = json!({"trace_id": "t", "value": 1}).to_string();
    for (level, expected) in [
        ("DEBUG", &["answered", "refused", "failed"][..]),
        ("INFO", &["answered", "refused", "failed"]),
        ("WARN", &["failed"]),
        ("ERROR", &["failed"]),
    ] {
        for (format, namespace) in [
            ("JSON", Some(NAMESPACE)),
            ("JSON", None),
            ("JSON", Some("")),
            ("Text", Some(NAMESPACE)),
        ] {
            let captured = Captured::default();
            let _log = listen(log::log(captured.clone(), move |name| match name {
                "AWS_LAMBDA_LOG_FORMAT" => Some(format.to_owned()),
                "AWS_LAMBDA_LOG_LEVEL" => Some(level.to_owned()),
                NAMESPACE_VARIABLE => namespace.map(str::to_owned),
                _ => None,
            }));
            let api = Api::new().await;
            captured.take();
            api.call(Method::POST, PORTKEY, &[], &valued).await.ok();
            api.call(Method::POST, PORTKEY, &[], "{")
                .await
                .refused(400, "JSON");
            api.database.fail_on("PutItem", [Fault::AccessDenied]);
            assert_eq!(api.call(Method::POST, PORTKEY, &[], &valued).await.status, 500);
            let text = captured.take();
            let has_metrics = text.contains("_aws");
            if format == "Text" {
                assert_eq!(text.lines().count(), expected.len(), "{text}");
                for (line, message) in text.lines().zip(expected) {
                    assert!(line.contains(message) && line.contains("route="), "{line}");
                    assert!(serde_json::from_str::<Value>(line).is_err());
                }
                assert!(!has_metrics, "{text}");
            } else {
                let messages: Vec<Value> = text
                    .lines()
                    .map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].take())
                    .collect();
                assert_eq!(messages, expected, "{text}");
                assert_eq!(has_metrics, namespace == Some(NAMESPACE), "{text}");
            }
        }
    }
}

/// The changes of the feedback table, as Lambda brings them.
async fn stream(api: &Api) -> Vec<Value> {
    api.changes().await
}

#[tokio::test]
async fn a_batch_is_one_line_with_what_was_counted_and_how_late() {
    let captured = Captured::default();
    let _log = listen(deployed(&captured, "INFO"));
    let api = Api::new().await;
    for value in [1, -1] {
        api.post(PORTKEY, json!({"trace_id": "canary", "value": value}))
            .await
            .ok();
    }
    let records = stream(&api).await;
    let aggregate = Aggregate::new(api.counter());
    captured.take();
    let count = async |event: Value| {
        let payload: Payload = serde_json::from_value(event).unwrap();
        let answer = aggregate
            .answer(LambdaEvent::new(payload, context("lambda's id")))
            .await;
        (answer, one_line(&captured.take()))
    };
    let lag = |line: &mut Value| line.as_object_mut().unwrap().remove("lag_ms");

    let batch = json!({"Records": records, "shardId": "s"});
    let (answer, mut line) = count(batch.clone()).await;
    answer.unwrap();
    assert_eq!(metrics(&line)["counted"], 2.0);
    assert!(metrics(&line)["lag_ms"] >= 0.0);
    assert!(lag(&mut line).is_some());
    let units = json!({
        "message": "counted", "records": 2, "counted": 2, "cold": true,
        "read_units": line["read_units"], "write_units": line["write_units"],
    });
    // The checkpoint and four roll-ups in a transaction, and once in a table's life what generation it
    // begins with.
    assert_eq!(line["write_units"], 12.0);
    check(&line, units);

    // A batch that comes again has been counted.
    let (answer, mut line) = count(batch.clone()).await;
    answer.unwrap();
    assert_eq!(metrics(&line)["counted"], 0.0);
    lag(&mut line);
    let read = line["read_units"].clone();
    check(
        &line,
        json!({"message": "counted", "records": 2, "counted": 0, "cold": false, "read_units": read, "write_units": 0.0}),
    );

    // The end of a window brings none, and so no lag.
    let (answer, line) = count(json!({"shardId": "s", "isFinalInvokeForWindow": true})).await;
    answer.unwrap();
    check(
        &line,
        json!({"message": "counted", "records": 0, "counted": 0, "cold": false, "read_units": 0.0, "write_units": 0.0}),
    );
    assert_eq!(metrics(&line), BTreeMap::from([("counted".to_owned(), 0.0)]));

    // How late it is follows from the newest change.
    let mut late = batch.clone();
    let hour_ago = Timestamp::now().seconds() - 3_600;
    late["Records"][0]["dynamodb"]["ApproximateCreationDateTime"] = json!(hour_ago - 50);
    late["Records"][1]["dynamodb"]["ApproximateCreationDateTime"] = json!(hour_ago);
    let lag_now = || (Timestamp::now().millis() - hour_ago * 1_000) as f64;
    let before = lag_now();
    let (_, line) = count(late).await;
    let lag = line["lag_ms"].as_f64().unwrap();
    assert!((before..=lag_now()).contains(&lag), "{lag}");

    // A change that cannot be read is named by its shard and number, with the reason and no content.
    let mut odd = batch.clone();
    odd["Records"][1]["dynamodb"]["NewImage"]["value"] = json!({"N": "99"});
    odd["shardId"] = json!("another");
    let payload: Payload = serde_json::from_value(odd.clone()).unwrap();
    let event = LambdaEvent::new(payload, context("lambda's id"));
    assert_eq!(aggregate.answer(event).await.unwrap(), Response::default());
    let text = captured.take();
    let [parked, line] = lines(&text).try_into().unwrap();
    assert_eq!(
        ["level", "message", "shard", "sequence", "cause", "request_id"].map(|name| &parked[name]),
        [
            &json!("ERROR"),
            &json!("a change is parked"),
            &json!("another"),
            &odd["Records"][1]["dynamodb"]["SequenceNumber"],
            &json!("value or weight: cannot be read"),
            &json!("lambda's id"),
        ]
    );
    assert_eq!(
        (&line["message"], &line["parked"]),
        (&json!("counted"), &json!(1))
    );
    assert_eq!(metrics(&line)["counted"], 1.0);

    // A batch that fails says so once.
    api.database.fail_on("GetItem", [Fault::AccessDenied]);
    let (answer, line) = count(batch).await;
    assert!(answer.is_err());
    assert_eq!(
        (&line["level"], &line["problem"]),
        (&json!("ERROR"), &json!("internal"))
    );
    assert_eq!(line.get("counted"), None);
    assert!(!captured.text().contains("canary"));
}

#[tokio::test]
async fn a_process_prints_its_lines_and_lambda_s_runtime_adds_none() {
    let api = Api::new().await;
    let variables = [
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
        (NAMESPACE_VARIABLE, NAMESPACE),
    ];
    let mut create = lambda::start_with("create", &api.database, Stdio::piped(), &variables).await;
    let valued = json!({"trace_id": "t", "value": 1}).to_string();
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let root = "Root=1-5759e988-aaaaaaaaaaaaaaaaaaaaaaaa";
    for (headers, body) in [
        (&[][..], &valued),
        (&[("traceparent", traceparent)], &valued),
        (&[("x-amzn-trace-id", root)], &"{".to_owned()),
    ] {
        let headers = [&[("x-portkey-api-key", api.key.as_str())], headers].concat();
        let event = event_json(&Method::POST, PORTKEY, "", &headers, body, false);
        create.invoke(event).await.unwrap().outcome.unwrap();
    }
    let text = create.stop().await.unwrap();
    let printed = lines(&text);
    assert_eq!(printed.len(), 3, "{text}");
    let of = |name: &str| -> Vec<&Value> { printed.iter().map(|line| &line[name]).collect() };
    assert_eq!(of("message"), ["answered", "answered", "refused"]);
    assert_eq!(of("cold"), [true, false, false]);
    assert_eq!(of("function_version"), ["$LATEST"; 3]);
    assert_eq!(of("write_units"), [3.0, 3.0, 0.0]);
    // Lambda's own trace where the caller has none.
    assert_eq!(
        of("trace"),
        [
            "5759e988bd862e3fe1be46a994272793",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "5759e988aaaaaaaaaaaaaaaaaaaaaaaa",
        ]
    );
    for id in of("request_id") {
        assert!(id.as_str().unwrap().starts_with("8476a536-"), "{id}");
    }
}

#[tokio::test]
async fn an_event_that_is_none_is_not_quoted() {
    let api = Api::new().await;
    let variables = [
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
    ];
    let mut aggregate = lambda::start_with("aggregate", &api.database, Stdio::piped(), &variables).await;
    let mut failures = Vec::new();
    for event in [
        json!("canary"),
        json!({"canary": "canary"}),
        json!({"shardId": {"canary": "canary"}}),
        json!({"shardId": "s", "Records": [{"dynamodb": {"SequenceNumber": ["canary"], "canary": 1}}]}),
        json!({"shardId": "s", "Records": [{"dynamodb": {"ApproximateCreationDateTime": "canary"}}]}),
    ] {
        failures.push(aggregate.invoke(event).await.unwrap().outcome.unwrap_err());
    }
    // A change that is none is parked, whole, and told of without a word of it.
    let odd =
        json!({"shardId": "s", "Records": [{"dynamodb": {"SequenceNumber": "1", "NewImage": ["canary"]}}]});
    aggregate.invoke(odd).await.unwrap().outcome.unwrap();
    let text = aggregate.stop().await.unwrap();
    assert!(!text.contains("canary"), "{text}");
    let printed: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [.., parked, counted] = printed.as_slice() else {
        panic!("{text}");
    };
    assert_eq!(
        (&parked["message"], &counted["parked"]),
        (&json!("a change is parked"), &json!(1))
    );
    assert_eq!(printed.len(), failures.len() + 2, "{text}");
    for (line, failure) in printed.iter().zip(failures) {
        assert_eq!(line["message"], "failed", "{line}");
        assert!(!failure.to_string().contains("canary"), "{failure}");
        assert!(
            failure["errorMessage"].as_str().unwrap().contains("column"),
            "{failure}"
        );
    }
}

/// What docs/internals/logs.md says a deployment can be billed for.
#[test]
fn there_are_no_more_than_fifteen_metrics() {
    let combinations = |metric: &shared::metrics::Metric| match metric.dimensions {
        [] => 1,
        // Each dialect has a scale of its own.
        ["dialect", "scale"] => 2,
        ["problem"] => Problem::CODES.len(),
        other => panic!("how many values has {other:?}?"),
    };
    assert_eq!(METRICS.iter().map(combinations).sum::<usize>(), 15);
    for metric in METRICS {
        for name in metric.dimensions {
            assert!(["dialect", "scale", "problem"].contains(name));
        }
    }
}
