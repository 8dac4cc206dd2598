//! Signing in and out, what a session's cookie is, and who may send forms.

use std::time::Duration;

use lambda_http::http::Method;
use shared::access::Scope;
use shared::access::key::ApiKey;
use shared::access::sessions::SESSION_LIFETIME;
use shared::http::{Credential, ROUTES};

use super::{Browser, ORIGIN, as_scope, between};
use crate::harness::{Api, event_json};

/// Every page that needs a session.
const PAGES: [&str; 8] = [
    "/console",
    "/console/prompts",
    "/console/feedback",
    "/console/feedback.csv",
    "/console/trace?trace_id=t",
    "/console/span.json?trace_id=t",
    "/console/edit?id=019ab2a98fc6e80483eae496e2dd611d",
    "/console/delete?id=019ab2a98fc6e80483eae496e2dd611d",
];

#[tokio::test]
async fn a_key_that_may_read_signs_in_and_no_other() {
    let api = Api::new().await;
    let browser = Browser::new(&api);
    for scopes in [&[Scope::Read][..], &[Scope::Admin], &[Scope::Read, Scope::Write]] {
        let browser = as_scope(&api, "test", scopes).await;
        assert_eq!(browser.get("/console").await.status, 200);
    }
    for (key, status, says) in [
        (String::new(), 401, "Enter an API key"),
        ("hsk_nonsense".to_owned(), 401, "This key is not valid"),
        (api.key.replace("hsk_", "hsk_0"), 401, "This key is not valid"),
        (
            api.key_for("test", &[Scope::Write]).await,
            403,
            "has the scope write. The console needs a key of scope read or admin",
        ),
    ] {
        let answer = browser.post("/console/sign-in", &[("key", &key)]).await;
        assert_eq!(answer.status, status);
        assert!(answer.text.contains(says), "{}", answer.text);
        assert_eq!(answer.header("set-cookie"), None);
        assert!(
            key.is_empty() || !answer.text.contains(&key),
            "the key is shown again"
        );
    }
    // White space of a copied key does not matter.
    let spaced = format!("  {}\n", api.key);
    assert_eq!(
        browser.post("/console/sign-in", &[("key", &spaced)]).await.status,
        303
    );
}

#[tokio::test]
async fn a_revoked_or_expired_key_does_not_sign_in_and_ends_its_sessions_within_a_minute() {
    let api = Api::new().await;
    let key = api.key_for("test", &[Scope::Read]).await;
    let browser = Browser::with_key(&api, &key).await;
    let id = ApiKey::parse(&key).unwrap().id().clone();
    api.registry.revoke(&id, api.time.now()).await.unwrap();
    let elsewhere = Browser {
        api: api.restarted(),
        ..browser.clone()
    };
    // A function that does not know the key yet asks for it.
    assert_eq!(elsewhere.get("/console").await.status, 401);
    assert_eq!(
        elsewhere.post("/console/sign-in", &[("key", &key)]).await.status,
        401
    );
    api.time.forward(Duration::from_secs(60));
    assert_eq!(browser.get("/console").await.status, 401);
}

#[tokio::test]
async fn a_session_ends_after_twelve_hours() {
    let api = Api::new().await;
    let browser = Browser::signed_in(&api).await;
    api.time.forward(SESSION_LIFETIME - Duration::from_secs(2));
    assert_eq!(browser.get("/console").await.status, 200);
    // It is not swept yet, but it is over.
    api.time.forward(Duration::from_secs(2));
    assert_eq!(browser.get("/console").await.status, 401);
    let kept = api.database.items("sessions");
    assert_eq!(kept.len(), 1);
    let expiry: u64 = kept[0]["expires_at"]["N"].as_str().unwrap().parse().unwrap();
    assert!(expiry <= api.time.now().seconds());
}

#[tokio::test]
async fn the_cookie_is_bound_to_the_host_with_tls_and_to_the_loopback_without() {
    let api = Api::new().await;
    let key = api.key.as_str();
    let answer = Browser::new(&api).post("/console/sign-in", &[("key", key)]).await;
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    let token = pair.strip_prefix("__Host-hindsight=").unwrap();
    assert_eq!(token.len(), 43);
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Secure");
    assert_eq!(answer.header("location"), Some("/console"));

    // As `cargo run` is reached: API Gateway's domain name is missing, and the host is the loopback.
    for (host, scheme) in [("127.0.0.1:8787", "http"), ("localhost:8787", "http")] {
        let origin = format!("{scheme}://{host}");
        let headers = [("host", host), ("origin", &origin)];
        let form = format!("key={key}");
        let path = "/console/sign-in";
        let mut event = event_json(&Method::POST, path, "", &headers, &form, false);
        event["requestContext"]["domainName"] = serde_json::Value::Null;
        let answer = api.event(&event).await;
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.starts_with("hindsight="), "{cookie}");
        assert!(
            cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"),
            "{cookie}"
        );
    }
    // A name that leads to this machine is not the loopback.
    let headers = [
        ("host", "rebound.example:8787"),
        ("origin", "http://rebound.example:8787"),
    ];
    let mut event = event_json(
        &Method::POST,
        "/console/sign-in",
        "",
        &headers,
        &format!("key={key}"),
        false,
    );
    event["requestContext"]["domainName"] = serde_json::Value::Null;
    assert_eq!(api.event(&event).await.status, 403);
}

#[tokio::test]
async fn the_table_does_not_hold_what_signs_in() {
    let api = Api::new().await;
    let browser = Browser::signed_in(&api).await;
    let link = super::invite(&api, &api.key).await;
    let cookie = browser.cookie.as_deref().unwrap();
    let token = cookie.split('=').nth(1).unwrap();
    let form_token = browser.form_token().await;
    let kept = serde_json::to_string(&api.database.items("sessions")).unwrap();
    for secret in [
        token,
        form_token.as_str(),
        link.rsplit('/').next().unwrap(),
        &api.key[21..],
    ] {
        assert!(!kept.contains(secret), "{secret} in {kept}");
    }
    // What it does hold is of no use as a cookie, nor as a link.
    for item in api.database.items("sessions") {
        let id = item["id"]["S"].as_str().unwrap();
        let (_, hash) = id.split_once('#').unwrap();
        let thief = Browser {
            api: api.clone(),
            cookie: Some(format!("__Host-hindsight={hash}")),
        };
        assert_eq!(thief.get("/console").await.status, 401);
        assert_eq!(thief.get(&format!("/console/invite/{hash}")).await.status, 404);
    }
}

#[tokio::test]
async fn a_sign_in_makes_a_new_session_and_ends_the_one_before() {
    let api = Api::new().await;
    let before = Browser::signed_in(&api).await;
    let mut after = before.clone();
    let answer = after.post("/console/sign-in", &[("key", &api.key)]).await;
    after.keep(&answer);
    assert_ne!(before.cookie, after.cookie);
    assert_eq!(before.get("/console").await.status, 401);
    assert_eq!(after.get("/console").await.status, 200);
    // A cookie that an attacker has chosen becomes nobody's session.
    let fixed = Browser {
        api: api.clone(),
        cookie: Some(format!("__Host-hindsight={}", "A".repeat(43))),
    };
    let answer = fixed.post("/console/sign-in", &[("key", &api.key)]).await;
    assert_eq!(answer.status, 303);
    assert_eq!(fixed.get("/console").await.status, 401);
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let api = Api::new().await;
    let mut browser = Browser::signed_in(&api).await;
    let copy = browser.clone();
    let answer = browser.submit("/console/sign-out", &[]).await;
    assert_eq!(answer.status, 303);
    browser.keep(&answer);
    assert_eq!(browser.cookie, None);
    assert_eq!(copy.get("/console").await.status, 401);
    assert!(api.database.items("sessions").is_empty());
    let page = browser.get(answer.header("location").unwrap()).await;
    assert!(page.text.contains("You are signed out."));
}

#[tokio::test]
async fn every_page_needs_a_session_and_leads_back_to_itself() {
    let api = Api::new().await;
    let (stranger, known) = (Browser::new(&api), Browser::signed_in(&api).await);
    for path in PAGES {
        // From elsewhere, a browser keeps a strict cookie to itself. A page asks again from here.
        let answer = stranger
            .send(&Method::GET, path, &[("sec-fetch-site", "cross-site")], "")
            .await;
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, Some("Bearer"))
        );
        let refresh = between(&answer.text, "http-equiv=\"refresh\" content=\"0;url=", "\"");
        let sign_in = refresh[0].replace("&#38;", "&").replace("&amp;", "&");
        assert!(
            sign_in.starts_with("/console/sign-in?next=%2Fconsole"),
            "{sign_in}"
        );
        let back = known.get(&sign_in).await;
        assert_eq!((back.status, back.header("location")), (303, Some(path)));
        // And it does so once: without a session, the form ends the matter.
        let form = stranger.get(&sign_in).await;
        assert_eq!(form.status, 200);
        assert!(!form.text.contains("http-equiv=\"refresh\""));
        let next = between(&form.text, "name=\"next\" value=\"", "\"")[0].replace("&#38;", "&");
        let answer = stranger
            .post("/console/sign-in", &[("key", &api.key), ("next", &next)])
            .await;
        assert_eq!(answer.header("location"), Some(path));
        // Who typed the address has sent all cookies.
        for site in ["none", "same-origin"] {
            let answer = stranger
                .send(&Method::GET, path, &[("sec-fetch-site", site)], "")
                .await;
            assert_eq!(
                (answer.status, answer.header("location")),
                (303, Some(sign_in.as_str()))
            );
        }
    }
    // The list above has every page.
    for route in ROUTES.iter().filter(|route| route.method == Method::GET) {
        let is_page = route.operation.credential() == Some(Credential::Session);
        let is_listed = PAGES
            .iter()
            .any(|page| page.split('?').next() == Some(route.path));
        assert_eq!(is_page, is_listed, "{}", route.key());
    }
}

#[tokio::test]
async fn a_form_is_taken_from_a_page_of_this_console_alone() {
    let api = Api::new().await;
    let browser = Browser::signed_in(&api).await;
    let id = api.vote(1, serde_json::json!({})).await;
    let link = super::invite(&api, &api.key).await;
    let token = browser.form_token().await;
    let fields = [
        ("form_token", token.as_str()),
        ("key", &api.key),
        ("id", &id),
        ("version", "1"),
        ("value", "-5"),
        ("confirmed", "yes"),
    ];
    let forms = ROUTES
        .iter()
        .filter(|route| !route.is_api() && route.method == Method::POST);
    let mut count = 0;
    for route in forms {
        let path = route.path.replace("/console/invite/{token}", &link);
        for origin in [
            None,
            Some("null"),
            Some("https://evil.example"),
            Some("http://id.execute-api.us-east-1.amazonaws.com"),
            Some("https://id.execute-api.us-east-1.amazonaws.com:8443"),
            Some("https://id.execute-api.us-east-1.amazonaws.com.evil.example"),
        ] {
            let answer = browser.post_from(origin, &path, &fields).await;
            assert_eq!(answer.status, 403, "{path} from {origin:?}: {}", answer.text);
            assert_eq!(answer.header("set-cookie"), None);
        }
        if route.operation.credential() == Some(Credential::Session) {
            let other = Browser::signed_in(&api).await.form_token().await;
            for wrong in ["", "x", &token[1..], &other] {
                let mut fields = fields;
                fields[0].1 = wrong;
                let answer = browser.post_from(Some(ORIGIN), &path, &fields).await;
                assert_eq!(answer.status, 403, "{path} with {wrong}");
            }
            let twice: Vec<_> = fields.iter().copied().chain([fields[0]]).collect();
            assert_eq!(browser.post_from(Some(ORIGIN), &path, &twice).await.status, 403);
        }
        count += 1;
    }
    assert_eq!(count, 5);
    // Nothing happened.
    assert_eq!(api.record(&id).await["value"], 1);
    assert_eq!(browser.get("/console").await.status, 200);
    assert_eq!(browser.get(&link).await.status, 200);
}

#[tokio::test]
async fn a_form_without_a_session_is_not_sent_and_leads_to_the_sign_in() {
    let api = Api::new().await;
    let id = api.vote(1, serde_json::json!({})).await;
    let stranger = Browser::new(&api);
    for path in ["/console/edit", "/console/delete"] {
        let answer = stranger
            .post(path, &[("id", &id), ("version", "1"), ("confirmed", "yes")])
            .await;
        assert_eq!(answer.status, 401);
        assert!(
            answer.text.contains("/console/sign-in?next=%2Fconsole\""),
            "{}",
            answer.text
        );
    }
    assert_eq!(api.record(&id).await["version"], 1);
}

#[tokio::test]
async fn sessions_and_invites_of_a_newer_schema_version_are_refused() {
    let api = Api::new().await;
    let (browser, link) = (
        Browser::signed_in(&api).await,
        super::invite(&api, &api.key).await,
    );
    assert_eq!(api.database.items("sessions").len(), 2);
    for mut item in api.database.items("sessions") {
        assert_eq!(item["schema"]["N"], "1");
        item["schema"]["N"] = "2".into();
        let put = serde_json::json!({"TableName": "sessions", "Item": item});
        api.database.direct("PutItem", put);
    }
    for path in ["/console", &link] {
        let page = browser.get(path).await;
        assert_eq!(
            (page.status, page.header("retry-after")),
            (503, Some("1")),
            "{path}"
        );
    }
}
