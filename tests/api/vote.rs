//! Votes from a page, with vote tokens.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use lambda_http::http::Method;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use shared::access::key::KeyId;
use shared::access::registry::Registry;
use shared::access::token::SigningKey;
use shared::id::Workspace;

use crate::analytics::{ask, wide};
use crate::counting::verified;
use crate::harness::{Answer, Api, Fault, PORTKEY};
use crate::openapi::described;

const VOTE: &str = "/v1/vote";

/// A deployment with a key that signs tokens.
struct Page {
    api: Api,
    id: KeyId,
    pair: SigningKey,
}

impl Page {
    async fn new() -> Self {
        let api = Api::new().await;
        let (pair, id) = signing_key(&api, "test").await;
        Self { api, id, pair }
    }

    /// A token for the trace `t`, of the person `ada`, with these claims besides.
    fn token(&self, more: Value) -> String {
        self.pair.sign(&self.id, &self.claims(more).to_string())
    }

    fn claims(&self, more: Value) -> Value {
        let now = self.api.time.now().seconds();
        let mut claims = json!({"aud": "test", "sub": "ada", "trace": "t", "iat": now, "exp": now + 3600});
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        claims
    }

    async fn send(&self, method: Method, path: &str, token: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.api
            .raw(method, path, &[("authorization", &bearer)], body)
            .await
    }

    async fn cast(&self, token: &str, body: Value) -> Answer {
        self.send(Method::PUT, VOTE, token, &body.to_string()).await
    }

    async fn own(&self, token: &str) -> Answer {
        self.send(Method::GET, VOTE, token, "").await
    }

    async fn retract(&self, token: &str) -> Answer {
        self.send(Method::DELETE, VOTE, token, "").await
    }

    fn records(&self) -> usize {
        self.api.database.items("feedback").len()
    }
}

pub(crate) async fn signing_key(api: &Api, workspace: &str) -> (SigningKey, KeyId) {
    let workspace = Workspace::parse(workspace).unwrap();
    let (pair, record) = Registry::mint_vote(workspace, "chat".into(), None, api.time.now()).unwrap();
    api.registry.insert(&record).await.unwrap();
    (pair, record.id)
}

#[tokio::test]
async fn a_vote_is_cast_changed_read_and_retracted() {
    let page = Page::new().await;
    let token = page.token(json!({
        "name": "helpful", "comment": true, "reasons": ["wrong", "too long"], "weight": 0.5,
        "metadata": {"_prompt": "p1", "page": "/chat"},
    }));
    page.own(&token).await.refused(404, "no such feedback");
    let body = json!({"value": -1, "comment": "no", "reasons": ["wrong"]});
    let first = page.cast(&token, body).await.ok();
    let data = first.json()["data"].clone();
    assert_eq!(first.header("etag"), Some("\"1\""));
    let expected = json!({
        "id": data["id"], "version": 1, "trace": "t", "value": -1, "comment": "no", "reasons": ["wrong"],
    });
    assert_eq!(data, expected);
    assert_eq!(page.own(&token).await.ok().json()["data"], expected);

    // It states the whole vote: what is absent is cleared.
    let second = page.cast(&token, json!({"value": 1})).await.ok().json();
    assert_eq!(
        second["data"],
        json!({"id": data["id"], "version": 2, "trace": "t", "value": 1})
    );

    // Everything arrives in the same record, lists and analytics.
    let record = page.api.record(data["id"].as_str().unwrap()).await;
    assert_eq!((&record["value"], &record["weight"]), (&json!(1), &json!(0.5)));
    let metadata = json!({"_user": "ada", "_name": "helpful", "_prompt": "p1", "page": "/chat"});
    assert_eq!(record["metadata"], metadata);
    for query in ["user=ada", "prompt=p1", "name=helpful", "trace_id=t"] {
        assert_eq!(
            page.api.get(&format!("{PORTKEY}?{query}")).await.ok().ids().len(),
            1,
            "{query}"
        );
    }
    page.api.count().await;
    assert_eq!(
        ask(&page.api, "graphs/feedbacks", &wide()).await["summary"]["total"],
        1
    );

    let retracted = page.retract(&token).await.ok().json();
    assert_eq!(retracted["data"]["value"], 1);
    page.retract(&token).await.refused(404, "no such feedback");
    page.own(&token).await.refused(404, "no such feedback");
    assert_eq!(page.records(), 0);
    let again = page.cast(&token, json!({"value": 1})).await.ok().json();
    assert_ne!(again["data"]["id"], data["id"]);
    page.api.count().await;
    assert_eq!(verified(&page.api).await, Ok(()));
}

#[tokio::test]
async fn a_vote_writes_what_a_create_does() {
    let page = Page::new().await;
    let token = page.token(json!({"metadata": {"_prompt": "p1"}}));
    page.own(&token).await.refused(404, "no such feedback");
    page.api.database.consumed();
    page.api
        .post(
            PORTKEY,
            json!({"trace_id": "t", "value": 1, "metadata": {"_user": "ada", "_prompt": "p1"}}),
        )
        .await
        .ok();
    let mut created = page.api.database.consumed();
    created.retain(|what, _| what.starts_with("write"));
    for value in [1, -1] {
        page.cast(&token, json!({"value": value})).await.ok();
        assert_eq!(page.api.database.consumed(), created);
    }
    page.retract(&token).await.ok();
    assert_eq!(page.api.database.consumed(), created);
}

#[tokio::test]
async fn a_person_sees_nothing_but_their_own_vote() {
    let page = Page::new().await;
    let (ada, bob) = (page.token(json!({})), page.token(json!({"sub": "bob"})));
    let other = page.token(json!({"name": "accurate"}));
    page.cast(&ada, json!({"value": 1})).await.ok();
    page.cast(&bob, json!({"value": -1})).await.ok();
    page.own(&other).await.refused(404, "no such feedback");
    assert_eq!(page.own(&ada).await.ok().json()["data"]["value"], 1);
    assert_eq!(page.own(&bob).await.ok().json()["data"]["value"], -1);
    page.retract(&bob).await.ok();
    assert_eq!(page.own(&ada).await.ok().json()["data"]["value"], 1);
}

#[tokio::test]
async fn a_conversation_is_read_in_its_order() {
    let page = Page::new().await;
    let token = page.token(json!({"trace": null, "trace_prefix": "conv-1:"}));
    for (trace, span, value) in [("conv-1:a", None, 1), ("conv-1:b", Some("s"), -1)] {
        let body = json!({"value": value, "trace": trace, "span": span});
        page.cast(&token, body).await.ok();
    }
    let targets = json!([
        {"trace": "conv-1:b", "span": "s"}, {"trace": "conv-1:c"}, {"trace": "conv-1:a"}, {"trace": "conv-1:b"},
        {"trace": "conv-1:a"},
    ]);
    let read = async |targets: Value| {
        let body = json!({"targets": targets}).to_string();
        page.send(Method::POST, "/v1/votes/read", &token, &body).await
    };
    let votes = read(targets).await.ok().json();
    let values: Vec<Value> = votes["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vote| vote["value"].clone())
        .collect();
    assert_eq!(values, [json!(-1), Value::Null, json!(1), Value::Null, json!(1)]);
    read(json!([]))
        .await
        .refused(400, "targets: expected an array of 1 to 100 objects");
    read(json!(vec![json!({"trace": "conv-1:a"}); 101]))
        .await
        .refused(400, "targets: expected");
    read(json!([{"trace": "conv-1:a"}, 5]))
        .await
        .refused(400, "targets[1]: expected an object");
    read(json!([{"trace": "conv-10:a"}]))
        .await
        .refused(403, "trace_prefix:");
    read(json!([{}])).await.refused(400, "trace: missing");
    let hundred: Vec<Value> = (0..100)
        .map(|number| json!({"trace": format!("conv-1:{number}")}))
        .collect();
    assert_eq!(
        read(json!(hundred)).await.ok().json()["data"]
            .as_array()
            .unwrap()
            .len(),
        100
    );
}

#[tokio::test]
async fn a_token_reaches_what_it_names_and_nothing_else() {
    let page = Page::new().await;
    for (claims, body, status, says) in [
        (json!({}), json!({"value": 1, "trace": "u"}), 403, "trace:"),
        (json!({}), json!({"value": 1, "span": "s"}), 403, "span:"),
        (
            json!({"span": "s"}),
            json!({"value": 1, "span": "r"}),
            403,
            "span:",
        ),
        (
            json!({"trace": null, "traces": ["a", "b"]}),
            json!({"value": 1, "trace": "c"}),
            403,
            "traces:",
        ),
        (
            json!({"trace": null, "traces": ["a", "b"]}),
            json!({"value": 1}),
            400,
            "trace: missing",
        ),
        (json!({}), json!({"value": 5}), 403, "scale:"),
        (json!({}), json!({"value": 0}), 403, "scale:"),
        (json!({}), json!({"rating": 5}), 403, "scale:"),
        (json!({"scale": "rating"}), json!({"value": 1}), 403, "scale:"),
        (
            json!({"scale": "rating"}),
            json!({"rating": 6}),
            400,
            "rating: expected an integer from 1 to 5",
        ),
        (
            json!({"scale": {"value": [0, 3]}}),
            json!({"value": 4}),
            403,
            "scale:",
        ),
        (json!({}), json!({"value": 1, "comment": "x"}), 403, "comment:"),
        (
            json!({"reasons": ["a"]}),
            json!({"value": 1, "reasons": ["a", "b"]}),
            403,
            "reasons:",
        ),
        (
            json!({}),
            json!({"value": 1, "metadata": {"_user": "bob"}}),
            400,
            "metadata: unknown field",
        ),
        (
            json!({}),
            json!({"value": 1, "rating": 1}),
            400,
            "value: expected either value or rating",
        ),
        (
            json!({}),
            json!({}),
            400,
            "value: expected either value or rating",
        ),
        (json!({}), json!([]), 400, "body: expected a JSON object"),
    ] {
        let answer = page.cast(&page.token(claims.clone()), body.clone()).await;
        assert_eq!(answer.status, status, "{claims} {body} {}", answer.text);
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(says), "{message} is not {says}");
    }
    for claims in [json!({"trace": "u"}), json!({"span": "s"})] {
        page.cast(&page.token(claims), json!({"value": 1})).await.ok();
    }
    assert_eq!(page.records(), 2);
}

#[tokio::test]
async fn a_token_that_is_not_valid_opens_nothing() {
    let page = Page::new().await;
    let now = page.api.time.now().seconds();
    let sign = |claims: Value| page.token(claims);
    let (stranger, strange_id) = {
        let other = Page::new().await;
        (other.pair, other.id)
    };
    let (foreign, foreign_id) = signing_key(&page.api, "other").await;
    let valid = sign(json!({}));
    let parts: Vec<&str> = valid.split('.').collect();
    let header = |json: &str| format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(json), parts[1], parts[2]);
    let altered = {
        let claims = page.claims(json!({"sub": "bob"})).to_string();
        format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims), parts[2])
    };
    let claims = page.claims(json!({})).to_string();
    let long = sign(json!({"jti": "x".repeat(8000)}));
    let kid = &page.id;
    let of_kid = |alg: &str| header(&format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#));
    for (what, token) in [
        ("nothing", String::new()),
        ("no JWT", "x".into()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{valid}.x")),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("altered claims", altered),
        ("none", of_kid("none")),
        ("HS256", of_kid("HS256")),
        ("RS256", of_kid("RS256")),
        (
            "crit",
            header(&format!(r#"{{"alg":"EdDSA","kid":"{kid}","crit":["b64"]}}"#)),
        ),
        ("no kid", header(r#"{"alg":"EdDSA"}"#)),
        (
            "two algs",
            header(&format!(r#"{{"alg":"none","alg":"EdDSA","kid":"{kid}"}}"#)),
        ),
        ("unknown kid", stranger.sign(&strange_id, &claims)),
        ("another's signature", stranger.sign(&page.id, &claims)),
        ("another workspace's key", foreign.sign(&foreign_id, &claims)),
        ("another audience", sign(json!({"aud": "other"}))),
        ("no audience", sign(json!({"aud": null}))),
        ("several audiences", sign(json!({"aud": ["test"]}))),
        ("no person", sign(json!({"sub": null}))),
        ("an empty person", sign(json!({"sub": ""}))),
        ("a long person", sign(json!({"sub": "x".repeat(513)}))),
        ("expired", sign(json!({"iat": now - 7200, "exp": now - 1}))),
        ("no end", sign(json!({"exp": null}))),
        ("no beginning", sign(json!({"iat": null}))),
        ("of the future", sign(json!({"iat": now + 120}))),
        ("not yet", sign(json!({"nbf": now + 120}))),
        ("too long a life", sign(json!({"exp": now + 31 * 86_400}))),
        ("no target", sign(json!({"trace": null}))),
        ("two targets", sign(json!({"traces": ["t"]}))),
        (
            "a prefix that ends nowhere",
            sign(json!({"trace": null, "trace_prefix": "conv-1"})),
        ),
        (
            "an empty prefix",
            sign(json!({"trace": null, "trace_prefix": ""})),
        ),
        (
            "a hundred and one traces",
            sign(json!({"trace": null, "traces": vec!["t"; 101]})),
        ),
        ("a scale that is none", sign(json!({"scale": "stars"}))),
        ("a scale upside down", sign(json!({"scale": {"value": [3, 1]}}))),
        ("a weight of two", sign(json!({"weight": 2}))),
        (
            "metadata with a user",
            sign(json!({"metadata": {"_user": "bob"}})),
        ),
        ("metadata with a name", sign(json!({"metadata": {"_name": "n"}}))),
        ("an unknown claim", sign(json!({"admin": true}))),
        ("over 8 KiB", long),
    ] {
        for method in [Method::PUT, Method::GET, Method::DELETE] {
            let answer = page.send(method, VOTE, &token, r#"{"value":1}"#).await;
            assert_eq!(answer.status, 401, "{what}: {}", answer.text);
            assert_eq!(answer.json()["error"]["code"], "unauthorized", "{what}");
        }
    }
    page.api
        .raw(Method::GET, VOTE, &[], "")
        .await
        .refused(401, "authorization: expected a vote token");
    assert_eq!(page.records(), 0);

    // An API key is no token, and a token no API key.
    let key = page.api.key.clone();
    page.send(Method::PUT, VOTE, &key, r#"{"value":1}"#)
        .await
        .refused(401, "token:");
    let bearer = format!("Bearer {valid}");
    page.api
        .raw(Method::GET, PORTKEY, &[("authorization", &bearer)], "")
        .await
        .refused(401, "a valid API key is required");
    page.cast(&valid, json!({"value": 1})).await.ok();
}

/// Every status that openapi.yaml describes occurs; the harness checks that no other does.
#[tokio::test(start_paused = true)]
async fn the_statuses_it_describes_are_those_that_occur() {
    let page = Page::new().await;
    let token = page.token(json!({"exp": page.api.time.now().seconds() + 86_400}));
    let too_large = " ".repeat(1024 * 1024 + 1);
    for (method, path, good, wrong, other) in [
        (
            Method::PUT,
            VOTE,
            r#"{"value":1}"#,
            r#"{"value":"x"}"#,
            r#"{"value":1,"trace":"u"}"#,
        ),
        (
            Method::POST,
            "/v1/votes/read",
            r#"{"targets":[{}]}"#,
            "{",
            r#"{"targets":[{"trace":"u"}]}"#,
        ),
        (Method::GET, VOTE, "", "?unknown=1", "?trace=u"),
        (Method::DELETE, VOTE, "", "?unknown=1", "?trace=u"),
    ] {
        let mut seen = std::collections::BTreeSet::new();
        let send = async |body: &str, token: &str| {
            let (path, body) = match body.strip_prefix('?') {
                Some(_) => (format!("{path}{body}"), ""),
                None => (path.to_owned(), body),
            };
            page.send(method.clone(), &path, token, body).await.status
        };
        page.cast(&token, json!({"value": 1})).await.ok();
        for body in [good, wrong, other, &too_large] {
            seen.insert(send(body, &token).await);
        }
        seen.insert(send(good, "forged").await);
        if matches!(method, Method::GET | Method::DELETE) {
            page.retract(&token).await;
            seen.insert(send(good, &token).await);
        }
        for fault in [Fault::Throttle, Fault::ServerError, Fault::AccessDenied] {
            page.cast(&token, json!({"value": 1})).await;
            page.api.database.fail([fault; 40]);
            seen.insert(send(good, &token).await);
            page.api.database.recover();
        }
        assert_eq!(seen, described(&method, path), "{method} {path}");
    }
}

#[tokio::test]
async fn a_revoked_or_expired_key_signs_no_more() {
    let page = Page::new().await;
    let token = page.token(json!({"exp": page.api.time.now().seconds() + 86_400}));
    page.cast(&token, json!({"value": 1})).await.ok();
    page.api
        .registry
        .revoke(&page.id, page.api.time.now())
        .await
        .unwrap();
    page.api.time.forward(Duration::from_secs(61));
    page.cast(&token, json!({"value": -1}))
        .await
        .refused(401, "token: expected one signed");
    page.own(&token).await.refused(401, "token: expected one signed");
}

#[tokio::test]
async fn many_presses_are_one_vote() {
    let page = Page::new().await;
    let token = page.token(json!({}));
    let presses = (0..20).map(|press| {
        let body = json!({"value": if press % 2 == 0 { 1 } else { -1 }});
        page.cast(&token, body)
    });
    let ids: Vec<Value> = join_all(presses)
        .await
        .into_iter()
        .map(|answer| answer.ok().json()["data"]["id"].clone())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(page.records(), 1);
    page.api.database.fail_on("DeleteItem", [Fault::LostAnswer]);
    let retracted = page.retract(&token).await.ok();
    assert_eq!(retracted.json(), json!({"data": null}));
    assert_eq!(page.records(), 0);
}

#[tokio::test]
async fn the_element_is_served_without_a_token() {
    let page = Page::new().await;
    let newest = page.api.raw(Method::GET, "/v1/vote.js", &[], "").await;
    assert_eq!(newest.status, 200);
    assert_eq!(
        newest.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(newest.header("cache-control"), Some("public, max-age=3600"));
    assert!(newest.text.contains("hindsight-vote"));
    let release = page.api.raw(Method::GET, "/v1/vote.js/0.1.0", &[], "").await;
    assert_eq!(release.text, newest.text);
    assert_eq!(
        release.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    // A copy that a browser keeps for one page has no CORS headers for another.
    for answer in [newest, release] {
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    let unknown = page.api.raw(Method::GET, "/v1/vote.js/9.9.9", &[], "").await;
    assert_eq!(unknown.status, 404);
}

/// What somebody may try who has no right to a vote.
#[derive(Clone, Debug)]
enum Attempt {
    /// Any text as a token.
    Text(String),
    /// A header and claims under an invented signature.
    Forged(Value, Value, Vec<u8>),
    /// A genuine token in which characters were replaced by others, or by none.
    Edited(Vec<(Index, String)>),
    /// A genuine signature below claims that no token may have.
    Signed(Value),
    /// A genuine token, for another trace than its own.
    Elsewhere(String),
}

fn attempts() -> impl Strategy<Value = Attempt> {
    let algorithm = prop_oneof![
        Just("none"),
        Just("HS256"),
        Just("ES256"),
        Just("EdDSA"),
        Just("Ed25519"),
        Just(""),
    ];
    let more = prop_oneof![
        Just(json!({})),
        Just(json!({"crit": ["exp"]})),
        Just(json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": ""}})),
        Just(json!({"kid": null})),
        "[ -~]{0,40}".prop_map(|kid| json!({"kid": kid})),
    ];
    let header = (algorithm, more).prop_map(|(algorithm, mut header)| {
        header["alg"] = json!(algorithm);
        header
    });
    let claims = "[a-z_]{1,8}".prop_map(|name| json!({name: 1}));
    let edits = vec((any::<Index>(), "[A-Za-z0-9_.=-]{0,2}"), 1..4);
    let known = prop_oneof![
        Just("aud"),
        Just("sub"),
        Just("trace"),
        Just("span"),
        Just("project"),
        Just("name"),
        Just("scale"),
        Just("weight"),
        Just("comment"),
        Just("reasons"),
        Just("metadata"),
        Just("iat"),
        Just("exp"),
        Just("nbf"),
    ];
    let wrong = prop_oneof![
        (known, "[ -~]{0,20}").prop_map(|(name, text)| json!({name: [[text]]})),
        prop_oneof![Just("aud"), Just("sub"), Just("trace"), Just("iat"), Just("exp")]
            .prop_map(|name| json!({name: null})),
        "x[a-z]{0,12}".prop_map(|name| json!({name: true})),
    ];
    prop_oneof![
        "[ -~]{0,300}".prop_map(Attempt::Text),
        (header, claims, vec(any::<u8>(), 0..70))
            .prop_map(|(header, claims, signature)| Attempt::Forged(header, claims, signature)),
        edits.prop_map(Attempt::Edited),
        wrong.prop_map(Attempt::Signed),
        "u[a-z0-9:]{0,40}".prop_map(Attempt::Elsewhere),
    ]
}

impl Page {
    /// The token of an attempt.
    fn attempted(&self, attempt: &Attempt) -> String {
        let valid = self.token(json!({}));
        match attempt {
            Attempt::Text(text) => text.clone(),
            Attempt::Forged(header, claims, signature) => {
                let mut own = json!({"kid": self.id.to_string()});
                own.as_object_mut()
                    .unwrap()
                    .extend(header.as_object().unwrap().clone());
                let parts = [own.to_string(), self.claims(claims.clone()).to_string()];
                let [header, claims] = parts.map(|part| URL_SAFE_NO_PAD.encode(part));
                format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
            }
            Attempt::Edited(edits) => {
                let mut text = valid.clone();
                for (index, other) in edits {
                    let place = index.index(text.len());
                    text.replace_range(place..=place, other);
                }
                // Edits may undo each other.
                if text == valid { format!("{valid}.") } else { text }
            }
            Attempt::Signed(claims) => self.token(claims.clone()),
            Attempt::Elsewhere(_) => valid,
        }
    }
}

#[test]
fn ten_thousand_random_and_altered_tokens_open_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let page = runtime.block_on(Page::new());
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(10_000)
    };
    page.api.database.consumed();
    let tried = TestRunner::new(config).run(&(attempts(), 0..4), |(attempt, route)| {
        let token = page.attempted(&attempt);
        let (trace, status, code) = match &attempt {
            Attempt::Elsewhere(trace) => (trace.as_str(), 403, "forbidden"),
            _ => ("t", 401, "unauthorized"),
        };
        let query = format!("{VOTE}?trace={trace}");
        let (method, path, body) = match route {
            0 => (Method::PUT, VOTE, json!({"value": 1, "trace": trace})),
            1 => (
                Method::POST,
                "/v1/votes/read",
                json!({"targets": [{"trace": trace}]}),
            ),
            2 => (Method::GET, query.as_str(), Value::Null),
            _ => (Method::DELETE, query.as_str(), Value::Null),
        };
        let answer = runtime.block_on(page.send(method, path, &token, &body.to_string()));
        prop_assert_eq!(answer.status, status, "{}", answer.text);
        let json = answer.json();
        prop_assert_eq!(&json["error"]["code"], code);
        prop_assert!(json["error"]["message"].is_string());
        prop_assert_eq!(json.as_object().map(serde_json::Map::len), Some(1));
        Ok(())
    });
    tried.unwrap();
    let written: Vec<_> = page
        .api
        .database
        .consumed()
        .into_keys()
        .filter(|what| what.starts_with("write"))
        .collect();
    assert!(written.is_empty(), "{written:?}");
    assert_eq!(page.records(), 0);
}
