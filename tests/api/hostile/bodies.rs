//! Bodies: their size, fields, depth, numbers, names, text and encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::Method;
use serde_json::{Value, json};

use super::{PORTKEY, Site, TRUEFOUNDRY, assert_refusal, percent};
use crate::harness::event_json;

#[tokio::test]
async fn a_body_over_its_limit_is_413_before_it_is_parsed() {
    let site = Site::new().await;
    let limit = 1024 * 1024;
    let says = "body: expected at most 1048576 bytes, got 1048577";
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
    site.refuses(
        &Method::POST,
        PORTKEY,
        at_limit.as_bytes(),
        400,
        "levels of nesting",
    )
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
    let says_metadata = "metadata: expected at most 65536 bytes of JSON, got 65537";
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
            "feedback[1].metadata: expected at most 65536 bytes",
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
            "comment: expected at most 16384 bytes, got 16385; metadata: expected at most 65536 bytes",
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
            "comment: expected at most 16384 bytes, got 16385",
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
            "trace_id: expected a string of 1 to 512 bytes, got a string of 514 bytes",
        ),
        (
            Method::POST,
            TRUEFOUNDRY,
            json!({"target": {"traceId": "t", "spanId": "x".repeat(900_000)}, "rating": 1}),
            400,
            "target.spanId: expected a string of 1 to 128 bytes, got a string of 900000 bytes",
        ),
        (
            Method::POST,
            TRUEFOUNDRY,
            json!({"target": {"traceId": "t", "spanId": "s", "tracingProjectFQN": "x".repeat(513)}, "rating": 1}),
            400,
            "target.tracingProjectFQN: expected a string of 1 to 512 bytes",
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
                "body: expected at most 128 levels of nesting, got more",
            )
            .await;
        }
    }
    let quoted = json!({"trace_id": "t", "value": 1, "metadata": objects(129)}).to_string();
    site.refuses(&Method::POST, PORTKEY, quoted.as_bytes(), 400, "metadata:")
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
                answer.refused(400, "levels of nesting");
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
        ("\"50e-1\"", "\"10e-1\"", (5, 1.0)),
        ("5e0", "0.1e1", (5, 1.0)),
        // Above 0 and within the range; what is kept is the nearest f64.
        ("1.000000000000000000000000000000000000", small.as_str(), (1, 0.0)),
        ("0.5e1", "1e-400", (5, 0.0)),
        ("0e-99999999999999999999", "1e-99999999999999999999", (0, 0.0)),
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
        // Each rounds to a number of the range, and is none.
        ("10.00000000000000001", "got 10.00000000000000001"),
        ("-0.1e-20", "got -0.1e-20"),
        ("-1e-400", "got -1e-400"),
        ("\"-1e-400\"", r#"got the string "-1e-400""#),
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
            "value: expected an integer from -10 to 10",
            "weight: expected a number from 0 to 1",
            got,
        ] {
            site.refuses(&Method::POST, PORTKEY, body.as_bytes(), 400, says)
                .await;
        }
        let body = format!(r#"{{"rating":{number}}}"#);
        let says = format!("rating: expected an integer from 1 to 5, {got}");
        site.refuses(&Method::PUT, &site.truefoundry(), body.as_bytes(), 400, &says)
            .await;
    }
    for (number, others) in [
        ("4.99999999999999999999", "0.5"),
        ("5.00000000000000000001", "1"),
        ("499999999999999999999e-20", "1"),
        ("\"4.99999999999999999999\"", "1"),
    ] {
        let body = format!(r#"{{"trace_id":"t","value":{number},"weight":{others}}}"#);
        let says = "value: expected an integer from -10 to 10, got";
        site.refuses(&Method::POST, PORTKEY, body.as_bytes(), 400, says)
            .await;
        let body = format!(r#"{{"rating":{number}}}"#);
        let says = "rating: expected an integer from 1 to 5, got";
        site.refuses(&Method::PUT, &site.truefoundry(), body.as_bytes(), 400, says)
            .await;
    }
    for weight in [
        "1.00000000000000001",
        "\"1.00000000000000001\"",
        "100000000000000001e-17",
        "-1e-400",
    ] {
        let body = format!(r#"{{"trace_id":"t","value":1,"weight":{weight}}}"#);
        let says = "weight: expected a number from 0 to 1, got";
        site.refuses(&Method::POST, PORTKEY, body.as_bytes(), 400, says)
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
            site.refuses(&method, &path, body.as_bytes(), 400, "body: invalid JSON: ")
                .await;
        }
    }
}

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
async fn a_lone_surrogate_is_no_text() {
    let site = Site::new().await;
    let lone = r"\ud800";
    for (body, field) in [
        (
            format!(r#"{{"trace_id":"{lone}","value":1}}"#),
            "trace_id: expected text without a lone surrogate",
        ),
        (
            r#"{"traceID":"x\udfff","value":1}"#.to_owned(),
            "traceID: expected text without a lone surrogate",
        ),
        (format!(r#"{{"trace_id":"t","value":"{lone}"}}"#), "value:"),
        (
            format!(r#"{{"trace_id":"t","value":1,"metadata":"{lone}"}}"#),
            "metadata:",
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
            "target.spanId: expected text without a lone surrogate",
        )
        .await;
        site.refuses(
            method,
            path,
            encoded.as_bytes(),
            400,
            "target.feedbackTargetId: expected base64 of a JSON object with traceId and spanId, got no string spanId",
        )
        .await;
    }
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
            let says = "body: invalid JSON: control character";
            site.refuses(&method, &path, body.as_bytes(), 400, says).await;
        }
    }
}

#[tokio::test]
async fn a_body_is_utf_8_without_a_byte_order_mark() {
    let site = Site::new().await;
    for (method, path) in site.writes() {
        for (body, says) in [
            (&b"\xff"[..], "body: invalid UTF-8 at byte offset 0"),
            (b"{\"comment\":\"\xc3\x28\"}", "invalid UTF-8 at byte offset 12"),
            (b"{\"comment\":\"\xed\xa0\x80\"}", "at byte offset 12"),
            (b"{\"comment\":\"\xf4\x90\x80\x80\"}", "at byte offset 12"),
            (b"{\"comment\":\"\xc0\xaf\"}", "at byte offset 12"),
            // UTF-16, with and without its mark.
            (b"\xff\xfe{\0}\0", "at byte offset 0"),
            (b"{\0}\0", "body: invalid JSON"),
            (
                b"\xef\xbb\xbf{\"rating\":1}",
                "body: expected JSON without a byte order mark",
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
        "metadata: expected a JSON object",
    )
    .await;
}

#[tokio::test]
async fn what_is_no_object_is_no_body() {
    let site = Site::new().await;
    for (body, portkey, truefoundry) in [
        ("null", "got null", "body: expected a JSON object, got null"),
        ("true", "got true", "got true"),
        ("0", "got 0", "got 0"),
        ("\"{}\"", "got a string of 2 bytes", "got a string of 2 bytes"),
        ("[]", "1 to 100 feedback objects, got 0", "got an array"),
        (
            "[[]]",
            "feedback[0]: expected a JSON object, got an array",
            "got an array",
        ),
        ("{} {}", "trailing characters", "trailing characters"),
        ("{}\u{0}", "trailing characters", "trailing characters"),
        ("{\"a\":1,}", "key must be a string", "key must be a string"),
        ("{'a':1}", "key must be a string", "key must be a string"),
        ("{/**/}", "key must be a string", "key must be a string"),
        ("value=1&trace_id=t", "invalid JSON", "invalid JSON"),
        ("<feedback/>", "invalid JSON", "invalid JSON"),
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
                "body: expected JSON, got nothing",
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
        answer.refused(400, "body: invalid JSON");
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
        "metadata: expected at most 65536 bytes",
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
            "expected base64 of a JSON object with traceId and spanId, got no string traceId",
        ),
        (
            of(r#"{"traceId":1e400,"spanId":"s"}"#),
            "expected base64 of a JSON object with traceId and spanId, got no string traceId",
        ),
        (
            of(r#"{"traceId":"t","spanId":null}"#),
            "expected base64 of a JSON object with traceId and spanId, got no string spanId",
        ),
        (
            of(&json!({"traceId": "t", "spanId": "s".repeat(129)}).to_string()),
            "expected as spanId in it a string of 1 to 128 bytes",
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
    // Odd and sound: other members, whatever is in them.
    let body = json!({"target": {"feedbackTargetId": of(&format!(r#"{{"traceId":"t","spanId":"s"{many}}}"#))}, "rating": 1});
    site.api.post(TRUEFOUNDRY, body).await.ok();
}
