//! What pages show, in which workspace, and that no text of a caller becomes markup.

use std::time::Duration;

use lambda_http::http::Method;
use serde_json::json;
use shared::access::Scope;
use shared::access::key::ApiKey;
use shared::access::registry::Registry;
use shared::config::{Config, TraceUrl};
use shared::id::Workspace;
use shared::log;

use super::{Browser, as_scope, metadata, quoted, well_formed};
use crate::capture::{Captured, listen};
use crate::harness::{Api, Fault, PORTKEY, TRUEFOUNDRY};

/// Texts that mean something in HTML, in its attributes, in scripts, in URLs and in SVG.
const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</textarea></title></style><svg onload=alert(1)>",
    "javascript:alert(1)//",
    "&lt;b&gt; {{ 7*7 }} \u{202e}",
];

#[tokio::test]
async fn no_text_of_a_caller_becomes_markup() {
    let trace_url = TraceUrl::parse("https://langfuse.example.com/trace/{trace_id}");
    let api = Api::with(Config::embedded().unwrap().with_trace_url(trace_url)).await;
    for text in HOSTILE {
        // Written and shown by a key of that name.
        let workspace = Workspace::parse("test").unwrap();
        let scopes = vec![Scope::Admin];
        let (key, record) = Registry::mint(workspace, text.to_owned(), scopes, None, api.time.now()).unwrap();
        api.registry.insert(&record).await.unwrap();
        let api = api.as_key(&key.reveal());
        let vote = json!({
            "trace_id": text, "value": -3, "weight": 0.5, "comment": text, "reasons": [text], "metadata": metadata(text),
        });
        let id = api.post(PORTKEY, vote).await.ok().id();
        let rated = json!({
            "target": {"traceId": text, "spanId": text}, "rating": 2, "comment": text, "reasons": [text],
            "metadata": metadata(text),
        });
        api.post(TRUEFOUNDRY, rated).await.ok();
        let browser = Browser::signed_in(&api).await;
        let (text_in_url, link) = (quoted(text), super::invite(&api, &api.key).await);
        for path in [
            "/console".to_owned(),
            "/console/prompts".to_owned(),
            "/console/feedback".to_owned(),
            format!("/console/feedback?user={text_in_url}&model={text_in_url}&reason={text_in_url}"),
            format!("/console?prompt={text_in_url}&name={text_in_url}"),
            format!("/console/trace?trace_id={text_in_url}"),
            format!("/console/edit?id={id}"),
            format!("/console/delete?id={id}"),
            format!("/console/feedback?{text_in_url}={text_in_url}"),
            format!("/console/feedback?range={text_in_url}&cursor={text_in_url}&value_min={text_in_url}"),
            format!("/console/sign-in?next={text_in_url}"),
            link,
        ] {
            let page = browser.get(&path).await;
            assert!(matches!(page.status, 200 | 303 | 400), "{path}: {}", page.text);
            // `well_formed` has looked at the markup already; what the text says is there all the same.
            assert!(
                !page.text.contains(text) || text.starts_with("javascript:"),
                "{path}"
            );
        }
        let page = browser
            .get(&format!("/console/trace?trace_id={text_in_url}"))
            .await;
        let escaped: String = text
            .chars()
            .map(|c| match c {
                '<' | '>' | '&' | '"' | '\'' => format!("&#{};", u32::from(c)),
                c => c.to_string(),
            })
            .collect();
        assert!(page.text.matches(&escaped).count() >= 20, "{}", page.text);
        let review = browser
            .submit(
                "/console/edit",
                &[
                    ("id", &id),
                    ("version", "1"),
                    ("comment", &format!("{text} {text}")),
                ],
            )
            .await;
        assert_eq!(review.status, 200, "{}", review.text);
        assert!(
            review.text.contains(&format!("<ins>{escaped} {escaped}</ins>")),
            "{}",
            review.text
        );
    }
}

/// What [`super::check`] relies on.
#[test]
fn the_check_of_markup_finds_what_it_is_for() {
    let page = |inside: &str| format!("<!doctype html><title>t</title><main><h1>x</h1>{inside}</main>");
    well_formed(&page("<p class=\"a\">b &#60; c</p>"));
    for bad in [
        "<script src=\"https://evil.example\"></script>",
        "<img src=\"/console\">",
        "<a href=\"javascript:alert(1)\">x</a>",
        "<a href=\"//evil.example\">x</a>",
        "<p onclick=\"x\">x</p>",
        "<p style=\"x\">x</p>",
        "<p class=x>x</p>",
        "a > b",
        "<input name=\"x\">",
        "<h3>x</h3>",
        "<p id=\"a\"></p><p id=\"a\"></p>",
    ] {
        let page = page(bad);
        let found = std::panic::catch_unwind(|| well_formed(&page));
        assert!(found.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_session_sees_its_own_workspace_alone() {
    let api = Api::new().await;
    let other = api.as_key(&api.key_for("other", &[Scope::Admin]).await);
    let theirs = other
        .post(
            PORTKEY,
            json!({"trace_id": "theirs", "value": 9, "comment": "a secret of theirs", "metadata": metadata("theirs")}),
        )
        .await
        .ok()
        .id();
    let browser = Browser::signed_in(&api).await;
    for path in [
        "/console".to_owned(),
        "/console/prompts".to_owned(),
        "/console/feedback".to_owned(),
        "/console/feedback?user=theirs".to_owned(),
        "/console/feedback.csv?part=1".to_owned(),
        "/console/trace?trace_id=theirs".to_owned(),
        "/console/span.json?trace_id=theirs".to_owned(),
    ] {
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200);
        assert!(!page.text.contains("a secret of theirs"), "{path}");
    }
    for path in ["/console/edit", "/console/delete"] {
        assert_eq!(browser.get(&format!("{path}?id={theirs}")).await.status, 404);
        let fields = [
            ("id", theirs.as_str()),
            ("version", "1"),
            ("value", "1"),
            ("confirmed", "yes"),
        ];
        assert_eq!(browser.submit(path, &fields).await.status, 404);
    }
    assert_eq!(other.record(&theirs).await["version"], 1);
    let own = Browser::signed_in(&other).await;
    assert!(
        own.get("/console/feedback")
            .await
            .text
            .contains("a secret of theirs")
    );
}

#[tokio::test]
async fn a_page_without_feedback_says_what_to_do_next() {
    let api = Api::new().await;
    let browser = Browser::signed_in(&api).await;
    let page = browser.get("/console/feedback").await;
    assert!(
        page.text.contains("No feedback in the last 7 days"),
        "{}",
        page.text
    );
    assert!(page.text.contains("/v1/feedback&#34;") && page.text.contains("data-copy=\"call\""));
    let page = browser.get("/console/feedback?user=nobody&range=1y").await;
    assert!(page.text.contains("No feedback matches"));
    assert!(
        page.text
            .contains("href=\"/console/feedback?range=1y\">Clear the filters"),
        "{}",
        page.text
    );
    let page = browser.get("/console/trace?trace_id=nothing").await;
    assert!(page.text.contains("No feedback on this trace"));
    let page = browser.get("/console/trace").await;
    assert!(page.text.contains("Find a trace"));
}

#[tokio::test]
async fn a_bad_address_is_told_what_is_wrong_with_it() {
    let api = Api::new().await;
    let browser = Browser::signed_in(&api).await;
    for (path, says) in [
        (
            "/console?range=week",
            "range: expected 1h, 24h, 7d, 30d, 90d, 1y or custom",
        ),
        ("/console?range=custom", "from: missing"),
        ("/console/feedback?value_min=11", "value_min: expected"),
        ("/console/feedback?value_min=1&rating_min=1", "rating_min"),
        ("/console/feedback?has_comment=maybe", "has_comment: expected"),
        (
            "/console/feedback?cursor=x",
            "cursor: expected one of a link on this page",
        ),
        ("/console/feedback?usr=x", "query: unknown parameter usr"),
        ("/console?value_min=1", "query: unknown parameter value_min"),
        (
            "/console/feedback.csv?part=0",
            "part: expected the number of a part",
        ),
        ("/console/span.json", "trace_id: expected 1 to 512 bytes"),
        ("/console/edit?id=x", "id: expected a UUID"),
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 400, "{path}");
        assert!(page.text.contains(says), "{path}: {}", page.text);
        assert!(page.text.contains("JKJaXmPLvHcESHA="), "the request id");
        assert!(page.text.contains("Sign out"), "the navigation");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_a_page_with_the_request_s_id() {
    let api = Api::new().await;
    let browser = Browser::signed_in(&api).await;
    for (fault, status, says) in [
        (Fault::ServerError, 503, "The storage did not answer"),
        (Fault::Throttle, 429, "The storage did not answer"),
        (Fault::AccessDenied, 500, "Something went wrong"),
        (Fault::Hang, 503, "The storage did not answer"),
    ] {
        api.database.fail_on("Query", [fault; 40]);
        let page = browser.get("/console/feedback").await;
        api.database.recover();
        assert_eq!(page.status, status, "{fault:?}");
        assert!(
            page.text.contains(says) && page.text.contains("JKJaXmPLvHcESHA="),
            "{}",
            page.text
        );
        let retry = page.header("retry-after").is_some();
        assert_eq!(retry, status != 500);
        // Nor is anybody let in while sessions cannot be read.
        api.database.fail_on("GetItem", [fault; 40]);
        let page = browser.get("/console/feedback").await;
        api.database.recover();
        assert!(matches!(page.status, 429 | 500 | 503), "{fault:?}");
        assert!(!page.text.contains("Sign out"));
    }
}

#[tokio::test]
async fn pages_are_one_round_trip_of_at_most_100_kb() {
    let api = Api::new().await;
    for number in 0..60 {
        let text = format!("value-{}", number % 7);
        let comment = "A comment as people write them, of a sentence or two, which is about this long.";
        let vote = json!({
            "trace_id": format!("trace-{}", number % 20), "value": 1, "comment": comment,
            "reasons": ["wrong", "too long"], "metadata": metadata(&text),
        });
        api.post(PORTKEY, vote).await.ok();
    }
    api.count().await;
    let browser = Browser::signed_in(&api).await;
    for path in [
        "/console",
        "/console/prompts",
        "/console/feedback",
        "/console/trace?trace_id=trace-1",
        "/console/sign-in",
    ] {
        let page = browser.get(path).await;
        assert!(page.text.len() <= 100 * 1024, "{path}: {} bytes", page.text.len());
        // Nothing is loaded: neither from elsewhere nor from here.
        for loading in ["<img", "<link rel=\"stylesheet", " src=", "@import", "url("] {
            assert!(!page.text.contains(loading), "{path}: {loading}");
        }
    }
}

#[tokio::test]
async fn the_log_has_neither_tokens_nor_texts() {
    let api = Api::new().await;
    let captured = Captured::default();
    let _listening = listen(log::log(captured.clone(), |_| None));
    let key = api.key_for("test", &[Scope::Admin]).await;
    let link = super::invite(&api, &key).await;
    let mut browser = Browser::new(&api);
    let answer = browser.post(&link, &[]).await;
    browser.keep(&answer);
    let id = api
        .post(
            PORTKEY,
            json!({"trace_id": "canary", "value": 1, "comment": "canary", "metadata": metadata("canary")}),
        )
        .await
        .ok()
        .id();
    let token = browser.form_token().await;
    for path in [
        "/console/feedback?user=canary",
        "/console/trace?trace_id=canary",
        "/console/feedback?canary=canary",
        "/console/feedback?range=canary",
        "/console/invite/canary",
    ] {
        browser.get(path).await;
    }
    browser
        .submit(
            "/console/edit",
            &[
                ("id", &id),
                ("version", "1"),
                ("comment", "canary 2"),
                ("value", "canary"),
            ],
        )
        .await;
    browser.post("/console/sign-in", &[("key", "hsk_canary")]).await;
    browser
        .send(
            &Method::POST,
            "/console/edit",
            &[("origin", "https://canary.example")],
            "id=canary",
        )
        .await;
    let text = captured.text();
    assert!(text.contains("GET /console/invite/{token}"), "{text}");
    let cookie = browser.cookie.as_deref().unwrap().split('=').nth(1).unwrap();
    let secrets = [
        cookie,
        &token,
        link.rsplit('/').next().unwrap(),
        &key[21..],
        "canary",
    ];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn who_wrote_a_record_is_told_by_the_key_s_name() {
    let api = Api::new().await;
    let id = api.vote(1, json!({})).await;
    let reader = as_scope(&api, "test", &[Scope::Read]).await;
    let key = ApiKey::parse(&api.key).unwrap().id().to_string();
    let page = reader.get("/console/feedback").await;
    assert!(
        page.text.contains(&format!(
            "<span class=\"plain\" title=\"{key}\">a test&#39;s</span>"
        )),
        "{}",
        page.text
    );
    // Who may only read has no forms.
    assert!(!page.text.contains("/console/edit") && !page.text.contains("/console/delete"));
    for path in ["/console/edit", "/console/delete"] {
        let page = reader.get(&format!("{path}?id={id}")).await;
        assert_eq!(page.status, 403);
        assert!(page.text.contains("It needs the scope admin."), "{}", page.text);
        let fields = [
            ("id", id.as_str()),
            ("version", "1"),
            ("value", "5"),
            ("confirmed", "yes"),
        ];
        assert_eq!(reader.submit(path, &fields).await.status, 403);
    }
    assert_eq!(api.record(&id).await["version"], 1);
    api.time.forward(Duration::from_secs(1));
}
