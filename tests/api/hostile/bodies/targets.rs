//! Target ids with unexpected content.

use super::*;

#[tokio::test]
async fn a_target_id_that_names_its_span_twice_is_refused() {
    let site = Site::new().await;
    for (method, path) in &site.writes()[2..] {
        for inner in [
            r#"{"traceId":"t","spanId":"s","spanId":"x"}"#,
            r#"{"traceId":"t","spanId":"s","traceId":"t"}"#,
        ] {
            let body =
                json!({"target": {"feedbackTargetId": STANDARD.encode(inner)}, "rating": 1}).to_string();
            let says = "target.feedbackTargetId: expected";
            site.refuses(method, path, body.as_bytes(), 400, says).await;
        }
    }
}

#[tokio::test]
async fn oversized_and_malformed_target_ids_are_rejected() {
    let site = Site::new().await;
    let (opening, closing) = ("[".repeat(2_000), "]".repeat(2_000));
    let many: String = (0..500).map(|n| format!(",\"{n}\":0")).collect();
    let seed = STANDARD.encode(r#"{"traceId":"t","spanId":"s"}"#);
    let of = |json: &str| STANDARD.encode(json);
    for (text, says) in [
        ("A".repeat(900_000), "expected at most 8192 bytes, got 900000"),
        (
            of(&format!(
                r#"{{"traceId":"t","spanId":"s","x":{opening}{closing}}}"#
            )),
            "expected base64 of a JSON object",
        ),
        (of(&seed), "it got base64 of something else"),
        (
            of("\u{feff}{\"traceId\":\"t\",\"spanId\":\"s\"}"),
            "it got base64 of something else",
        ),
        (
            of(r#"{"traceId":"t","spanId":"s"} {}"#),
            "it got base64 of something else",
        ),
        (
            STANDARD.encode(b"{\"traceId\":\"\xff\",\"spanId\":\"s\"}"),
            "it got base64 of something else",
        ),
        (
            of(r#"{"traceId":["t"],"spanId":"s"}"#),
            "expected base64 of a JSON object with traceId and spanId, got an object without a string traceId",
        ),
        (
            of(r#"{"traceId":1e400,"spanId":"s"}"#),
            "expected base64 of a JSON object with traceId and spanId, got an object without a string traceId",
        ),
        (
            of(r#"{"traceId":"t","spanId":null}"#),
            "expected base64 of a JSON object with traceId and spanId, got an object without a string spanId",
        ),
        (
            of(&json!({"traceId": "t", "spanId": "s".repeat(129)}).to_string()),
            "expected its spanId to be a string of 1 to 128 bytes",
        ),
        (
            format!("{}!", &seed[..20]),
            "expected base64 of a JSON object with traceId and spanId, got something that is not base64",
        ),
        (
            format!("{seed}\n"),
            "expected base64 of a JSON object with traceId and spanId, got something that is not base64",
        ),
        (
            "=".to_owned(),
            "expected base64 of a JSON object with traceId and spanId, got something that is not base64",
        ),
        (String::new(), "it got base64 of something else"),
    ] {
        let body = json!({"target": {"feedbackTargetId": text}, "rating": 1}).to_string();
        let says = format!("target.feedbackTargetId: {}", says);
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
    // Other members are valid, whatever they contain.
    let body = json!({"target": {"feedbackTargetId": of(&format!(r#"{{"traceId":"t","spanId":"s"{many}}}"#))}, "rating": 1});
    site.api.post(TRUEFOUNDRY, body).await.ok();
}
