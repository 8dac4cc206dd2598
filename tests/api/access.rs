//! Access control by API keys.

use std::time::Duration;

use lambda_http::http::Method;
use serde_json::json;
use shared::access::Scope;
use shared::access::key::{ApiKey, KeyId};
use shared::access::keyring::CACHE_LIFETIME;
use shared::access::registry::Registry;
use shared::http::{Credential, ROUTES, Route};
use shared::id::Workspace;
use shared::problem::Problem;
use shared::timestamp::Timestamp;

use crate::erasure::ERASURES;
use crate::harness::{Api, Fault, PORTKEY, TRUEFOUNDRY};

/// Every route that requires a key, with a valid request.
fn routes() -> Vec<(Method, String, &'static str)> {
    let id = "019ab2a9-8fc6-7804-83ea-e496e2dd611d";
    let rated = r#"{"target":{"traceId":"t","spanId":"s"},"rating":1}"#;
    let analytics = [
        "graphs/feedbacks",
        "graphs/feedbacks/scores",
        "graphs/feedbacks/score",
        "graphs/feedbacks/weighted",
        "graphs/feedbacks/ai-models",
        "groups/metadata/_user",
    ]
    .map(|path| {
        let range = "time_of_generation_min=2026-01-01T00:00:00Z&time_of_generation_max=2026-01-02T00:00:00Z";
        (Method::GET, format!("/v1/analytics/{path}?{range}"), "")
    });
    let feedback = [
        (Method::POST, PORTKEY.to_owned(), r#"{"trace_id":"t","value":1}"#),
        (Method::PUT, format!("{PORTKEY}/{id}"), r#"{"value":1}"#),
        (Method::DELETE, format!("{PORTKEY}/{id}"), ""),
        (Method::GET, format!("{PORTKEY}/{id}"), ""),
        (Method::GET, PORTKEY.to_owned(), ""),
        (Method::POST, TRUEFOUNDRY.to_owned(), rated),
        (Method::PUT, format!("{TRUEFOUNDRY}/{id}"), rated),
        (Method::DELETE, format!("{TRUEFOUNDRY}/{id}"), rated),
        (Method::GET, format!("{TRUEFOUNDRY}/{id}"), ""),
        (Method::GET, format!("{TRUEFOUNDRY}?traceId=t"), ""),
        (Method::POST, ERASURES.to_owned(), r#"{"user":"u"}"#),
    ];
    feedback.into_iter().chain(analytics).collect()
}

#[test]
fn every_route_with_a_key_is_covered() {
    let tried: std::collections::BTreeSet<String> = routes()
        .iter()
        .map(|(method, path, _)| {
            Route::find(method, path.split('?').next().unwrap())
                .unwrap()
                .0
                .key()
        })
        .collect();
    // Only routes that require a key.
    let keyed = ROUTES
        .iter()
        .filter(|route| matches!(route.operation.credential(), Some(Credential::Key(_))));
    assert_eq!(tried, keyed.map(Route::key).collect());
}

#[tokio::test]
async fn either_header_works_on_every_route() {
    let api = Api::new().await;
    let bearer = format!("Bearer {}", api.key);
    for (method, path, body) in routes() {
        for headers in [
            vec![("x-portkey-api-key", api.key.as_str())],
            vec![("authorization", bearer.as_str())],
            vec![("x-portkey-api-key", ""), ("authorization", bearer.as_str())],
            vec![
                ("x-portkey-api-key", api.key.as_str()),
                ("authorization", "Bearer sk-somebody-else-s"),
            ],
        ] {
            let answer = api.raw(method.clone(), &path, &headers, body).await;
            assert!(
                [200, 404].contains(&answer.status),
                "{method} {path} {}",
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn invalid_keys_are_rejected_and_mistyped_ones_cost_no_call() {
    let api = Api::new().await;
    let (stranger, _) = Registry::mint(
        Workspace::parse("test").unwrap(),
        "never stored".into(),
        vec![Scope::Admin],
        None,
        api.time.now(),
    )
    .unwrap();
    let mut mistyped = api.key.clone();
    mistyped.replace_range(30..31, if &api.key[30..31] == "0" { "1" } else { "0" });
    let forged = forged(&api.key);
    let bearer = format!("Bearer {}", api.key);
    api.database.calls();
    for (method, path, body) in routes() {
        for (headers, looked_up) in [
            (vec![], false),
            (vec![("x-portkey-api-key", "")], false),
            (vec![("x-portkey-api-key", "PORTKEY_API_KEY")], false),
            (vec![("x-portkey-api-key", mistyped.as_str())], false),
            (vec![("authorization", api.key.as_str())], false),
            (
                vec![("x-portkey-api-key", "wrong"), ("authorization", bearer.as_str())],
                false,
            ),
            (vec![("x-portkey-api-key", stranger.reveal().leak())], true),
            (vec![("x-portkey-api-key", forged.as_str())], true),
        ] {
            let answer = api.restarted().raw(method.clone(), &path, &headers, body).await;
            let answer = answer.refused(401, "a valid API key is required");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            let json = answer.json();
            assert!(
                json["error"]["code"] == "AB05" || json["code"] == "UNAUTHORIZED",
                "{json}"
            );
            assert_eq!(
                api.database.calls(),
                if looked_up { vec!["GetItem"] } else { vec![] },
                "{headers:?}"
            );
        }
    }
    assert!(api.database.items("feedback").is_empty());
}

/// A well-formed key with the same id and another secret.
fn forged(key: &str) -> String {
    let id = &key[4..20];
    let bytes: Vec<u8> = (0..8)
        .map(|n| u8::from_str_radix(&id[2 * n..2 * n + 2], 16).unwrap())
        .collect();
    ApiKey::from_random(bytes.try_into().unwrap(), [7; 32]).reveal()
}

#[tokio::test]
async fn a_scope_allows_its_routes_and_is_checked_before_the_body() {
    let api = Api::new().await;
    for scope in Scope::ALL {
        let keyed = api.as_key(&api.key_for("test", &[scope]).await);
        for (method, path, body) in routes() {
            let needs = if path == ERASURES {
                Scope::Admin
            } else if method == Method::GET {
                Scope::Read
            } else {
                Scope::Write
            };
            for body in [body, "not JSON at all"] {
                let answer = keyed.call(method.clone(), &path, &[], body).await;
                if scope == needs || scope == Scope::Admin {
                    assert!([200, 400, 404].contains(&answer.status), "{}", answer.text);
                } else {
                    let answer =
                        answer.refused(403, &format!("lacks the scope {needs}, which this call needs"));
                    let json = answer.json();
                    assert!(
                        json["error"]["code"] == "AB03" || json["code"] == "FORBIDDEN",
                        "{json}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn keys_expire() {
    let api = Api::new().await;
    let now = api.time.now();
    let make = async |expires_at| {
        let workspace = Workspace::parse("test").unwrap();
        let (key, record) =
            Registry::mint(workspace, "ends".into(), vec![Scope::Admin], expires_at, now).unwrap();
        api.registry.insert(&record).await.unwrap();
        key.reveal()
    };
    let past = make(Some(now)).await;
    let future = make(Some(now + Duration::from_secs(60))).await;
    api.as_key(&past)
        .get(PORTKEY)
        .await
        .refused(401, "a valid API key is required");
    api.as_key(&future).get(PORTKEY).await.ok();
}

#[tokio::test]
async fn a_revoked_key_stops_within_a_minute_and_warm_requests_cost_no_look_up() {
    let api = Api::new().await;
    let now = api.time.now();
    let verify = async |at: Timestamp| api.keyring.verify(&api.key, at).await;
    assert!(verify(now).await.is_ok());
    api.database.calls();
    assert!(verify(now + Duration::from_secs(59)).await.is_ok());
    assert!(api.database.calls().is_empty());
    api.registry
        .revoke(&KeyId::parse(&api.key[..20]).unwrap(), now)
        .await
        .unwrap();
    api.database.calls();
    assert!(
        verify(now + Duration::from_millis(59_999)).await.is_ok(),
        "remembered"
    );
    assert_eq!(verify(now + CACHE_LIFETIME).await, Err(Problem::Unauthorized));
    assert_eq!(api.database.calls(), ["GetItem"]);
    // And at once with an empty cache.
    api.restarted()
        .get(PORTKEY)
        .await
        .refused(401, "a valid API key is required");
}

#[tokio::test]
async fn unknown_key_ids_are_cached_too() {
    let api = Api::new().await;
    let stranger = ApiKey::from_random([1; 8], [2; 32]).reveal();
    let now = api.time.now();
    api.database.calls();
    for seconds in [0, 59, 60] {
        let at = now + Duration::from_secs(seconds);
        assert_eq!(
            api.keyring.verify(&stranger, at).await,
            Err(Problem::Unauthorized)
        );
    }
    assert_eq!(api.database.calls(), ["GetItem", "GetItem"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_look_up_rejects_the_request() {
    let api = Api::new().await;
    for fault in [Fault::Throttle, Fault::ServerError, Fault::Hang, Fault::Refused] {
        for (method, path, body) in routes() {
            api.database.fail_on("GetItem", vec![fault; 20]);
            let answer = api.restarted().call(method, &path, &[], body).await;
            api.database.recover();
            let answer = answer.refused(503, "the storage failed or did not answer in time");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    assert!(api.database.items("feedback").is_empty());
    // The failure is not cached.
    api.post(PORTKEY, json!({"trace_id": "t", "value": 1})).await.ok();
}

#[tokio::test]
async fn no_secret_is_stored() {
    let api = Api::new().await;
    let stored = json!(api.database.items("api-keys")).to_string();
    assert!(stored.contains(&api.key[4..20]), "the id is");
    assert!(!stored.contains(&api.key[21..85]));
    assert!(!stored.contains(&api.key));
}
