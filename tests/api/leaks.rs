//! No key, comment, metadata or trace appears in a log line at any level, or in an error response.
//!
//! Every text sent here contains the word `canary`, so one search finds them all.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::Method;
use lambda_http::lambda_runtime::{Context, LambdaEvent, tower::Service as _};
use lambda_http::request::LambdaRequest;
use lambda_http::tracing::dispatcher::Dispatch;
use lambda_http::{Adapter, tracing};
use serde_json::{Value, json};
use shared::http::{Call, Function, Reply, event, no_document, service};
use shared::log;
use shared::metrics::NAMESPACE_VARIABLE;

use crate::capture::{Captured, listen};
use crate::erasure::ERASURES;
use crate::harness::{Answer, Api, Fault, PORTKEY, TRUEFOUNDRY, event_json};

const MISSING: &str = "019ab2a9-8fc6-7804-83ea-e496e2dd611d";

const FAULTS: [Fault; 11] = [
    Fault::Throttle,
    Fault::ServerError,
    Fault::Hang,
    Fault::LostAnswer,
    Fault::CutAnswer,
    Fault::Conflict,
    Fault::Refused,
    Fault::IndexLags,
    Fault::AccessDenied,
    Fault::Repeats,
    Fault::Garbles,
];

/// The first line with a caller's text: unchanged, as the bytes of a `Debug`, or in base64.
fn leak<'t>(api: &Api, text: &'t str) -> Option<&'t str> {
    let secret = &api.key[21..];
    let bytes = format!("{:?}", b"canary");
    let bytes = bytes.trim_matches(['[', ']']);
    let encoded = target_id();
    text.lines().find(|line| {
        let line = line.to_lowercase();
        ["canary", secret, bytes, &encoded.to_lowercase()[..24]]
            .iter()
            .any(|leaked| line.contains(leaked))
    })
}

fn target_id() -> String {
    STANDARD.encode(json!({"spanId": "canary-span", "traceId": "canary-trace"}).to_string())
}

/// Calls every route in every possible way, with valid and invalid requests.
async fn call_everything(api: &Api) -> Vec<Answer> {
    let metadata = json!({
        "_user": "canary-user", "_organisation": "canary-organisation", "_prompt": "canary-prompt",
        "_environment": "canary-environment", "canary-name": ["canary-value", {"canary-inner": "canary"}],
    });
    let valued = json!({"trace_id": "canary-trace", "value": 1, "metadata": metadata});
    let target =
        json!({"traceId": "canary-trace", "spanId": "canary-span", "tracingProjectFQN": "canary-project"});
    let rated = json!({"target": target, "rating": 1, "comment": "canary-comment", "metadata": metadata});
    let encoded =
        json!({"target": {"feedbackTargetId": target_id()}, "rating": 1, "comment": "canary-comment"});
    // Invalid values that contain the canary.
    let faulty = json!({
        "trace_id": ["canary"], "value": "canary, and longer than what is quoted", "weight": {"canary": 1},
        "metadata": "canary", "target": {"traceId": {"canary": 1}, "spanId": "canary".repeat(100)},
        "rating": ["canary"], "comment": {"canary": 1}, "feedback_id": "canary",
    });
    let indexed = json!({"trace_id": "t", "value": 1, "target": target, "rating": 1, "metadata": {"_user": ["canary"]}});
    let encoded_faulty = STANDARD.encode(r#"{"traceId":"canary","spanId":"","canary":"canary"}"#);
    let bodies: Vec<String> = [
        valued.clone(),
        json!([valued, valued]),
        json!([{"canary": 1}, "canary"]),
        rated,
        encoded,
        faulty,
        indexed,
        json!({"target": {"feedbackTargetId": encoded_faulty}}),
        json!("canary"),
    ]
    .iter()
    .map(Value::to_string)
    .chain([
        r#"{"canary":"canary","canary":"canary"}"#.to_owned(),
        r#"{"canary": canary}"#.to_owned(),
        "{\"canary\": \"canary\u{1}\"}".to_owned(),
        r#"{"canary": "\ud800 canary"#.to_owned(),
        r#"{"metadata":{"canary":"canary\ud800"}}"#.to_owned(),
        format!(r#"{{"comment":"{}"}}"#, "canary".repeat(3_000)),
        format!("{{\"canary\":{}", "[".repeat(200)),
        String::new(),
    ])
    .collect();
    let id = match api.call(Method::POST, PORTKEY, &[], &valued.to_string()).await {
        answer if answer.status == 200 => answer.id(),
        _ => MISSING.to_owned(),
    };
    let key = [
        ("idempotency-key", "canary-idempotency"),
        ("if-match", "\"canary\""),
    ];
    let mut answers = Vec::new();
    for base in [PORTKEY, TRUEFOUNDRY] {
        for path in ["canary%20path", MISSING, id.as_str(), "undefined"].map(|id| format!("{base}/{id}")) {
            for body in &bodies {
                for headers in [&[][..], &key[..1], &key[1..]] {
                    answers.push(api.call(Method::PUT, &path, headers, body).await);
                }
            }
            answers.push(api.get(&path).await);
        }
        for body in &bodies {
            for headers in [
                &[][..],
                &key[..1],
                &[
                    ("cookie", "canary"),
                    ("user-agent", "canary"),
                    ("traceparent", "00-canary-canary-01"),
                    ("x-amzn-trace-id", "Root=1-canary-canary;Parent=canary"),
                ],
            ] {
                answers.push(api.call(Method::POST, base, headers, body).await);
            }
            let mut event = event_json(
                &Method::POST,
                base,
                "",
                &[("x-portkey-api-key", &api.key)],
                "",
                true,
            );
            event["body"] = json!(STANDARD.encode([body.as_bytes(), b"\xff"].concat()));
            answers.push(api.event(&event).await);
            answers.push(
                api.call(Method::DELETE, &format!("{base}/{MISSING}"), &key[..1], body)
                    .await,
            );
        }
        answers.push(api.call(Method::DELETE, &format!("{base}/canary"), &[], "").await);
    }
    for query in [
        "trace_id=canary-trace&span_id=canary-span",
        "trace_id=canary-trace",
        "user=canary-user&prompt=canary-prompt",
        "organisation=canary-organisation",
        "reason=canary-reason&value_min=canary&rating_max=canary&has_comment=canary",
        "environment=canary-environment&limit=x&from=x&order=x&cursor=canary",
        "trace_id=canary&trace_id=canary",
    ] {
        answers.push(api.get(&format!("{PORTKEY}?{query}")).await);
        let long = "canary".repeat(100);
        answers.push(
            api.get(&format!("{PORTKEY}?{query}&user={long}&trace_id={long}"))
                .await,
        );
    }
    let encoded = target_id().replace('=', "%3D");
    for query in [
        &format!("feedbackTargetId={encoded}"),
        "feedbackTargetId=canary",
        "traceId=canary-trace&pageToken=canary",
    ] {
        answers.push(api.get(&format!("{TRUEFOUNDRY}?{query}")).await);
    }
    let range = "time_of_generation_min=2026-01-01T00:00:00Z&time_of_generation_max=2027-01-01T00:00:00Z";
    let pair = "%7B%22canary-name%22%3A%22canary-value%22%7D";
    for (graph, query) in [
        (
            "graphs/feedbacks",
            format!("{range}&trace_id=canary-trace&span_id=canary-span"),
        ),
        (
            "graphs/feedbacks/scores",
            format!("{range}&metadata={pair}&prompt_slug=canary-prompt"),
        ),
        (
            "graphs/feedbacks/ai-models",
            format!("{range}&ai_org_model=canary&workspace_slug=canary"),
        ),
        (
            "graphs/feedbacks/weighted",
            "time_of_generation_min=x&metadata=canary&trace_id=".to_owned(),
        ),
        ("groups/metadata/canary", range.to_owned()),
        ("groups/metadata/_user", format!("{range}&unknown=canary")),
    ] {
        answers.push(api.get(&format!("/v1/analytics/{graph}?{query}")).await);
    }
    for body in bodies.iter().cloned().chain([
        json!({"user": "canary-user"}).to_string(),
        json!({"user": "canary-user", "cursor": "canary"}).to_string(),
        json!({"user": ["canary"], "cursor": {"canary": 1}}).to_string(),
    ]) {
        let answer = api.call(Method::POST, ERASURES, &key[..1], &body).await;
        // The names of unknown fields are shown to their caller only.
        if !answer.text.contains("unknown field canary") {
            answers.push(answer);
        }
    }
    // The name of an unknown parameter is shown to its caller only.
    for path in [PORTKEY, TRUEFOUNDRY, "/v1/analytics/graphs/feedbacks"] {
        api.get(&format!("{path}?canary=canary"))
            .await
            .refused(400, "unknown parameter canary");
    }
    let forged = format!(
        "{}{}",
        &api.key[..92],
        if api.key.ends_with('0') { '1' } else { '0' }
    );
    for stranger in ["canary-key", &forged] {
        answers.push(api.as_key(stranger).get(PORTKEY).await);
        let bearer = format!("Bearer {stranger}");
        answers.push(
            api.raw(Method::GET, TRUEFOUNDRY, &[("authorization", &bearer)], "")
                .await,
        );
    }
    answers
}

/// Checks that error responses contain nothing from the request, and nothing about the implementation.
fn check_answers(api: &Api, answers: &[Answer]) {
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(leak(api, &answer.text), None, "{}", answer.text);
        for (name, value) in &answer.headers {
            assert_eq!(leak(api, value), None, "{name}");
        }
        let text = answer.text.to_lowercase();
        for internal in [
            "dynamo",
            "table",
            "exception",
            "panic",
            ".rs",
            "::",
            "sdk",
            "aws",
            "connector",
            "index",
        ] {
            assert!(!text.contains(internal), "{internal}: {}", answer.text);
        }
    }
}

/// The functions' log at its most verbose.
fn loudest(captured: &Captured, format: &'static str, level: &'static str) -> Dispatch {
    log::log(captured.clone(), move |name| match name {
        "AWS_LAMBDA_LOG_FORMAT" => Some(format.to_owned()),
        NAMESPACE_VARIABLE => Some("Hindsight/test".to_owned()),
        _ if name == level => Some("trace".to_owned()),
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn no_log_line_or_error_contains_caller_text() {
    for (format, level) in [("Text", "AWS_LAMBDA_LOG_LEVEL"), ("JSON", "RUST_LOG")] {
        let captured = Captured::default();
        let log = listen(loudest(&captured, format, level));
        let api = Api::new().await;
        let answers = call_everything(&api).await;
        drop(log);
        let text = captured.text();
        assert_eq!(leak(&api, &text), None);
        check_answers(&api, &answers);
        for status in [200, 400, 401, 404, 409, 412, 413] {
            assert!(
                answers.iter().any(|answer| answer.status == status),
                "no {status} among them"
            );
        }
        // One line for each request, and one for creating the record.
        assert!(
            text.lines().count() > answers.len(),
            "{} lines",
            text.lines().count()
        );
        assert!(
            text.lines()
                .any(|line| line.contains("answered") && line.contains(PORTKEY))
        );
        assert!(
            text.lines()
                .any(|line| line.contains("refused") && line.contains("invalid: "))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_log_line_or_error_contains_caller_text_when_the_database_fails() {
    for fault in FAULTS {
        let captured = Captured::default();
        let log = listen(loudest(&captured, "JSON", "AWS_LAMBDA_LOG_LEVEL"));
        let api = Api::new().await;
        let mut answers = Vec::new();
        let metadata = json!({"_user": "canary-user", "canary-name": "canary-value"});
        let valued = json!({"trace_id": "canary-trace", "value": 1, "metadata": metadata});
        let target = json!({"traceId": "canary-trace", "spanId": "canary-span"});
        let rated = json!({"target": target, "rating": 1, "comment": "canary-comment", "metadata": metadata});
        let id = api.post(TRUEFOUNDRY, rated.clone()).await.ok().id();
        let by_id = |base: &str| format!("{base}/{id}");
        let commented = json!({"comment": "canary-comment"});
        for (method, path, body, calls) in [
            (Method::POST, PORTKEY.to_owned(), valued.clone(), &["PutItem"][..]),
            (
                Method::POST,
                PORTKEY.to_owned(),
                json!([valued, valued]),
                &["TransactWriteItems"],
            ),
            (Method::POST, TRUEFOUNDRY.to_owned(), rated.clone(), &["PutItem"]),
            (
                Method::PUT,
                by_id(PORTKEY),
                valued.clone(),
                &["Query", "UpdateItem"],
            ),
            (Method::PUT, by_id(TRUEFOUNDRY), rated.clone(), &["UpdateItem"]),
            (
                Method::PUT,
                by_id(TRUEFOUNDRY),
                commented,
                &["Query", "UpdateItem"],
            ),
            (Method::GET, by_id(PORTKEY), Value::Null, &["Query", "GetItem"]),
            (
                Method::GET,
                format!("{PORTKEY}?trace_id=canary-trace"),
                Value::Null,
                &["Query"],
            ),
            (
                Method::GET,
                format!("{PORTKEY}?user=canary-user"),
                Value::Null,
                &["Query"],
            ),
            (Method::DELETE, by_id(TRUEFOUNDRY), rated.clone(), &["DeleteItem"]),
            (
                Method::DELETE,
                by_id(PORTKEY),
                Value::Null,
                &["Query", "DeleteItem"],
            ),
        ] {
            // Each call of a request fails in turn; with an idempotency key, those of the transaction.
            let once = format!("canary {path}");
            let key = [("idempotency-key", once.as_str()), ("x-canary", "canary")];
            let plain = calls.iter().map(|call| (*call, &key[1..]));
            let keyed = ["TransactWriteItems", "GetItem"].map(|call| (call, &key[..]));
            for (operation, headers) in plain.chain(keyed) {
                api.database.fail_on(operation, vec![fault; 50]);
                answers.push(api.call(method.clone(), &path, headers, &body.to_string()).await);
                api.database.recover();
            }
        }
        api.database.fail_on("GetItem", vec![fault; 50]);
        answers.push(api.restarted().get(PORTKEY).await);
        drop(log);
        assert_eq!(leak(&api, &captured.text()), None, "{fault:?}");
        check_answers(&api, &answers);
        if fault != Fault::IndexLags {
            assert!(answers.iter().any(|answer| answer.status >= 429), "{fault:?}");
        }
    }
}

/// Proves that the tests above would notice a canary: dependencies do log it.
#[tokio::test(start_paused = true)]
async fn dependencies_do_log_caller_text() {
    let captured = Captured::default();
    let everything = tracing::subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.clone())
        .finish();
    let log = listen(Dispatch::new(everything));
    let api = Api::new().await;
    call_everything(&api).await;
    drop(log);
    let text = captured.text();
    let leaking = text.lines().filter(|line| leak(&api, line).is_some());
    let leaking: Vec<&str> = leaking.collect();
    assert!(
        leaking.iter().any(|line| line.contains("aws_smithy_runtime")),
        "{} lines",
        leaking.len()
    );
    // None of the lines is from this service.
    for line in leaking {
        assert!(!line.contains(" shared::http"), "{line}");
    }
}

/// This service's lines below INFO are logged if requested.
#[test]
fn own_lines_follow_the_log_level_and_others_stop_at_info() {
    for (level, ours, others) in [("trace", 5, 3), ("debug", 4, 3), ("info", 3, 3), ("error", 1, 1)] {
        let captured = Captured::default();
        let log = log::log(captured.clone(), |name| {
            (name == "RUST_LOG").then(|| level.to_owned())
        });
        let guard = listen(log);
        {
            macro_rules! at_each_level {
                ($target:literal) => {
                    tracing::error!(target: $target, $target);
                    tracing::warn!(target: $target, $target);
                    tracing::info!(target: $target, $target);
                    tracing::debug!(target: $target, $target);
                    tracing::trace!(target: $target, $target);
                };
            }
            at_each_level!("shared::http::answer");
            at_each_level!("aws_smithy_runtime::client::orchestrator");
        }
        drop(guard);
        let text = captured.text();
        assert_eq!(text.matches("shared::http").count(), ours, "{level}");
        assert_eq!(text.matches("aws_smithy").count(), others, "{level}");
    }
}

const PANIC_CHILD: &str = "LEAKS_PANIC_CHILD";

/// A panic hook and a global log belong to a process, so this test runs itself in another one.
#[test]
fn a_panic_is_logged_with_its_location_and_not_its_message() {
    if std::env::var_os(PANIC_CHILD).is_some() {
        return panicking_function();
    }
    let name = "leaks::a_panic_is_logged_with_its_location_and_not_its_message";
    // The file of this process, even if a concurrent build has replaced it.
    let myself = Path::new("/proc/self/exe");
    let myself = if myself.exists() {
        myself.to_owned()
    } else {
        std::env::current_exe().unwrap()
    };
    let output = Command::new(myself)
        .args(["--exact", name, "--nocapture"])
        .env(PANIC_CHILD, "1")
        .env("RUST_BACKTRACE", "1")
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("panicked") && text.contains("leaks.rs:"), "{text}");
    assert!(text.contains("a handler panicked"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

/// A function that panics by slicing a caller's text.
fn panicking_function() {
    log::init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let api = Api::new().await;
        let handler = |_, call: Call| async move {
            let body = call.body()?;
            Ok(Reply::new(body[..body.len() + 1].to_owned()))
        };
        let mut service = Adapter::from(service(Function::Create, api.wiring(), (), no_document, handler));
        let headers = [("x-portkey-api-key", api.key.as_str())];
        let event = event_json(&Method::POST, PORTKEY, "", &headers, "canary", false);
        let LambdaRequest::ApiGatewayV2(request) = serde_json::from_value(event).unwrap() else {
            panic!("not an event of an HTTP API");
        };
        let request = LambdaRequest::ApiGatewayV2(event::sanitized(request));
        let response = service.call(LambdaEvent::new(request, Context::default())).await;
        let response = serde_json::to_string(&response.unwrap()).unwrap();
        assert!(
            response.contains("500") && response.contains("an internal error occurred"),
            "{response}"
        );
        assert!(!response.contains("canary"), "{response}");
    });
}
