//! openapi.yaml against the service: it has the code's routes, and it describes every status, header and
//! body that the tests of this binary receive.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::{Draft, Registry, Validator};
use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::http::{Credential, ROUTES, Route};
use shared::query::{Order, decode_cursor};
use shared::target::decode_target_id;
use shared::timestamp::Timestamp;

use crate::harness::{Answer, Api, Fault};

/// The document as the service returns it.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(read::SPECIFICATION).unwrap());

/// The document's URI for the validators.
const URI: &str = "urn:openapi";

static REGISTRY: LazyLock<Registry<'static>> = LazyLock::new(|| {
    let registry = Registry::new().add(URI, DOCUMENT.clone()).unwrap();
    registry.prepare().unwrap()
});

/// The validator of the schema at a JSON pointer, cached.
fn validator(pointer: &str) -> Arc<Validator> {
    static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut validators = VALIDATORS.lock().unwrap();
    let made = validators.entry(pointer.to_owned()).or_insert_with(|| {
        // A reference is a URI, in which the braces of a path must be escaped.
        let fragment = pointer.replace('{', "%7B").replace('}', "%7D");
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_registry(&REGISTRY)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .with_format("cursor", |text: &str| {
                [Order::Ascending, Order::Descending]
                    .into_iter()
                    .any(|order| decode_cursor(text, order).is_some())
            })
            .with_format("iso-8601", |text: &str| Timestamp::parse(text).is_some())
            .with_format("feedback-target-id", |text: &str| decode_target_id(text).is_ok())
            .with_format("metadata", |text: &str| {
                serde_json::from_str::<Value>(text).is_ok_and(|json| json.is_object())
            })
            .build(&json!({"$ref": format!("{URI}#{fragment}")}));
        Arc::new(validator.unwrap_or_else(|error| panic!("{pointer}: {error}")))
    });
    Arc::clone(made)
}

/// Checks a value against the schema at a JSON pointer.
#[track_caller]
fn conforms(pointer: &str, value: &Value, what: &str) {
    let validator = validator(pointer);
    let faults: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(
        faults.is_empty(),
        "{what} is not as {pointer} says: {faults:#?}\n{value}"
    );
}

/// Appends a part to a JSON pointer.
fn below(pointer: &str, part: &str) -> String {
    format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"))
}

/// The value at a JSON pointer, after following a reference.
fn resolved(pointer: &str) -> Option<(String, &'static Value)> {
    let value = DOCUMENT.pointer(pointer)?;
    match value["$ref"].as_str() {
        Some(reference) => resolved(reference.strip_prefix('#').unwrap()),
        None => Some((pointer.to_owned(), value)),
    }
}

/// The JSON pointer of a route.
fn operation(route: &Route) -> String {
    let path = below("/paths", route.path);
    below(&path, &route.method.as_str().to_lowercase())
}

/// The statuses that openapi.yaml describes for a route of the functions.
pub fn described(method: &Method, path: &str) -> BTreeSet<u16> {
    let (route, _) = Route::find(method, path).unwrap();
    let responses = DOCUMENT.pointer(&below(&operation(route), "responses")).unwrap();
    let statuses = responses.as_object().unwrap().keys();
    statuses.map(|status| status.parse().unwrap()).collect()
}

/// Checks that openapi.yaml describes a response: its status, exactly its headers, its content type and its
/// body.
#[track_caller]
pub fn check(route: &Route, answer: &Answer) {
    let what = format!("{} answered with {}", route.key(), answer.status);
    let responses = below(&operation(route), "responses");
    let (response, described) = resolved(&below(&responses, &answer.status.to_string()))
        .unwrap_or_else(|| panic!("{what}, which is not described: {}", answer.text));

    let headers = below(&response, "headers");
    for name in described["headers"].as_object().unwrap().keys() {
        let (header, described) = resolved(&below(&headers, name)).unwrap();
        let schema = below(&header, "schema");
        // A header of an error response is not required, because API Gateway may have sent the response.
        // Here the functions did.
        let required = described["required"] == true || answer.status != 200;
        match answer.header(name) {
            Some(text) => {
                let number = DOCUMENT.pointer(&schema).unwrap()["type"] == "integer";
                let value = if number {
                    json!(text.parse::<i64>().unwrap())
                } else {
                    json!(text)
                };
                conforms(&schema, &value, &format!("{what}: {name}"));
            }
            None => assert!(!required, "{what} without {name}"),
        }
    }
    for name in answer.headers.keys().filter(|name| *name != "content-type") {
        let known = &described["headers"][name];
        assert!(known.is_object(), "{what} and {name}, which is not described");
    }

    let media_type = answer.header("content-type").unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default();
    let content = below(&below(&response, "content"), essence);
    assert!(
        DOCUMENT.pointer(&content).is_some(),
        "{what} as {media_type:?}, which is not described"
    );
    match serde_json::from_str::<Value>(&answer.text) {
        Ok(body) => {
            conforms(&below(&content, "schema"), &body, &what);
            // Only API Gateway responds with this.
            let is_gateway_s = body["message"].is_string() && body.as_object().unwrap().len() == 1;
            assert!(!is_gateway_s || answer.status == 200, "{body}");
        }
        Err(_) if media_type.starts_with("text/javascript") => {}
        // Metadata may contain 1e400 or a lone surrogate, which serde_json cannot read.
        Err(error) => assert!(
            [
                "number out of range",
                "lone leading surrogate",
                "unexpected end of hex escape"
            ]
            .iter()
            .any(|known| error.to_string().starts_with(known)),
            "{error}: {}",
            answer.text
        ),
    }
}

#[tokio::test]
async fn it_is_served_unchanged_without_a_key() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi.yaml");
    let written: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let api = Api::new().await;
    api.database.calls();
    let garbage = [("x-portkey-api-key", "garbage"), ("authorization", "Basic eDp5")];
    for headers in [&garbage[..0], &garbage[..]] {
        let answer = api.raw(Method::GET, "/openapi.json?x=1", headers, "{").await.ok();
        assert!(answer.json() == written);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert!(api.database.calls().is_empty());
}

#[test]
fn it_has_the_routes_of_the_code() {
    let methods = [
        "get", "put", "post", "delete", "options", "head", "patch", "trace",
    ];
    let mut described = BTreeMap::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        let operations = item.as_object().unwrap().iter();
        for (method, operation) in operations.filter(|(name, _)| methods.contains(&name.as_str())) {
            let open = operation["security"].as_array().is_some_and(Vec::is_empty);
            described.insert(format!("{} {path}", method.to_uppercase()), open);
        }
    }
    // The console is for people: its pages and forms are no interface that a program may rely on.
    let routes = ROUTES
        .iter()
        .filter(|route| route.is_api())
        .map(|route| (route.key(), route.operation.credential().is_none()))
        .collect();
    assert_eq!(described, routes);
}

/// Collects every example next to a schema or in one, with the schema's pointer.
fn examples(pointer: &str, part: &Value, found: &mut Vec<(String, Value)>) {
    let Some(members) = part.as_object() else {
        for (index, element) in part.as_array().into_iter().flatten().enumerate() {
            examples(&below(pointer, &index.to_string()), element, found);
        }
        return;
    };
    let schema = if part["schema"].is_object() {
        below(pointer, "schema")
    } else {
        below(&below(pointer, "content"), "application~1json/schema")
    };
    if let Some(example) = members.get("example") {
        found.push((schema.clone(), example.clone()));
    }
    match members.get("examples") {
        Some(Value::Object(named)) => {
            found.extend(
                named
                    .values()
                    .map(|example| (schema.clone(), example["value"].clone())),
            );
        }
        // Of a schema.
        Some(Value::Array(values)) => {
            found.extend(values.iter().map(|value| (pointer.to_owned(), value.clone())));
        }
        _ => {}
    }
    for (name, member) in members.iter().filter(|(name, _)| !name.starts_with("example")) {
        examples(&below(pointer, name), member, found);
    }
}

#[test]
fn its_examples_match_their_schemas() {
    let mut found = Vec::new();
    examples("", &DOCUMENT, &mut found);
    for (schema, example) in &found {
        conforms(schema, example, "an example");
    }
    // Every kind of body has an example.
    let exemplified: BTreeSet<&str> = found.iter().map(|(schema, _)| schema.as_str()).collect();
    for route in ROUTES.iter().filter(|route| route.is_api()) {
        let operation = operation(route);
        let responses = DOCUMENT.pointer(&below(&operation, "responses")).unwrap();
        let statuses = responses.as_object().unwrap().keys();
        let bodies = statuses.map(|status| below(&below(&operation, "responses"), status));
        for body in bodies.chain([below(&operation, "requestBody")]) {
            let Some((body, _)) = resolved(&body) else {
                continue;
            };
            let schema = format!("{body}/content/application~1json/schema");
            // Except this document, which would be an example of itself.
            let is_document = route.operation.credential().is_none() && body.ends_with("200");
            assert!(is_document || exemplified.contains(schema.as_str()), "{schema}");
        }
    }
}

/// The example bodies of a route.
fn bodies(method: &Method, path: &str) -> Vec<Value> {
    let (route, _) = Route::find(method, path).unwrap();
    let body = format!("{}/requestBody", operation(route));
    let mut found = Vec::new();
    examples(&body, DOCUMENT.pointer(&body).unwrap(), &mut found);
    found.into_iter().map(|(_, example)| example).collect()
}

#[tokio::test]
async fn its_example_requests_work() {
    let api = Api::new().await;
    for path in ["/v1/feedback", "/api/svc/v1/gateway-feedback"] {
        let created = bodies(&Method::POST, path);
        assert!(!created.is_empty());
        for body in created {
            let id = api.post(path, body).await.ok().id();
            let record = format!("{path}/{id}");
            for change in bodies(&Method::PUT, &record) {
                api.put(&record, change).await.ok();
            }
            let deletions = match path {
                "/v1/feedback" => vec![String::new()],
                _ => bodies(&Method::DELETE, &record)
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            };
            assert_eq!(deletions.len(), 1);
            api.call(Method::DELETE, &record, &[], &deletions[0]).await.ok();
        }
    }
}

/// The status of each route for every kind of invalid request and database fault.
#[tokio::test(start_paused = true)]
async fn the_statuses_it_describes_are_those_that_occur() {
    let api = Api::new().await;
    let nothing = api.as_key(&api.key_for("test", &[Scope::Read]).await);
    let writer = api.as_key(&api.key_for("test", &[Scope::Write]).await);
    let too_large = " ".repeat(1024 * 1024 + 1);
    for route in ROUTES
        .iter()
        .filter(|route| matches!(route.operation.credential(), Some(Credential::Key(_))))
    {
        let is_portkey = route.path.starts_with("/v1/");
        let body = match (route.method.as_str(), is_portkey) {
            ("POST", _) if route.path == "/v1/erasures" => r#"{"user":"t"}"#,
            ("POST" | "PUT", true) => r#"{"trace_id":"t","value":1}"#,
            ("POST" | "PUT", false) => r#"{"target":{"traceId":"t","spanId":"s"},"rating":1}"#,
            _ => "",
        };
        let query = match route.path {
            "/api/svc/v1/gateway-feedback" if route.method == Method::GET => "traceId=t",
            path if path.starts_with("/v1/analytics") => {
                "time_of_generation_min=2026-01-01T00:00:00Z&time_of_generation_max=2026-01-02T00:00:00Z"
            }
            _ => "",
        };
        let path = |id: &str| {
            format!(
                "{}?{query}",
                route.path.replace("{id}", id).replace("{key}", "_user")
            )
        };
        let fresh = async || {
            let target = json!({"traceId": "t", "spanId": "s"});
            let record = json!({"target": target, "rating": 3});
            api.post("/api/svc/v1/gateway-feedback", record).await.ok().id()
        };
        let method = || route.method.clone();
        let mut seen = BTreeSet::new();
        let mut note = |answer: Answer| seen.insert(answer.status.to_string());

        note(api.call(method(), &path(&fresh().await), &[], body).await);
        note(api.call(method(), &path("no-id"), &[], body).await);
        let unknown = format!("{}&unknown=1", path(&fresh().await));
        note(api.call(method(), &unknown, &[], "{").await);
        note(api.raw(method(), &path(&fresh().await), &[], body).await);
        for one in [&nothing, &writer] {
            note(one.call(method(), &path(&fresh().await), &[], body).await);
        }
        let missing = path("019ab2a98fc6e80483eae496e2dd611d");
        note(api.call(method(), &missing, &[], body).await);
        // A key that was used for a different request.
        let keyed = [("idempotency-key", "k")];
        for _ in 0..2 {
            note(api.call(method(), &path(&fresh().await), &keyed, body).await);
        }
        let other = body.replace("\"t\"", "\"t2\"");
        note(api.call(method(), &path(&fresh().await), &keyed, &other).await);
        let stale = [("if-match", "\"9\"")];
        note(api.call(method(), &path(&fresh().await), &stale, body).await);
        note(api.call(method(), &path(&fresh().await), &[], &too_large).await);
        for fault in [Fault::Throttle, Fault::ServerError, Fault::AccessDenied] {
            let path = path(&fresh().await);
            api.database.fail([fault; 40]);
            note(api.call(method(), &path, &[], body).await);
            api.database.recover();
        }

        let responses = DOCUMENT.pointer(&below(&operation(route), "responses")).unwrap();
        let described = responses.as_object().unwrap().keys().cloned();
        // No function receives a request line that is too long.
        let described = described.filter(|status| status != "414").collect();
        assert_eq!(seen, described, "{}", route.key());
    }
}
