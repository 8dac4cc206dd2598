//! The functions' log: one line per request and batch, with documented fields. CloudWatch extracts metrics
//! from these lines.

mod batches;
mod process;
mod requests;

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

/// The log as the template configures it.
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

/// Lambda's context of an invocation.
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

/// The functions as long-lived containers.
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

    /// Calls a route, and returns status, response body and the one log line.
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

/// The only line.
#[track_caller]
fn one_line(text: &str) -> Value {
    let mut lines = lines(text).into_iter();
    let line = lines.next().unwrap();
    assert_eq!(lines.next(), None, "{text}");
    line
}

/// All lines. Each must be a JSON object that Lambda and CloudWatch understand.
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

/// Checks a line against the specification of the Embedded Metric Format and its JSON schema.
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

/// The metrics in a line: their names and dimension values, with their values.
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

/// Checks the fields of a line. Those that vary must only be present.
#[track_caller]
fn check(line: &Value, expected: Value) {
    let Value::Object(mut line) = line.clone() else {
        panic!("{line} is not an object");
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

/// The fields in every line of a request.
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

/// The number of metrics that docs/internals/logs.md says a deployment can be billed for.
#[test]
fn there_are_no_more_than_seventeen_metrics() {
    let combinations = |metric: &shared::metrics::Metric| match metric.dimensions {
        [] => 1,
        // Each vendor has its own scale, and votes from pages have both.
        ["dialect", "scale"] => 4,
        ["problem"] => Problem::CODES.len(),
        other => panic!("how many values has {other:?}?"),
    };
    assert_eq!(METRICS.iter().map(combinations).sum::<usize>(), 17);
    for metric in METRICS {
        for name in metric.dimensions {
            assert!(["dialect", "scale", "problem"].contains(name));
        }
    }
}
