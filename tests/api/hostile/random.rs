//! Random requests, and valid requests with random changes.

use lambda_http::http::Method;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use tokio::runtime::Runtime;

use super::{PORTKEY, Site, TRUEFOUNDRY, assert_refusal};

/// A service for random requests. Its clock is paused, so waiting for an index takes no time.
fn random_site() -> (Runtime, Site) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let site = runtime.block_on(Site::new());
    (runtime, site)
}

/// Sends a request that may be invalid. The response must be 200, or a 4xx without any write.
fn check(runtime: &Runtime, site: &Site, method: &Method, path: &str, body: &[u8]) -> TestCaseResult {
    runtime.block_on(async {
        let before = site.stored();
        let answer = site.send(method, path, body).await;
        if answer.status == 200 {
            answer.ok();
        } else {
            assert_refusal(&answer, path);
            prop_assert_eq!(site.stored(), before);
        }
        Ok(())
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Valid bodies for each route, from which mutations start.
const VALID: [&str; 6] = [
    r#"{"trace_id":"tr","value":-3,"weight":0.25,"metadata":{"_user":"u","n":[1e3,null,{"a":"\u00e9"}]}}"#,
    r#"[{"trace_id":"a","value":1},{"traceID":"b","value":"0","metadata":"{\"_prompt\":7}"}]"#,
    r#"{"0":{"traceID":"a","value":1},"1":{"trace_id":"b","value":0}}"#,
    r#"{"target":{"traceId":"t","spanId":"s","tracingProjectFQN":"p"},"rating":4,"comment":"c","metadata":{"k":"v"}}"#,
    r#"{"target":{"type":"target-id","feedbackTargetId":"eyJzcGFuSWQiOiJzIiwidHJhY2VJZCI6InQifQ=="},"rating":2,"value":2}"#,
    r#"{"comment":null,"metadata":{"_environment":true},"value":5,"weight":null,"rating":"5"}"#,
];

/// Tokens to insert into a valid body.
const TOKENS: [&str; 18] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "1e400",
    "-0",
    "NaN",
    "null",
    "\u{feff}",
    "\"value\":1,",
    "\"\":",
    "\u{0}",
];

#[derive(Clone, Debug)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
    Insert(prop::sample::Index, &'static str),
    Remove(prop::sample::Index, usize),
    /// Replaces the rest of the body with the rest of another valid one.
    Splice(prop::sample::Index, &'static str, prop::sample::Index),
}

impl Mutation {
    fn apply(&self, body: &mut Vec<u8>) {
        let place = |index: &prop::sample::Index, length: usize| index.index(length + 1);
        match self {
            Self::Flip(index, bits) if !body.is_empty() => {
                let place = index.index(body.len());
                body[place] ^= bits;
            }
            Self::Flip(..) => {}
            Self::Truncate(index) => body.truncate(place(index, body.len())),
            Self::Insert(index, token) => {
                let place = place(index, body.len());
                body.splice(place..place, token.bytes());
            }
            Self::Remove(index, count) => {
                let start = place(index, body.len());
                body.drain(start..body.len().min(start + count));
            }
            Self::Splice(index, other, from) => {
                body.truncate(place(index, body.len()));
                body.extend(&other.as_bytes()[place(from, other.len())..]);
            }
        }
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let index = any::<prop::sample::Index>;
    let mutation = prop_oneof![
        (index(), 1..=u8::MAX).prop_map(|(index, bits)| Mutation::Flip(index, bits)),
        index().prop_map(Mutation::Truncate),
        (index(), prop::sample::select(&TOKENS[..]))
            .prop_map(|(index, token)| Mutation::Insert(index, token)),
        (index(), 1..12_usize).prop_map(|(index, count)| Mutation::Remove(index, count)),
        (index(), prop::sample::select(&VALID[..]), index())
            .prop_map(|(index, other, from)| Mutation::Splice(index, other, from)),
    ];
    prop::collection::vec(mutation, 0..4)
}

#[test]
fn random_bytes_get_a_response_and_write_only_with_200() {
    let (runtime, site) = random_site();
    let routes = prop::sample::select(site.writes().to_vec());
    proptest!(cases(128), |((method, path) in routes, body in prop::collection::vec(any::<u8>(), 0..200))| {
        check(&runtime, &site, &method, &path, &body)?;
    });
}

#[test]
fn broken_bodies_get_a_response_and_write_only_with_200() {
    let (runtime, site) = random_site();
    let routes = prop::sample::select(site.writes().to_vec());
    proptest!(cases(256), |(
        (method, path) in routes,
        valid in prop::sample::select(&VALID[..]),
        mutations in mutations(),
    )| {
        let mut body = valid.as_bytes().to_vec();
        for mutation in &mutations {
            mutation.apply(&mut body);
        }
        check(&runtime, &site, &method, &path, &body)?;
    });
}

#[test]
fn random_queries_get_a_response() {
    let (runtime, site) = random_site();
    let name = prop::sample::select(
        &[
            "trace_id",
            "span_id",
            "user",
            "organisation",
            "prompt",
            "environment",
            "from",
            "to",
            "limit",
            "cursor",
            "order",
            "feedbackTargetId",
            "traceId",
            "spanId",
            "pageToken",
        ][..],
    );
    let value = prop_oneof![
        "\\PC{0,12}",
        "[%0-9a-fA-F+&=#]{0,12}",
        Just("2026-01-01T00:00:00Z".to_owned())
    ];
    let pair = (name, value).prop_map(|(name, value)| format!("{name}={value}"));
    let query = prop_oneof![
        prop::collection::vec(pair, 0..5).prop_map(|pairs| pairs.join("&")),
        any::<String>(),
    ];
    proptest!(cases(256), |(query in query, path in prop::sample::select(&[PORTKEY, TRUEFOUNDRY][..]))| {
        check(&runtime, &site, &Method::GET, &format!("{path}?{query}"), b"")?;
    });
}

#[test]
fn random_analytics_queries_get_a_response() {
    let (runtime, site) = random_site();
    let name = prop::sample::select(
        &[
            "time_of_generation_min",
            "time_of_generation_max",
            "workspace_slug",
            "trace_id",
            "span_id",
            "prompt_slug",
            "ai_org_model",
            "metadata",
            "weighted_feedback_min",
            "current_page",
            "page_size",
            "cost_min",
        ][..],
    );
    let value = prop_oneof![
        "\\PC{0,12}",
        "[%0-9a-fA-F+&=#]{0,12}",
        "-?[0-9]{1,30}",
        Just("{\"_user\":\"u\",\"a\":[]}".to_owned()),
        Just("9999-12-31T23:59:59.999Z".to_owned()),
        Just("0000-01-01T00:00:00Z".to_owned()),
    ];
    let pair = (name, value).prop_map(|(name, value)| format!("{name}={value}"));
    let query = prop::collection::vec(pair, 0..6).prop_map(|pairs| pairs.join("&"));
    let ranges = prop::sample::select(
        &[
            "",
            "time_of_generation_min=1970-01-01T00:00:00Z&time_of_generation_max=9999-12-31T23:59:59Z&",
            "time_of_generation_min=2026-01-01T00:00:00.001Z&time_of_generation_max=2026-01-03T05:06:07Z&",
        ][..],
    );
    let path = prop_oneof![
        Just("graphs/feedbacks".to_owned()),
        Just("graphs/feedbacks/weighted".to_owned()),
        "groups/metadata/[^/?]{1,20}",
    ];
    proptest!(cases(256), |(path in path, range in ranges, query in query)| {
        check(&runtime, &site, &Method::GET, &format!("/v1/analytics/{path}?{range}{query}"), b"")?;
    });
}

#[test]
fn random_ids_get_a_response() {
    let (runtime, site) = random_site();
    let id = prop_oneof![
        "[^/?]{1,40}",
        "[%0-9a-fA-F-]{1,40}",
        "[0-9a-f]{32}",
        "[0-9a-fA-F]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    ];
    let methods = prop::sample::select(vec![Method::GET, Method::PUT, Method::DELETE]);
    proptest!(cases(256), |(
        id in id,
        method in methods,
        base in prop::sample::select(&[PORTKEY, TRUEFOUNDRY][..]),
    )| {
        check(&runtime, &site, &method, &format!("{base}/{id}"), br#"{"value":1,"rating":1}"#)?;
    });
}
