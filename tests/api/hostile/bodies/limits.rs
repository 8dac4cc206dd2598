//! Sizes and nesting over their limits.

use super::*;

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
    // One byte less is parsed.
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
    // The limit applies to the decoded bytes.
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
        // An id with an invalid length is 400, not 413.
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
async fn nesting_beyond_common_parser_limits_is_rejected() {
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

/// Most callers' parsers limit nesting; serde_json's limit is 127 levels. In a list, a record's metadata
/// starts at the fourth.
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
    // 64 KiB cannot contain ten thousand different keys.
    let body = format!(r#"{{"trace_id":"t","value":1,"metadata":{}}}"#, of(10_000));
    site.refuses(
        &Method::POST,
        PORTKEY,
        body.as_bytes(),
        413,
        "metadata: expected at most 65536 bytes",
    )
    .await;
    // Reading as many fields as a body can contain is fast too.
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
