//! Each function's IAM policy against the calls in its code: no permission is missing or superfluous.
//!
//! Sends every kind of request through the real handlers, with and without faults, and compares the calls
//! that reach the database with the policies.

use std::collections::BTreeSet;
use std::time::Duration;

use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::http::{Function, ROUTES, Route};
use shared::indexed::Field;
use shared::stats::rebuild::Rebuild;
use shared::tables::{FEEDBACK, STATS};

use crate::console::{Browser, ORIGIN, encoded, invite};
use crate::erasure::{ERASURES, step};
use crate::events;
use crate::forwarding::World;
use crate::harness::{Api, Fault, PORTKEY, TRUEFOUNDRY};
use crate::template::{allowed, deployed_tables, resources, template, text};
use crate::vote::signing_key;

/// Operations that can fail after the key is known. Its look-up is the first `GetItem`.
const OPERATIONS: [&str; 5] = [
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "Query",
    "TransactWriteItems",
];

/// (function, action, resource)
type Actions = BTreeSet<(String, String, String)>;

/// The permissions that a call requires: (action, table, index). A transaction requires those of its
/// actions (docs.aws.amazon.com, "Using IAM with DynamoDB transactions").
fn required_permissions(operation: &str, body: &Value) -> Vec<(String, String, Option<String>)> {
    let table = |body: &Value| body["TableName"].as_str().unwrap().to_owned();
    if operation == "BatchGetItem" {
        let tables = body["RequestItems"].as_object().unwrap().keys();
        return tables
            .map(|table| (operation.to_owned(), table.clone(), None))
            .collect();
    }
    if operation != "TransactWriteItems" {
        let index = body["IndexName"].as_str().map(str::to_owned);
        return vec![(operation.to_owned(), table(body), index)];
    }
    let actions = body["TransactItems"].as_array().unwrap().iter();
    actions
        .flat_map(|action| action.as_object().unwrap())
        .map(|(kind, action)| (format!("{kind}Item"), table(action), None))
        .collect()
}

/// A request from a caller.
struct Request {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Request {
    fn new(method: Method, path: impl Into<String>, body: Value) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: body.to_string(),
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// Creates a record that is in all indexes.
async fn record(api: &Api) -> String {
    let metadata =
        json!({"_user": "u", "_organisation": "o", "_prompt": "p", "_environment": "e", "_session": "s"});
    api.rate(3, metadata).await
}

/// One request of each kind that the code distinguishes.
async fn requests(api: &Api) -> Vec<Request> {
    let vote = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "u"}});
    let rated = json!({"target": {"traceId": "t", "spanId": "s"}, "rating": 4});
    let mut requests = vec![
        Request::new(Method::POST, PORTKEY, vote.clone()),
        Request::new(Method::POST, PORTKEY, json!([vote, vote])),
        Request::new(Method::POST, TRUEFOUNDRY, rated.clone()),
    ];
    for (path, body) in [(PORTKEY, json!({"value": 2})), (TRUEFOUNDRY, rated)] {
        for method in [Method::PUT, Method::DELETE] {
            let id = record(api).await;
            requests.push(Request::new(method, format!("{path}/{id}"), body.clone()));
        }
    }
    // Each write is also sent with an idempotency key, with a version, and with both.
    for number in 0..requests.len() {
        for (key, version) in [(true, false), (false, true), (true, true)] {
            let write = &requests[number];
            let (method, body) = (write.method.clone(), write.body.clone());
            let id = record(api).await;
            let path = match write.path.rsplit_once('/') {
                Some((route, _)) if method != Method::POST => format!("{route}/{id}"),
                _ => write.path.clone(),
            };
            let mut write = Request::new(method, path, Value::Null);
            write.body = body;
            if key {
                write = write.with("idempotency-key", &id);
            }
            if version {
                write = write.with("if-match", "\"1\"");
            }
            requests.push(write);
        }
    }
    for (body, key) in [
        (vote.clone(), None),
        (vote.clone(), Some("upserted")),
        (json!([vote, vote]), None),
    ] {
        let mut upsert = Request::new(Method::POST, PORTKEY, body).with("x-hindsight-upsert", "user");
        if let Some(key) = key {
            upsert = upsert.with("idempotency-key", key);
        }
        requests.push(upsert);
    }
    let (pair, key) = signing_key(api, "test").await;
    let now = api.time.now().seconds();
    let claims = json!({"aud": "test", "sub": "u", "trace": "t", "iat": now, "exp": now + 86_400});
    let bearer = format!("Bearer {}", pair.sign(&key, &claims.to_string()));
    for (method, path, body) in [
        (Method::PUT, "/v1/vote", json!({"value": 1})),
        (Method::PUT, "/v1/vote", json!({"value": -1})),
        (Method::GET, "/v1/vote", Value::Null),
        (Method::POST, "/v1/votes/read", json!({"targets": [{}]})),
        (Method::DELETE, "/v1/vote", Value::Null),
    ] {
        requests.push(Request::new(method, path, body).with("authorization", &bearer));
    }
    requests.push(Request::new(Method::POST, ERASURES, json!({"user": "u"})));
    let id = record(api).await;
    let mut read = |path: String| requests.push(Request::new(Method::GET, path, Value::Null));
    read(format!("{PORTKEY}/{id}"));
    read(format!("{TRUEFOUNDRY}/{id}"));
    for query in [
        "",
        "?trace_id=t",
        "?trace_id=t&span_id=s",
        "?user=u",
        "?organisation=o",
        "?prompt=p",
        "?environment=e",
        "?session=s",
    ] {
        read(format!("{PORTKEY}{query}"));
    }
    for query in ["?traceId=t", "?traceId=t&spanId=s"] {
        read(format!("{TRUEFOUNDRY}{query}"));
    }
    let of_all_time =
        "time_of_generation_min=2020-01-01T00:00:00Z&time_of_generation_max=2099-01-01T00:00:00Z";
    for route in ROUTES.iter().filter(|route| route.path.contains("/analytics/")) {
        let path = route.path.replace("{key}", "_user");
        for filter in [
            "",
            "&trace_id=t",
            "&trace_id=t&span_id=s",
            "&prompt_slug=p",
            "&ai_org_model=m",
            "&weighted_feedback_min=0",
            "&metadata=%7B%22_user%22%3A%22u%22%7D",
            "&metadata=%7B%22_organisation%22%3A%22o%22%7D&ai_org_model=m",
            "&metadata=%7B%22_prompt%22%3A%22p%22%7D&ai_org_model=m",
            "&metadata=%7B%22_environment%22%3A%22e%22%7D&ai_org_model=m",
            "&metadata=%7B%22_session%22%3A%22s%22%7D",
        ] {
            read(format!("{path}?{of_all_time}{filter}"));
        }
        // The partial hour at the end is read from the records.
        let ragged =
            "time_of_generation_min=2020-01-01T00:10:00Z&time_of_generation_max=2020-01-01T02:20:00Z";
        read(format!("{path}?{ragged}"));
        // Roll-ups of a given value are read by key.
        read(format!("{path}?{ragged}&prompt_slug=p"));
    }
    requests.extend(of_a_browser(api).await);
    // All other routes.
    for route in ROUTES {
        let path = match route.parameter() {
            Some(name) => route.path.replace(&format!("{{{name}}}"), "undefined"),
            None => route.path.to_owned(),
        };
        requests.push(Request::new(route.method.clone(), path, json!({})));
    }
    requests
}

/// The requests of somebody who is signed in to the console. Each is sent in a session of its own, since signing
/// in and out ends one.
async fn of_a_browser(api: &Api) -> Vec<Request> {
    let mut requests = Vec::new();
    let all = "range=custom&from=2020-01-01T00:10&to=2099-01-01";
    let mut pages = vec![
        "/console/feedback.csv".to_owned(),
        "/console/trace?trace_id=t".to_owned(),
        "/console/span.json?trace_id=t&span_id=s".to_owned(),
        invite(api, &api.key).await,
    ];
    for page in ["/console", "/console/prompts", "/console/feedback"] {
        pages.push(page.to_owned());
        for field in Field::ALL.map(Field::name) {
            pages.push(format!("{page}?{all}&{field}=x"));
        }
    }
    let (one, other) = (record(api).await, record(api).await);
    pages.extend([
        format!("/console/edit?id={one}"),
        format!("/console/delete?id={one}"),
    ]);
    for path in pages {
        let browser = Browser::signed_in(api).await;
        let cookie = browser.cookie.unwrap();
        requests.push(Request::new(Method::GET, path, Value::Null).with("cookie", &cookie));
    }
    let changed = [("version", "1"), ("rating", "1"), ("confirmed", "yes")];
    for (path, fields) in [
        (
            "/console/edit".to_owned(),
            [&changed[..], &[("id", &one)]].concat(),
        ),
        (
            "/console/delete".to_owned(),
            vec![("version", "1"), ("id", &other)],
        ),
        (invite(api, &api.key).await, Vec::new()),
        ("/console/sign-in".to_owned(), vec![("key", api.key.as_str())]),
        ("/console/sign-out".to_owned(), Vec::new()),
    ] {
        let browser = Browser::signed_in(api).await;
        let token = browser.form_token().await;
        let mut request = Request::new(Method::POST, path, Value::Null)
            .with("cookie", browser.cookie.as_deref().unwrap())
            .with("origin", ORIGIN);
        request.body = encoded(&[&fields[..], &[("form_token", &token)]].concat());
        requests.push(request);
    }
    requests
}

/// The calls that the code makes, by function.
async fn called() -> Actions {
    let api = Api::new().await;
    let mut called = Actions::new();
    let mut note = |function: &str| {
        for (operation, body) in api.database.requests() {
            for (action, table, index) in required_permissions(&operation, &body) {
                let resource = index.map_or(table.clone(), |index| format!("{table}/index/{index}"));
                called.insert((function.to_owned(), format!("dynamodb:{action}"), resource));
            }
        }
    };
    for fault in [
        None,
        Some(Fault::LostAnswer),
        Some(Fault::ServerError),
        Some(Fault::Throttle),
        Some(Fault::Conflict),
        Some(Fault::IndexLags),
    ] {
        for request in requests(&api).await {
            let (path, _) = request.path.split_once('?').unwrap_or((&request.path, ""));
            let (route, _) = Route::find(&request.method, path).unwrap();
            if fault.is_some() && route.function() == Function::Analytics {
                // The handler continues or gives up, depending on the call that failed.
                continue;
            }
            // A repeat under an idempotency key reads the marker.
            let times = if request.headers.is_empty() { 1 } else { 2 };
            for attempt in 0..times {
                // With an uncached key, which costs a look-up.
                let api = api.restarted();
                api.database.requests();
                for operation in OPERATIONS.into_iter().filter(|_| attempt == 0) {
                    api.database.fail_on(operation, fault);
                }
                let headers: Vec<_> = request
                    .headers
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                api.call(request.method.clone(), &request.path, &headers, &request.body)
                    .await;
                api.database.recover();
                note(route.function().name());
            }
        }
        api.database.requests();
        api.count().await;
        note("aggregate");
    }
    // In the place of an expired vote.
    let (pair, key) = signing_key(&api, "test").await;
    let now = api.time.now().seconds();
    let claims = json!({"aud": "test", "sub": "u", "trace": "x", "iat": now, "exp": now + 86_400});
    let bearer = format!("Bearer {}", pair.sign(&key, &claims.to_string()));
    for _ in 0..2 {
        for item in api.database.items("feedback") {
            if item["person"].is_object() {
                api.database.expire("feedback", &item);
            }
        }
        api.database.requests();
        let headers = [("authorization", bearer.as_str())];
        api.call(Method::PUT, "/v1/vote", &headers, r#"{"value":1}"#)
            .await;
        note("vote");
    }
    // A deletion that leaves nothing to count of a user.
    let id = api.vote(1, json!({"_user": "only once"})).await;
    api.count().await;
    api.delete(&format!("{PORTKEY}/{id}")).await.ok();
    api.database.requests();
    api.count().await;
    note("aggregate");
    // An erasure to its end, with a change that is parked, and a roll-up that older code has emptied.
    let id = record(&api).await;
    api.count().await;
    for mut item in api.database.items_of_all_pages("feedback") {
        if item["id"]["S"].as_str().unwrap().replace('-', "") == id {
            item["schema"] = json!({"N": "9"});
            api.database
                .direct("PutItem", json!({"TableName": "feedback", "Item": item}));
        }
    }
    let empty = json!({
        "pk": {"S": "test#user#hours"}, "sk": {"S": "001600041600000#u"}, "schema": {"N": "2"},
    });
    api.database
        .direct("PutItem", json!({"TableName": "stats", "Item": empty}));
    let mut cursor = Value::Null;
    for _ in 0..20 {
        api.database.requests();
        let answer = step(&api.restarted(), "u", &cursor).await.ok().json();
        note("erase");
        cursor = answer["cursor"].clone();
        if cursor.is_null() {
            break;
        }
        api.time.forward(Duration::from_secs(5));
        api.database.requests();
        api.count().await;
        note("aggregate");
    }
    assert!(cursor.is_null());
    // A change whose event is parked.
    let mut change = api.changes().await.pop().unwrap();
    change["dynamodb"]["OldImage"] = json!({"sk": {"S": "nobody"}});
    api.database.requests();
    let outcome = events::publish(&api, &events::Bridge::default(), &[change]).await;
    assert_eq!(outcome.unwrap().parked.len(), 1);
    note("publish");
    // A record and an upserted one on their way to Langfuse.
    let world = World::beside(&api);
    api.vote(1, json!({})).await;
    let body = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "u"}}).to_string();
    let headers = [("x-hindsight-upsert", "user")];
    api.call(Method::POST, PORTKEY, &headers, &body).await.ok();
    world.publish_last(2).await;
    api.database.requests();
    world.deliver_all().await;
    note("langfuse");
    // While two generations are counted.
    let rebuild = Rebuild::new(api.client.clone(), api.table(&FEEDBACK), api.table(&STATS));
    let generation = rebuild.begin(Duration::ZERO).await.unwrap();
    rebuild.touch(generation, |_| {}).await.unwrap();
    record(&api).await;
    api.database.requests();
    assert!(api.count().await > 0);
    note("aggregate");
    called
}

#[tokio::test(start_paused = true)]
async fn a_function_is_allowed_what_it_calls_and_nothing_else() {
    let template = template();
    let tables = deployed_tables(&template);
    let mut granted = Actions::new();
    for function in resources(&template, "AWS::Serverless::Function").values() {
        let binary = text(&function["Metadata"]["BuildProperties"]["Binary"]);
        for (action, resource) in allowed(&template, function) {
            granted.insert((binary.clone(), action, resource));
        }
    }
    let called: Actions = called()
        .await
        .into_iter()
        .map(|(function, action, resource)| {
            let (table, index) = match resource.split_once('/') {
                Some((table, index)) => (table, format!("/{index}")),
                None => (resource.as_str(), String::new()),
            };
            let (logical, _) = &tables[table];
            (function, action, format!("{logical}{index}"))
        })
        .collect();
    let missing: Vec<_> = called.difference(&granted).collect();
    let superfluous: Vec<_> = granted.difference(&called).collect();
    assert!(missing.is_empty(), "called and not allowed: {missing:#?}");
    assert!(superfluous.is_empty(), "allowed and not called: {superfluous:#?}");
}
