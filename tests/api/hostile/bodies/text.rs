//! Text encodings, control characters, and bodies that are not objects.

use super::*;

#[tokio::test]
async fn lone_surrogates_are_rejected_where_text_is_required() {
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
            "target.feedbackTargetId: expected base64 of a JSON object with traceId and spanId, got an object without a string spanId",
        )
        .await;
    }
    // A surrogate pair is a character.
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
    // Every filter finds it, and so does the target id that was returned.
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
            // UTF-16, with and without a byte order mark.
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
async fn a_body_must_be_an_object() {
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
    // An invalid base64 body is read as it is, and the error says what is wrong.
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
