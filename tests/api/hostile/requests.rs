//! Invalid headers, queries, ids and paths.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::Method;
use serde_json::{Value, json};

use super::{PORTKEY, Site, TRUEFOUNDRY, assert_refusal, percent};
use crate::harness::event_json;

/// An id from 2025 that no record has. It is too old to wait for an index.
const MISSING: &str = "019ab2a9-8fc6-7804-83ea-e496e2dd611d";

#[tokio::test]
async fn invalid_headers_are_rejected_or_ignored() {
    let site = Site::new().await;
    let (path, body) = (site.portkey(), r#"{"value":1}"#);
    let before = site.stored();
    for (name, value, status, says) in [
        (
            "if-match",
            "",
            400,
            "If-Match: expected one version in double quotes",
        ),
        ("if-match", "1", 400, "If-Match: expected"),
        ("if-match", "W/\"1\"", 412, "not at the version"),
        ("if-match", "\"", 400, "If-Match: expected"),
        ("if-match", "\"1\", \"2\"", 400, "If-Match: expected one version"),
        ("if-match", "\"\"", 412, "not at the version"),
        ("if-match", "\"-1\"", 412, "not at the version"),
        ("if-match", "\"18446744073709551615\"", 412, "not at the version"),
        ("if-match", "\"18446744073709551616\"", 412, "not at the version"),
        ("if-match", "\"ü\"", 412, "not at the version"),
        (
            "idempotency-key",
            "",
            400,
            "Idempotency-Key: expected 1 to 255 bytes, got 0",
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
async fn invalid_queries_are_rejected_with_a_reason() {
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
            Some("unknown parameter amp;user"),
        ),
        (PORTKEY, "=", Some("unknown parameter")),
        (PORTKEY, "&&&", None),
        (PORTKEY, "?", Some("unknown parameter ?")),
        (
            PORTKEY,
            "trace_id",
            Some("trace_id: expected 1 to 512 bytes, got nothing"),
        ),
        (PORTKEY, "Trace_ID=t", Some("unknown parameter Trace_ID")),
        (
            PORTKEY,
            "limit=1e1",
            Some("limit: expected an integer from 1 to 100"),
        ),
        (PORTKEY, "limit=-0", Some("limit: expected")),
        (PORTKEY, "limit=99999999999999999999", Some("limit: expected")),
        (PORTKEY, "limit=%2B5", None),
        (
            PORTKEY,
            "limit=1&limit=1",
            Some("limit: expected once, got several"),
        ),
        (PORTKEY, "from=0000-01-01T00:00:00Z&to=9999-12-31T23:59:59Z", None),
        (
            PORTKEY,
            "from=2026-02-30T00:00:00Z",
            Some("from: expected an ISO 8601 date"),
        ),
        (PORTKEY, "from=99999-01-01T00:00:00Z", Some("from: expected")),
        (PORTKEY, "to=2026-01-01T00:00:00%2B99:99", Some("to: expected")),
        (
            PORTKEY,
            "cursor=AQAAAAAAAAAAAAAAAAAAAAAAAAAA",
            Some("cursor: expected a cursor"),
        ),
        (PORTKEY, "cursor=%F0%9F%98%80", Some("cursor: expected a cursor")),
        (
            TRUEFOUNDRY,
            "traceId=t&pageToken=.",
            Some("pageToken: expected a cursor"),
        ),
        (
            TRUEFOUNDRY,
            "feedbackTargetId=e30%3D",
            Some(
                "feedbackTargetId: expected base64 of a JSON object with traceId and spanId, got an object without a string traceId",
            ),
        ),
        (
            TRUEFOUNDRY,
            "feedbackTargetId=",
            Some("feedbackTargetId: expected base64"),
        ),
        (TRUEFOUNDRY, "spanId=s", Some("traceId: missing")),
        (
            TRUEFOUNDRY,
            &format!("feedbackTargetId={span}&traceId=u"),
            Some("feedbackTargetId: expected the span of traceId and spanId"),
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

/// API Gateway accepts a request line of 10 KiB. The response must not be a hundred times larger.
#[tokio::test]
async fn a_query_of_thousands_of_parameters_has_a_short_response() {
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
async fn ids_may_be_percent_encoded_and_invalid_ids_are_rejected() {
    let site = Site::new().await;
    let encoded = percent(site.id.as_bytes());
    let headers = [("x-portkey-api-key", site.api.key.as_str())];
    for id in [&encoded, &encoded.to_lowercase()] {
        for path in [format!("{PORTKEY}/{id}"), format!("{TRUEFOUNDRY}/{id}")] {
            // Encoded like from cargo-lambda, then decoded like from API Gateway.
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
                    "id: expected a UUID, hyphenated or as 32 hex digits",
                )
                .await;
            }
        }
    }
    // The lowest and the highest id, which no record has. One is from the year 10889.
    for id in [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ] {
        for base in [PORTKEY, TRUEFOUNDRY] {
            let path = format!("{base}/{id}");
            site.refuses(&Method::GET, &path, b"", 404, "no such feedback")
                .await;
            assert_writes_do_not_create(&site, &path).await;
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
            answer.refused(400, "id: expected a UUID");
            assert_eq!(site.stored(), before);
        }
    }
}

/// Checks that writes to a missing record create nothing.
async fn assert_writes_do_not_create(site: &Site, path: &str) {
    let body = br#"{"value":1,"rating":1}"#;
    site.refuses(&Method::PUT, path, body, 404, "no such feedback")
        .await;
    site.refuses(&Method::DELETE, path, b"", 404, "no such feedback")
        .await;
}

#[tokio::test]
async fn updates_and_deletes_do_not_create_missing_records() {
    let site = Site::new().await;
    for base in [PORTKEY, TRUEFOUNDRY] {
        let path = format!("{base}/{MISSING}");
        assert_writes_do_not_create(&site, &path).await;
    }
}
