//! Hostile input: what is not acceptable is a 4xx of the route's dialect that says what to change,
//! and nothing is written; what is odd and fits is kept, and comes back as it came.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::Method;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::harness::{Answer, Api, event_json};

const PORTKEY: &str = "/v1/feedback";
const TRUEFOUNDRY: &str = "/api/svc/v1/gateway-feedback";

/// An id of 2025: of no record, and too old to be waited for.
const MISSING: &str = "019ab2a9-8fc6-7804-83ea-e496e2dd611d";

/// One record of a deployment, and every route that writes.
struct Site {
    api: Api,
    id: String,
}

impl Site {
    async fn new() -> Self {
        let api = Api::new().await;
        let target = json!({"traceId": "t", "spanId": "s"});
        let answer = api
            .post(TRUEFOUNDRY, json!({"target": target, "rating": 3}))
            .await;
        let id = answer.ok().id();
        Self { api, id }
    }

    fn portkey(&self) -> String {
        format!("{PORTKEY}/{}", self.id)
    }

    fn truefoundry(&self) -> String {
        format!("{TRUEFOUNDRY}/{}", self.id)
    }

    /// The routes that read a body.
    fn writes(&self) -> [(Method, String); 5] {
        [
            (Method::POST, PORTKEY.to_owned()),
            (Method::PUT, self.portkey()),
            (Method::POST, TRUEFOUNDRY.to_owned()),
            (Method::PUT, self.truefoundry()),
            (Method::DELETE, self.truefoundry()),
        ]
    }

    /// Sends bytes as API Gateway does: as text if they are, else in base64.
    async fn send(&self, method: &Method, path: &str, body: &[u8]) -> Answer {
        match std::str::from_utf8(body) {
            Ok(text) => self.api.call(method.clone(), path, &[], text).await,
            Err(_) => self.send_base64(method, path, &STANDARD.encode(body)).await,
        }
    }

    async fn send_base64(&self, method: &Method, path: &str, body: &str) -> Answer {
        let headers = [("x-portkey-api-key", self.api.key.as_str())];
        let event = event_json(method, path, "", &headers, body, true);
        self.api.event(&event).await
    }

    fn stored(&self) -> [Vec<Value>; 2] {
        ["feedback", "idempotency"].map(|table| self.api.database.items(table))
    }

    /// Sends what must be refused, saying this, and must have written nothing.
    async fn refuses(&self, method: &Method, path: &str, body: &[u8], status: u16, says: &str) {
        let before = self.stored();
        let answer = self.send(method, path, body).await;
        let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        assert_eq!(answer.status, status, "{method} {path} {start}: {}", answer.text);
        assert_refusal(&answer, path);
        answer.refused(status, says);
        assert_eq!(self.stored(), before, "{method} {path} {start}");
    }
}

/// Checks that an answer is a 4xx in the shape of the path's dialect.
#[track_caller]
fn assert_refusal(answer: &Answer, path: &str) {
    assert!((400..500).contains(&answer.status), "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let json = answer.json();
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    assert!(!text("/message").is_empty(), "{json}");
    if path.starts_with("/v1/") {
        assert_eq!(
            (&json["status"], &json["success"]),
            (&json!("failure"), &json!(false))
        );
        assert!(text("/error/code").starts_with("AB"), "{json}");
        assert_eq!(text("/error/code"), text("/data/errorCode"));
        assert_eq!(text("/error/message"), text("/message"));
        assert_eq!(text("/data/message"), text("/message"));
    } else {
        assert_eq!(json["statusCode"], answer.status);
        assert!(!text("/code").is_empty(), "{json}");
        assert!(json["details"].is_array(), "{json}");
    }
    // Twice the largest answer that a fault of every element of a bulk makes.
    assert!(answer.text.len() < 256 * 1024, "{} bytes", answer.text.len());
}

#[tokio::test]
async fn a_body_over_its_limit_is_413_before_it_is_parsed() {
    let site = Site::new().await;
    let limit = 1024 * 1024;
    let says = "body must be at most 1048576 bytes, got 1048577";
    let garbage = "[".repeat(limit + 1);
    let mut binary = vec![b' '; limit + 1];
    binary[7] = 0xff;
    let portkey_delete = (Method::DELETE, site.portkey());
    for (method, path) in site.writes().into_iter().chain([portkey_delete]) {
        for body in [garbage.as_bytes(), &binary] {
            site.refuses(&method, &path, body, 413, says).await;
        }
    }
    // One byte less is looked at.
    let at_limit = "[".repeat(limit);
    site.refuses(&Method::POST, PORTKEY, at_limit.as_bytes(), 400, "nested deeper")
        .await;
    let start = r#"{"trace_id":"t","value":1,"ignored":""#;
    let padded = format!("{start}{}\"}}", "x".repeat(limit - start.len() - 2));
    assert_eq!(padded.len(), limit);
    site.send(&Method::POST, PORTKEY, padded.as_bytes()).await.ok();
    // In base64 it is the bytes that count, not their encoding.
    site.send_base64(&Method::POST, PORTKEY, &STANDARD.encode(&padded))
        .await
        .ok();
}

#[tokio::test]
async fn a_field_over_its_limit_is_named_with_the_limit() {
    let site = Site::new().await;
    let metadata = json!({"x": "y".repeat(65_536 - 7)});
    let says_metadata = "metadata must be at most 65536 bytes of JSON, got 65537";
    let comment = "c".repeat(16_385);
    let target = json!({"traceId": "t", "spanId": "s"});
    let (portkey, truefoundry) = (site.portkey(), site.truefoundry());
    for (method, path, body, status, says) in [
        (
            Method::POST,
            PORTKEY,
            json!({"trace_id": "t", "value": 1, "metadata": metadata}),
            413,
            says_metadata,
        ),
        (
            Method::POST,
            PORTKEY,
            json!({"trace_id": "t", "value": 1, "metadata": metadata.to_string()}),
            413,
            says_metadata,
        ),
        (
            Method::POST,
            PORTKEY,
            json!([{"trace_id": "t", "value": 1}, {"trace_id": "t", "value": 1, "metadata": metadata}]),
            413,
            "feedback[1].metadata must be at most 65536 bytes",
        ),
        (
            Method::PUT,
            &portkey,
            json!({"value": 1, "metadata": metadata}),
            413,
            says_metadata,
        ),
        (
            Method::POST,
            TRUEFOUNDRY,
            json!({"target": target, "rating": 1, "metadata": metadata, "comment": comment}),
            413,
            "comment must be at most 16384 bytes, got 16385; metadata must be at most 65536 bytes",
        ),
        (
            Method::PUT,
            &truefoundry,
            json!({"metadata": metadata}),
            413,
            says_metadata,
        ),
        (
            Method::PUT,
            &truefoundry,
            json!({"comment": comment}),
            413,
            "comment must be at most 16384 bytes, got 16385",
        ),
        (
            Method::DELETE,
            &truefoundry,
            json!({"metadata": metadata}),
            413,
            says_metadata,
        ),
        // Identity has a form rather than a size: 400.
        (
            Method::POST,
            PORTKEY,
            json!({"trace_id": "é".repeat(257), "value": 1}),
            400,
            "trace_id must be a string of 1 to 512 bytes, got a string of 514 bytes",
        ),
        (
            Method::POST,
            TRUEFOUNDRY,
            json!({"target": {"traceId": "t", "spanId": "x".repeat(900_000)}, "rating": 1}),
            400,
            "target.spanId must be a string of 1 to 128 bytes, got a string of 900000 bytes",
        ),
        (
            Method::POST,
            TRUEFOUNDRY,
            json!({"target": {"traceId": "t", "spanId": "s", "tracingProjectFQN": "x".repeat(513)}, "rating": 1}),
            400,
            "target.tracingProjectFQN must be a string of 1 to 512 bytes",
        ),
    ] {
        site.refuses(&method, path, body.to_string().as_bytes(), status, says)
            .await;
    }
}

#[tokio::test]
async fn nesting_beyond_what_readers_take_is_refused() {
    let site = Site::new().await;
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    for (method, path) in site.writes() {
        for body in [
            nested(100_000),
            "[".repeat(500_000),
            r#"{"a":"#.repeat(150_000),
            format!(r#"{{"ignored":{}}}"#, nested(128)),
            format!(r#"{{"metadata":{}}}"#, objects(128)),
        ] {
            site.refuses(
                &method,
                &path,
                body.as_bytes(),
                400,
                "body must not be nested deeper than 128 levels",
            )
            .await;
        }
    }
    let quoted = json!({"trace_id": "t", "value": 1, "metadata": objects(129)}).to_string();
    site.refuses(&Method::POST, PORTKEY, quoted.as_bytes(), 400, "metadata must")
        .await;
}

/// A parser that keeps a limit of its own on nesting is what most callers have; serde_json's is
/// 127 levels, and in a list a record's metadata is the fourth.
#[tokio::test]
async fn the_deepest_metadata_that_is_accepted_can_be_read_back_by_an_ordinary_parser() {
    let site = Site::new().await;
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let mut accepted = 0;
    for depth in 90..=128 {
        let metadata = objects(depth);
        let plain = format!(r#"{{"trace_id":"deep","value":1,"metadata":{metadata}}}"#);
        let quoted = json!({"trace_id": "deep", "value": 1, "metadata": metadata}).to_string();
        for body in [plain, quoted] {
            let answer = site.send(&Method::POST, PORTKEY, body.as_bytes()).await;
            if answer.status == 200 {
                accepted += 1;
            } else {
                assert_refusal(&answer, PORTKEY);
                answer.refused(400, "nested deeper than");
            }
        }
    }
    assert!(accepted > 0);
    for list in [
        format!("{PORTKEY}?trace_id=deep&limit=100"),
        format!("{TRUEFOUNDRY}?traceId=deep&limit=100"),
    ] {
        assert_eq!(site.api.get(&list).await.ok().ids().len(), accepted);
    }
}

#[tokio::test]
async fn a_number_is_within_its_range_or_refused_however_it_is_spelt() {
    let site = Site::new().await;
    let nines = "9".repeat(400);
    let fraction = format!("0.{nines}");
    let small = format!("0.{}1", "0".repeat(400));
    for (value, weight, stored) in [
        ("-0", "-0", (0, 0.0)),
        ("0e999", "0E-999", (0, 0.0)),
        ("-0.0", fraction.as_str(), (0, 1.0)),
        ("1e1", "1e-5", (10, 1e-5)),
        ("100e-1", "5e-324", (10, 5e-324)),
        ("\"-1E+1\"", "\"1.0\"", (-10, 1.0)),
        (
            "1.0000000000000000000000000000000000001",
            small.as_str(),
            (1, 0.0),
        ),
    ] {
        let body = format!(r#"{{"trace_id":"t","value":{value},"weight":{weight}}}"#);
        let id = site.send(&Method::POST, PORTKEY, body.as_bytes()).await.ok().id();
        let record = site.api.get(&format!("{PORTKEY}/{id}")).await.ok().json();
        assert_eq!(
            (&record["value"], &record["weight"]),
            (&json!(stored.0), &json!(stored.1)),
            "{body}"
        );
    }
    let (whole, quoted) = (nines.as_str(), format!("\"{nines}\""));
    for (number, got) in [
        ("1e400", "got 1e400"),
        ("-1e400", "got -1e400"),
        ("1e99999999999999999999", "got 1e99999999999999999999"),
        ("9223372036854775808", "got 9223372036854775808"),
        ("-11", "got -11"),
        (whole, "got a number of 400 characters"),
        (&quoted, "got a string of 400 bytes"),
        ("\"NaN\"", r#"got the string "NaN""#),
        ("\"Infinity\"", r#"got the string "Infinity""#),
        ("\"-inf\"", "got the string"),
        ("\"0x5\"", "got the string"),
        ("\" 5\"", "got the string"),
        ("\"5\\u0000\"", "got the string"),
        ("\"٥\"", "got the string"),
    ] {
        let body = format!(r#"{{"trace_id":"t","value":{number},"weight":{number}}}"#);
        for says in [
            "value must be an integer from -10 to 10",
            "weight must be a number from 0 to 1",
            got,
        ] {
            site.refuses(&Method::POST, PORTKEY, body.as_bytes(), 400, says)
                .await;
        }
        let body = format!(r#"{{"rating":{number}}}"#);
        let says = format!("rating must be an integer from 1 to 5, {got}");
        site.refuses(&Method::PUT, &site.truefoundry(), body.as_bytes(), 400, &says)
            .await;
    }
    for number in [
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "01",
        "1.",
        ".5",
        "0x5",
        "1_0",
        "--1",
        "1e",
        "٥",
    ] {
        for (method, path) in site.writes() {
            let body = format!(r#"{{"trace_id":"t","value":{number},"rating":{number}}}"#);
            site.refuses(&method, &path, body.as_bytes(), 400, "body must be JSON: ")
                .await;
        }
    }
}

#[tokio::test]
async fn a_member_name_that_occurs_twice_is_refused_wherever_it_would_be_kept() {
    let site = Site::new().await;
    let twice = "must not hold a member name twice in one object";
    for (body, field) in [
        (r#"{"trace_id":"t","value":1,"value":1}"#, "body"),
        (r#"{"trace_id":"t","value":1,"\u0076alue":2}"#, "body"),
        (r#"{"trace_id":"t","value":1,"x":1,"x":1}"#, "body"),
        (
            r#"{"0":{"trace_id":"t","value":1},"0":{"trace_id":"t","value":2}}"#,
            "body",
        ),
        (r#"[{"trace_id":"t","value":1,"value":1}]"#, "feedback[0]"),
        (
            r#"{"trace_id":"t","value":1,"metadata":{"a":1,"a":1}}"#,
            "metadata",
        ),
        (
            r#"{"trace_id":"t","value":1,"metadata":{"x":[{"a":1,"a":1}]}}"#,
            "metadata",
        ),
        (
            r#"{"trace_id":"t","value":1,"metadata":"{\"a\":1,\"a\":1}"}"#,
            "metadata",
        ),
        (
            r#"{"trace_id":"t","value":1,"metadata":{"_user":"a","_user":"b"}}"#,
            "metadata",
        ),
    ] {
        let says = format!("{field} {twice}");
        site.refuses(&Method::POST, PORTKEY, body.as_bytes(), 400, &says)
            .await;
    }
    for (method, path) in &site.writes()[2..] {
        let body = r#"{"target":{"traceId":"t","spanId":"s","spanId":"s"},"rating":1}"#;
        site.refuses(method, path, body.as_bytes(), 400, &format!("target {twice}"))
            .await;
        let inner = STANDARD.encode(r#"{"traceId":"t","spanId":"s","spanId":"x"}"#);
        let body = json!({"target": {"feedbackTargetId": inner}, "rating": 1}).to_string();
        site.refuses(method, path, body.as_bytes(), 400, "target.feedbackTargetId must")
            .await;
    }
}

#[tokio::test]
async fn a_lone_surrogate_is_no_text() {
    let site = Site::new().await;
    let lone = r"\ud800";
    for (body, field) in [
        (
            format!(r#"{{"trace_id":"{lone}","value":1}}"#),
            "trace_id must not hold a lone surrogate",
        ),
        (
            r#"{"traceID":"x\udfff","value":1}"#.to_owned(),
            "traceID must not hold a lone surrogate",
        ),
        (format!(r#"{{"trace_id":"t","value":"{lone}"}}"#), "value must"),
        (
            format!(r#"{{"trace_id":"t","value":1,"metadata":{{"a":["{lone}\ud800"]}}}}"#),
            "metadata must not",
        ),
        (
            format!(r#"{{"trace_id":"t","value":1,"metadata":{{"{lone}":1}}}}"#),
            "metadata must not",
        ),
        (
            format!(r#"{{"trace_id":"t","value":1,"metadata":{{"_user":"{lone}"}}}}"#),
            "metadata must not",
        ),
        (
            format!(r#"{{"trace_id":"t","value":1,"metadata":"{{\"a\":\"\{lone}\"}}"}}"#),
            "metadata must not",
        ),
        (
            format!(r#"{{"trace_id":"t","value":1,"metadata":"{lone}"}}"#),
            "metadata must",
        ),
        (
            format!(r#"{{"trace_id":"t","value":1,"{lone}":1}}"#),
            "body must be a JSON object with sound",
        ),
    ] {
        site.refuses(&Method::POST, PORTKEY, body.as_bytes(), 400, field)
            .await;
    }
    let target = format!(r#"{{"target":{{"traceId":"t","spanId":"{lone}"}},"rating":1}}"#);
    let encoded = STANDARD.encode(format!(r#"{{"traceId":"t","spanId":"{lone}"}}"#));
    let encoded = json!({"target": {"feedbackTargetId": encoded}, "rating": 1}).to_string();
    for (method, path) in &site.writes()[2..] {
        site.refuses(
            method,
            path,
            target.as_bytes(),
            400,
            "target.spanId must not hold a lone surrogate",
        )
        .await;
        site.refuses(
            method,
            path,
            encoded.as_bytes(),
            400,
            "target.feedbackTargetId must hold the string spanId",
        )
        .await;
    }
    let comment = format!(r#"{{"comment":"{lone}"}}"#);
    let says = "comment must not hold a lone surrogate";
    site.refuses(&Method::PUT, &site.truefoundry(), comment.as_bytes(), 400, says)
        .await;
    // A pair of them is a character.
    let pair = r#"{"trace_id":"\ud83d\ude00","value":1,"metadata":{"\ud83d\ude00":"\ud83d\ude00"}}"#;
    let id = site.send(&Method::POST, PORTKEY, pair.as_bytes()).await.ok().id();
    assert_eq!(
        site.api.get(&format!("{PORTKEY}/{id}")).await.ok().json()["trace_id"],
        "😀"
    );
}

#[tokio::test]
async fn control_characters_come_back_from_every_string_and_are_refused_unescaped() {
    let site = Site::new().await;
    let odd: String = (0..=0x1f_u8)
        .map(char::from)
        .chain("\u{7f}\u{85}\u{2028}\u{feff}\u{fffe}\u{10ffff}\"\\/".chars())
        .collect();
    let metadata = json!({"_user": odd, "_organisation": odd, "_prompt": odd, "_environment": odd, (odd.as_str()): {(odd.as_str()): [odd]}});
    let target = json!({"traceId": odd, "spanId": odd, "tracingProjectFQN": odd});
    let created = site
        .api
        .post(
            TRUEFOUNDRY,
            json!({"target": target, "rating": 1, "comment": odd, "metadata": metadata}),
        )
        .await
        .ok()
        .id();
    let path = format!("{TRUEFOUNDRY}/{created}");
    let record = site.api.get(&path).await.ok().json()["data"].clone();
    for (field, value) in [
        ("traceId", &json!(odd)),
        ("spanId", &json!(odd)),
        ("tracingProjectFQN", &json!(odd)),
        ("comment", &json!(odd)),
        ("metadata", &metadata),
    ] {
        assert_eq!(&record[field], value, "{field}");
    }
    // It is found by all of them, and by the target id that came back.
    let escaped = percent(odd.as_bytes());
    for query in [
        format!("trace_id={escaped}&span_id={escaped}"),
        format!("trace_id={escaped}"),
        format!("user={escaped}"),
        format!("organisation={escaped}"),
        format!("prompt={escaped}"),
        format!("environment={escaped}"),
    ] {
        let found = site.api.get(&format!("{PORTKEY}?{query}")).await.ok().ids();
        assert_eq!(found.len(), 1, "{query}");
        assert_eq!(found[0].replace('-', ""), created);
    }
    let target = json!({"feedbackTargetId": record["feedbackTargetId"]});
    site.api
        .put(&path, json!({"target": target, "comment": null}))
        .await
        .ok();

    for code in 0..=0x1f_u8 {
        let raw = char::from(code);
        for (method, path) in site.writes() {
            let body = format!("{{\"trace_id\":\"{raw}\",\"comment\":\"{raw}\"}}");
            let says = "body must be JSON: control character";
            site.refuses(&method, &path, body.as_bytes(), 400, says).await;
        }
    }
}

/// Every byte percent-encoded.
fn percent(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_body_is_utf_8_without_a_byte_order_mark() {
    let site = Site::new().await;
    for (method, path) in site.writes() {
        for (body, says) in [
            (
                &b"\xff"[..],
                "body must be UTF-8, got a byte that is not at offset 0",
            ),
            (
                b"{\"comment\":\"\xc3\x28\"}",
                "got a byte that is not at offset 12",
            ),
            (b"{\"comment\":\"\xed\xa0\x80\"}", "at offset 12"),
            (b"{\"comment\":\"\xf4\x90\x80\x80\"}", "at offset 12"),
            (b"{\"comment\":\"\xc0\xaf\"}", "at offset 12"),
            // UTF-16, with and without its mark.
            (b"\xff\xfe{\0}\0", "at offset 0"),
            (b"{\0}\0", "body must be JSON"),
            (
                b"\xef\xbb\xbf{\"rating\":1}",
                "body must be JSON without a byte order mark",
            ),
        ] {
            site.refuses(&method, &path, body, 400, says).await;
        }
    }
    let inner = json!({"trace_id": "t", "value": 1, "metadata": "\u{feff}{}"}).to_string();
    site.refuses(
        &Method::POST,
        PORTKEY,
        inner.as_bytes(),
        400,
        "metadata must be a JSON object",
    )
    .await;
}

#[tokio::test]
async fn what_is_no_object_is_no_body() {
    let site = Site::new().await;
    for (body, portkey, truefoundry) in [
        ("null", "got null", "body must be a JSON object, got null"),
        ("true", "got true", "got true"),
        ("0", "got 0", "got 0"),
        ("\"{}\"", "got a string of 2 bytes", "got a string of 2 bytes"),
        ("[]", "1 to 100 feedback objects, got 0", "got an array"),
        (
            "[[]]",
            "feedback[0] must be a JSON object, got an array",
            "got an array",
        ),
        ("{} {}", "trailing characters", "trailing characters"),
        ("{}\u{0}", "trailing characters", "trailing characters"),
        ("{\"a\":1,}", "key must be a string", "key must be a string"),
        ("{'a':1}", "key must be a string", "key must be a string"),
        ("{/**/}", "key must be a string", "key must be a string"),
        ("value=1&trace_id=t", "must be JSON", "must be JSON"),
        ("<feedback/>", "must be JSON", "must be JSON"),
    ] {
        site.refuses(&Method::POST, PORTKEY, body.as_bytes(), 400, portkey)
            .await;
        for (method, path) in &site.writes()[2..] {
            site.refuses(method, path, body.as_bytes(), 400, truefoundry)
                .await;
        }
    }
    for (method, path) in &site.writes()[..4] {
        for body in ["", " ", "\n\t"] {
            site.refuses(
                method,
                path,
                body.as_bytes(),
                400,
                "body must be JSON, got nothing",
            )
            .await;
        }
    }
}

#[tokio::test]
async fn a_body_may_come_in_base64_and_under_any_content_type() {
    let site = Site::new().await;
    let body = r#"{"trace_id":"ü","value":1}"#;
    for (method, path) in site.writes() {
        let body = match method {
            Method::DELETE => "{}",
            _ => r#"{"trace_id":"ü","value":1,"target":{"traceId":"t","spanId":"s"},"rating":1}"#,
        };
        site.send_base64(&method, &path, &STANDARD.encode(body))
            .await
            .ok();
    }
    // What is flagged as base64 and is none is read as it is: it says what is wrong with it.
    for body in ["%%%", "e30", "e30=e30="] {
        let answer = site.send_base64(&Method::POST, PORTKEY, body).await;
        assert_refusal(&answer, PORTKEY);
        answer.refused(400, "body must be JSON");
    }
    for content_type in [
        "",
        "text/plain",
        "application/json; charset=latin1",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "a;;;b\"",
        "ü",
    ] {
        let headers = [("content-type", content_type)];
        site.api.call(Method::POST, PORTKEY, &headers, body).await.ok();
    }
    let headers = [("x-portkey-api-key", site.api.key.as_str())];
    let mut event = event_json(&Method::POST, PORTKEY, "", &headers, body, false);
    event["headers"].as_object_mut().unwrap().remove("content-type");
    site.api.event(&event).await.ok();
}

#[tokio::test]
async fn garbage_in_headers_is_told_or_let_be() {
    let site = Site::new().await;
    let (path, body) = (site.portkey(), r#"{"value":1}"#);
    let before = site.stored();
    for (name, value, status, says) in [
        (
            "if-match",
            "",
            400,
            "If-Match must be one version in double quotes",
        ),
        ("if-match", "1", 400, "If-Match must be"),
        ("if-match", "W/\"1\"", 412, "not at the version"),
        ("if-match", "\"", 400, "If-Match must be"),
        ("if-match", "\"1\", \"2\"", 400, "If-Match must be one version"),
        ("if-match", "\"\"", 412, "not at the version"),
        ("if-match", "\"-1\"", 412, "not at the version"),
        ("if-match", "\"18446744073709551615\"", 412, "not at the version"),
        ("if-match", "\"18446744073709551616\"", 412, "not at the version"),
        ("if-match", "\"ü\"", 412, "not at the version"),
        (
            "idempotency-key",
            "",
            400,
            "Idempotency-Key must be 1 to 255 bytes, got 0",
        ),
        ("idempotency-key", &"é".repeat(128), 400, "got 256"),
    ] {
        let answer = site.api.call(Method::PUT, &path, &[(name, value)], body).await;
        assert_refusal(&answer, &path);
        answer.refused(status, says);
        assert_eq!(site.stored(), before, "{name}: {value}");
    }
    for key in ["\t", "#", "a#b%23", "é", "\u{10ffff}", "null", "\"quoted\"", "{}"] {
        let headers = [("idempotency-key", key)];
        let first = site
            .api
            .call(Method::POST, PORTKEY, &headers, r#"{"trace_id":"t","value":1}"#)
            .await
            .ok();
        let again = site
            .api
            .call(Method::POST, PORTKEY, &headers, r#"{"trace_id":"t","value":1}"#)
            .await
            .ok();
        assert_eq!(first, again, "{key:?}");
    }
    let many: Vec<(String, String)> = (0..200)
        .map(|n| (format!("x-{n}"), "ü,;=\"\t".repeat(8)))
        .collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    site.api.call(Method::PUT, &path, &many, body).await.ok();
    for (name, value) in [
        ("host", "exa mple:99999999"),
        ("x-forwarded-proto", "ht tp"),
        ("x-forwarded-for", "\"><script>"),
        ("accept", "image/png"),
        ("accept-encoding", "*;q=0"),
        ("content-length", "-1"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
        ("cookie", "=;;="),
    ] {
        site.api
            .call(Method::PUT, &path, &[(name, value)], body)
            .await
            .ok();
    }
    for key in [
        "\t",
        "hsk_",
        "é",
        "null",
        &"hsk_".repeat(2_000),
        "hsk_0000000000000000_",
    ] {
        for headers in [
            [("x-portkey-api-key", key)],
            [("authorization", &*format!("Bearer {key}"))],
        ] {
            let answer = site.api.raw(Method::PUT, &path, &headers, body).await;
            assert_refusal(&answer, &path);
            answer.refused(401, "a valid API key is required");
        }
    }
}

#[tokio::test]
async fn garbage_in_a_query_is_told() {
    let site = Site::new().await;
    let span = STANDARD.encode(r#"{"traceId":"t","spanId":"s"}"#);
    for (path, query, says) in [
        (PORTKEY, "trace_id=%", None),
        (PORTKEY, "trace_id=%zz&user=%F", None),
        (PORTKEY, "trace_id=%ff%fe", None),
        (PORTKEY, "trace_id=%00", None),
        (
            PORTKEY,
            "trace_id=a&amp;user=b",
            Some("it does not know amp;user"),
        ),
        (PORTKEY, "=", Some("it does not know")),
        (PORTKEY, "&&&", None),
        (PORTKEY, "?", Some("it does not know ?")),
        (
            PORTKEY,
            "trace_id",
            Some("trace_id must be 1 to 512 bytes, got nothing"),
        ),
        (PORTKEY, "Trace_ID=t", Some("it does not know Trace_ID")),
        (
            PORTKEY,
            "limit=1e1",
            Some("limit must be an integer from 1 to 100"),
        ),
        (PORTKEY, "limit=-0", Some("limit must be")),
        (PORTKEY, "limit=99999999999999999999", Some("limit must be")),
        (PORTKEY, "limit=%2B5", None),
        (PORTKEY, "limit=1&limit=1", Some("limit must be given once")),
        (PORTKEY, "from=0000-01-01T00:00:00Z&to=9999-12-31T23:59:59Z", None),
        (
            PORTKEY,
            "from=2026-02-30T00:00:00Z",
            Some("from must be a date and time of RFC 3339"),
        ),
        (PORTKEY, "from=99999-01-01T00:00:00Z", Some("from must be")),
        (PORTKEY, "to=2026-01-01T00:00:00%2B99:99", Some("to must be")),
        (
            PORTKEY,
            "cursor=AQAAAAAAAAAAAAAAAAAAAAAAAAAA",
            Some("cursor must be a cursor"),
        ),
        (PORTKEY, "cursor=%F0%9F%98%80", Some("cursor must be a cursor")),
        (
            TRUEFOUNDRY,
            "traceId=t&pageToken=.",
            Some("pageToken must be a cursor"),
        ),
        (
            TRUEFOUNDRY,
            "feedbackTargetId=e30%3D",
            Some("feedbackTargetId must hold the string traceId"),
        ),
        (
            TRUEFOUNDRY,
            "feedbackTargetId=",
            Some("feedbackTargetId must be base64"),
        ),
        (TRUEFOUNDRY, "spanId=s", Some("traceId is required")),
        (
            TRUEFOUNDRY,
            &format!("feedbackTargetId={span}&traceId=u"),
            Some("feedbackTargetId must name the same span"),
        ),
    ] {
        let answer = site.api.get(&format!("{path}?{query}")).await;
        match says {
            None => assert_eq!(answer.status, 200, "{query} {}", answer.text),
            Some(says) => {
                assert_refusal(&answer, path);
                answer.refused(400, says);
            }
        }
    }
}

/// API Gateway takes a request line of 10 KiB. What is said of it must not be a hundred times that.
#[tokio::test]
async fn a_query_of_thousands_of_parameters_has_a_short_answer() {
    let site = Site::new().await;
    let distinct: String = (0..2_000).map(|n| format!("&{n:x}")).collect();
    for query in [
        "&a".repeat(5_000),
        "&limit".repeat(1_600),
        "&trace_id=t".repeat(900),
        distinct,
    ] {
        for path in [PORTKEY, TRUEFOUNDRY] {
            let answer = site.api.get(&format!("{path}?{}", &query[1..])).await;
            assert_refusal(&answer, path);
            assert!(answer.text.len() < 16 * 1024, "{} bytes", answer.text.len());
        }
    }
}

#[tokio::test]
async fn an_id_may_be_percent_encoded_and_what_is_no_id_is_told() {
    let site = Site::new().await;
    let encoded = percent(site.id.as_bytes());
    let headers = [("x-portkey-api-key", site.api.key.as_str())];
    for id in [&encoded, &encoded.to_lowercase()] {
        for path in [format!("{PORTKEY}/{id}"), format!("{TRUEFOUNDRY}/{id}")] {
            // As cargo-lambda hands it over, then as API Gateway does: decoded.
            site.api.get(&path).await.ok();
            let mut event = event_json(&Method::GET, &path, "", &headers, "", false);
            event["pathParameters"] = json!({"id": site.id});
            site.api.event(&event).await.ok();
        }
    }
    let overlong = "a".repeat(9_000);
    for id in [
        "%",
        "%2",
        "%zz",
        "%00",
        "%ff%fe",
        "%2e%2e",
        "..",
        "%2F",
        "..%2f..%2fetc%2fpasswd",
        "null",
        "undefined",
        "0",
        "-1",
        "{id}",
        "%7Bid%7D",
        "*",
        "'%20OR%20'1'='1",
        "019ab2a9-8fc6-7804-83ea-e496e2dd611",
        "019ab2a9-8fc6-7804-83ea-e496e2dd611d0",
        "019ab2a9-8fc6-7804-83ea-e496e2dd611d%00",
        "%20019ab2a9-8fc6-7804-83ea-e496e2dd611d",
        "{019ab2a98fc6780483eae496e2dd611d}",
        "019ab2a98fc6-780483eae496e2dd611d",
        "０１９ab2a98fc6780483eae496e2dd",
        "😀",
        &overlong,
    ] {
        for (base, put) in [(PORTKEY, r#"{"value":1}"#), (TRUEFOUNDRY, r#"{"rating":1}"#)] {
            let path = format!("{base}/{id}");
            for (method, body) in [(Method::GET, ""), (Method::PUT, put), (Method::DELETE, "")] {
                site.refuses(
                    &method,
                    &path,
                    body.as_bytes(),
                    400,
                    "id must be a UUID, hyphenated or as 32 hex digits",
                )
                .await;
            }
        }
    }
    // The lowest and the highest: ids that no record has, one of them of the year 10889.
    for id in [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ] {
        for base in [PORTKEY, TRUEFOUNDRY] {
            let path = format!("{base}/{id}");
            site.refuses(&Method::GET, &path, b"", 404, "no such feedback")
                .await;
            site.refuses(
                &Method::PUT,
                &path,
                br#"{"value":1,"rating":1}"#,
                404,
                "no such feedback",
            )
            .await;
            site.refuses(&Method::DELETE, &path, b"", 404, "no such feedback")
                .await;
        }
    }
}

#[tokio::test]
async fn a_path_without_its_parameter_does_not_become_another_route() {
    let site = Site::new().await;
    let headers = [("x-portkey-api-key", site.api.key.as_str())];
    for (method, path, body) in [
        (Method::GET, site.portkey(), ""),
        (Method::PUT, site.portkey(), r#"{"value":1}"#),
        (Method::DELETE, site.portkey(), ""),
        (Method::GET, site.truefoundry(), ""),
        (Method::PUT, site.truefoundry(), r#"{"rating":1}"#),
        (Method::DELETE, site.truefoundry(), ""),
    ] {
        for parameters in [Value::Null, json!({}), json!({"id": ""})] {
            let before = site.stored();
            let mut event = event_json(&method, &path, "", &headers, body, false);
            event["pathParameters"] = parameters;
            let answer = site.api.event(&event).await;
            assert_refusal(&answer, &path);
            answer.refused(400, "id must be a UUID");
            assert_eq!(site.stored(), before);
        }
    }
}

#[tokio::test]
async fn metadata_may_have_thousands_of_keys() {
    let site = Site::new().await;
    let of = |count: usize| {
        let members: Vec<String> = (0..count).map(|n| format!("\"{n:x}\":{}", n % 10)).collect();
        format!("{{{}}}", members.join(","))
    };
    let fits = of(7_000);
    assert!(fits.len() <= 65_536, "{}", fits.len());
    let body = format!(r#"{{"trace_id":"t","value":1,"metadata":{fits}}}"#);
    let id = site.send(&Method::POST, PORTKEY, body.as_bytes()).await.ok().id();
    let text = site.api.get(&format!("{PORTKEY}/{id}")).await.ok().text;
    assert!(text.contains(&format!("\"metadata\":{fits},")));
    // Ten thousand different keys cannot be written in 64 KiB.
    let body = format!(r#"{{"trace_id":"t","value":1,"metadata":{}}}"#, of(10_000));
    site.refuses(
        &Method::POST,
        PORTKEY,
        body.as_bytes(),
        413,
        "metadata must be at most 65536 bytes",
    )
    .await;
    // Nor does it take long to look through as many as a body can hold.
    let ignored: String = (0..80_000).map(|n| format!(",\"x{n:x}\":0")).collect();
    site.send(
        &Method::POST,
        PORTKEY,
        format!(r#"{{"trace_id":"t","value":1{ignored}}}"#).as_bytes(),
    )
    .await
    .ok();
    let faulty: Vec<Value> = vec![json!({"trace_id": {}, "value": [], "weight": {}, "metadata": 7}); 100];
    site.refuses(
        &Method::POST,
        PORTKEY,
        json!(faulty).to_string().as_bytes(),
        400,
        "feedback[99].metadata",
    )
    .await;
}

#[tokio::test]
async fn a_target_id_holds_two_names_and_no_bomb() {
    let site = Site::new().await;
    let (opening, closing) = ("[".repeat(2_000), "]".repeat(2_000));
    let many: String = (0..500).map(|n| format!(",\"{n}\":0")).collect();
    let seed = STANDARD.encode(r#"{"traceId":"t","spanId":"s"}"#);
    let of = |json: &str| STANDARD.encode(json);
    for (text, says) in [
        ("A".repeat(900_000), "must be at most 8192 bytes, got 900000"),
        (
            of(&format!(
                r#"{{"traceId":"t","spanId":"s","x":{opening}{closing}}}"#
            )),
            "must be base64 of a JSON object",
        ),
        (of(&seed), "it does not hold a JSON object"),
        (
            of("\u{feff}{\"traceId\":\"t\",\"spanId\":\"s\"}"),
            "it does not hold a JSON object",
        ),
        (
            of(r#"{"traceId":"t","spanId":"s"} {}"#),
            "it does not hold a JSON object",
        ),
        (
            STANDARD.encode(b"{\"traceId\":\"\xff\",\"spanId\":\"s\"}"),
            "it does not hold a JSON object",
        ),
        (
            of(r#"{"traceId":["t"],"spanId":"s"}"#),
            "must hold the string traceId",
        ),
        (
            of(r#"{"traceId":1e400,"spanId":"s"}"#),
            "must hold the string traceId",
        ),
        (
            of(r#"{"traceId":"t","spanId":null}"#),
            "must hold the string spanId",
        ),
        (
            of(&json!({"traceId": "t", "spanId": "s".repeat(129)}).to_string()),
            "must hold as spanId a string of 1 to 128 bytes",
        ),
        (format!("{}!", &seed[..20]), "it is not base64"),
        (format!("{seed}\n"), "it is not base64"),
        ("=".to_owned(), "it is not base64"),
        (String::new(), "it does not hold a JSON object"),
    ] {
        let body = json!({"target": {"feedbackTargetId": text}, "rating": 1}).to_string();
        let says = format!(
            "target.feedbackTargetId must {}",
            says.trim_start_matches("must ")
        );
        let says = if says.contains("it ") {
            says.split("it ").last().unwrap().to_owned()
        } else {
            says
        };
        for (method, path) in &site.writes()[2..] {
            site.refuses(method, path, body.as_bytes(), 400, &says).await;
        }
        if text.len() < 8_000 {
            let query = format!("{TRUEFOUNDRY}?feedbackTargetId={}", percent(text.as_bytes()));
            let answer = site.api.get(&query).await;
            assert_refusal(&answer, TRUEFOUNDRY);
            assert_eq!(answer.status, 400);
        }
    }
    // Odd and sound: other members, whatever is in them.
    let body = json!({"target": {"feedbackTargetId": of(&format!(r#"{{"traceId":"t","spanId":"s"{many}}}"#))}, "rating": 1});
    site.api.post(TRUEFOUNDRY, body).await.ok();
}

/// A service that random requests are sent to. The clock is a paused one, so a look-up that waits
/// for an index costs nothing.
fn random_site() -> (Runtime, Site) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let site = runtime.block_on(Site::new());
    (runtime, site)
}

/// Sends a request that may or may not be acceptable. It is answered with 200, or with a 4xx and
/// nothing is written.
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

/// Bodies that each route accepts; mutations start from them.
const SOUND: [&str; 6] = [
    r#"{"trace_id":"tr","value":-3,"weight":0.25,"metadata":{"_user":"u","n":[1e3,null,{"a":"\u00e9"}]}}"#,
    r#"[{"trace_id":"a","value":1},{"traceID":"b","value":"0","metadata":"{\"_prompt\":7}"}]"#,
    r#"{"0":{"traceID":"a","value":1},"1":{"trace_id":"b","value":0}}"#,
    r#"{"target":{"traceId":"t","spanId":"s","tracingProjectFQN":"p"},"rating":4,"comment":"c","metadata":{"k":"v"}}"#,
    r#"{"target":{"type":"target-id","feedbackTargetId":"eyJzcGFuSWQiOiJzIiwidHJhY2VJZCI6InQifQ=="},"rating":2,"value":2}"#,
    r#"{"comment":null,"metadata":{"_environment":true},"value":5,"weight":null,"rating":"5"}"#,
];

/// What is put into a sound body to break it.
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
    /// The rest of another sound body in place of this one's.
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
        (index(), prop::sample::select(&SOUND[..]), index())
            .prop_map(|(index, other, from)| Mutation::Splice(index, other, from)),
    ];
    prop::collection::vec(mutation, 0..4)
}

#[test]
fn random_bytes_are_answered_and_written_only_with_200() {
    let (runtime, site) = random_site();
    let routes = prop::sample::select(site.writes().to_vec());
    proptest!(cases(128), |((method, path) in routes, body in prop::collection::vec(any::<u8>(), 0..200))| {
        check(&runtime, &site, &method, &path, &body)?;
    });
}

#[test]
fn broken_bodies_are_answered_and_written_only_with_200() {
    let (runtime, site) = random_site();
    let routes = prop::sample::select(site.writes().to_vec());
    proptest!(cases(256), |(
        (method, path) in routes,
        sound in prop::sample::select(&SOUND[..]),
        mutations in mutations(),
    )| {
        let mut body = sound.as_bytes().to_vec();
        for mutation in &mutations {
            mutation.apply(&mut body);
        }
        check(&runtime, &site, &method, &path, &body)?;
    });
}

#[test]
fn random_queries_are_answered() {
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
fn random_questions_are_answered() {
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
fn random_ids_are_answered() {
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

/// What the tests above rely on: a body that is broken leaves no trace, although others succeed.
#[tokio::test]
async fn a_missing_record_is_not_made_by_a_write() {
    let site = Site::new().await;
    for base in [PORTKEY, TRUEFOUNDRY] {
        let path = format!("{base}/{MISSING}");
        site.refuses(
            &Method::PUT,
            &path,
            br#"{"value":1,"rating":1}"#,
            404,
            "no such feedback",
        )
        .await;
        site.refuses(&Method::DELETE, &path, b"", 404, "no such feedback")
            .await;
    }
}
