//! Valid input that other parsers may reject is returned unchanged: lone surrogates, which JavaScript's
//! `slice` makes from an emoji, and repeated member names.

use lambda_http::http::Method;
use serde_json::json;

use crate::counting::verified;
use crate::harness::{Answer, Api, PORTKEY, TRUEFOUNDRY};

const RANGE: &str = "time_of_generation_min=2020-01-01T00:00:00Z&time_of_generation_max=2099-01-01T00:00:00Z";

/// Metadata that is returned unchanged.
const ODD: [&str; 9] = [
    r#"{"note":"cut \ud83d"}"#,
    r#"{"note":"\udc00\ud800 \uD83D\ud83d\ude00"}"#,
    r#"{"\ud83d":1}"#,
    r#"{"\udfff":{"\ud800":["\udc00"]},"a":"b"}"#,
    r#"{"a":1,"a":2}"#,
    r#"{"a":1, "a" : 1 ,"\u0061":3}"#,
    r#"{"x":[{"a":1,"a":{"b":1,"b":2}}]}"#,
    r#"{"_model":"m","_model":"n","_user":"u"}"#,
    r#"{"\ud83d":1,"\ud83d":2,"\udc00":3}"#,
];

async fn post(api: &Api, path: &str, body: &str) -> Answer {
    api.call(Method::POST, path, &[], body).await
}

async fn put(api: &Api, path: &str, body: &str) -> Answer {
    api.call(Method::PUT, path, &[], body).await
}

#[track_caller]
fn holds(answer: &Answer, metadata: &str) {
    let expected = format!(r#""metadata":{metadata}"#);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(
        answer.text.contains(&expected),
        "{} holds no {expected}",
        answer.text
    );
}

#[tokio::test]
async fn odd_metadata_is_stored_and_returned_unchanged() {
    let api = Api::new().await;
    for odd in ODD {
        let quoted = serde_json::to_string(odd).unwrap();
        for metadata in [odd, quoted.as_str()] {
            let body = format!(r#"{{"trace_id":"t","value":1,"metadata":{metadata}}}"#);
            let id = post(&api, PORTKEY, &body).await.ok().id();
            let path = format!("{PORTKEY}/{id}");
            holds(&api.get(&path).await, odd);
            holds(&api.get(&format!("{TRUEFOUNDRY}/{id}")).await, odd);
            let body = format!(r#"{{"value":2,"metadata":{metadata}}}"#);
            put(&api, &path, &body).await.ok();
            holds(&api.get(&path).await, odd);
        }
        let target = r#""target":{"traceId":"t","spanId":"s"}"#;
        let body = format!(r#"{{{target},"rating":1,"metadata":{odd}}}"#);
        let id = post(&api, TRUEFOUNDRY, &body).await.ok().id();
        let path = format!("{TRUEFOUNDRY}/{id}");
        put(&api, &path, &format!(r#"{{"metadata":{odd}}}"#)).await.ok();
        holds(&api.get(&path).await, odd);
        holds(&api.get(&format!("{TRUEFOUNDRY}?traceId=t&spanId=s")).await, odd);
        holds(&api.get(&format!("{PORTKEY}?trace_id=t")).await, odd);
        let body = format!(r#"{{{target},"metadata":{odd}}}"#);
        api.call(Method::DELETE, &path, &[], &body).await.ok();
    }
    let body = ODD.map(|odd| format!(r#"{{"trace_id":"bulk","value":1,"metadata":{odd}}}"#));
    let ids = post(&api, PORTKEY, &format!("[{}]", body.join(",")))
        .await
        .ok()
        .ids();
    assert_eq!(ids.len(), ODD.len());
    api.count().await;
    verified(&api).await.unwrap();
}

/// Text that a caller encoded may contain a lone surrogate. Within a JSON string it can be written only as
/// an escape.
#[tokio::test]
async fn a_lone_surrogate_in_metadata_text_becomes_its_escape() {
    let api = Api::new().await;
    let body = r#"{"trace_id":"t","value":1,"metadata":"{\"note\":\"cut \uD83D\",\"e\":\"\ud83d\ude00\"}"}"#;
    let id = post(&api, PORTKEY, body).await.ok().id();
    holds(
        &api.get(&format!("{PORTKEY}/{id}")).await,
        r#"{"note":"cut \ud83d","e":"😀"}"#,
    );
    for metadata in [r#""\ud83d""#, r#""{\ud83d}""#] {
        let body = format!(r#"{{"trace_id":"t","value":1,"metadata":{metadata}}}"#);
        post(&api, PORTKEY, &body).await.refused(400, "that is not JSON");
    }
}

#[tokio::test]
async fn an_indexed_field_must_be_valid_text_and_not_repeated() {
    let api = Api::new().await;
    let (portkey, truefoundry) = {
        let id = post(&api, PORTKEY, r#"{"trace_id":"t","value":1}"#)
            .await
            .ok()
            .id();
        (format!("{PORTKEY}/{id}"), format!("{TRUEFOUNDRY}/{id}"))
    };
    for field in ["_user", "_organisation", "_prompt", "_environment"] {
        let escaped = format!("\\u005f{}", &field[1..]);
        for (member, says) in [
            (
                format!(r#""{field}":"\ud83d""#),
                "got a string with a lone surrogate",
            ),
            (
                format!(r#""{field}":"u","{field}":"u""#),
                "expected once, got 2 times",
            ),
            (
                format!(r#""{field}":"u","x":1,"{escaped}":null,"{field}":1"#),
                "expected once, got 3 times",
            ),
        ] {
            let says = format!(
                "metadata.{field}: {}",
                if says.starts_with("got") {
                    format!("expected a string, number or boolean of at most 512 bytes, {says}")
                } else {
                    says.to_owned()
                }
            );
            let quoted = serde_json::to_string(&format!("{{{member}}}")).unwrap();
            for metadata in [format!("{{{member}}}"), quoted] {
                let body = format!(r#"{{"trace_id":"t","value":1,"metadata":{metadata}}}"#);
                post(&api, PORTKEY, &body).await.refused(400, &says);
                post(&api, PORTKEY, &format!("[{body}]"))
                    .await
                    .refused(400, &format!("feedback[0].{says}"));
                put(&api, &portkey, &body).await.refused(400, &says);
            }
            let body =
                format!(r#"{{"target":{{"traceId":"t","spanId":"s"}},"rating":1,"metadata":{{{member}}}}}"#);
            post(&api, TRUEFOUNDRY, &body).await.refused(400, &says);
            put(&api, &truefoundry, &format!(r#"{{"metadata":{{{member}}}}}"#))
                .await
                .refused(400, &says);
        }
    }
    assert_eq!(api.database.items("feedback").len(), 1);
}

#[tokio::test]
async fn unknown_names_may_be_repeated() {
    let api = Api::new().await;
    let extra = r#""x":1,"x":2,"\u0078":3,"\ud83d":1,"\ud83d":1,"":0,"":0"#;
    let body = format!(r#"{{{extra},"trace_id":"t","value":1,{extra}}}"#);
    let id = post(&api, PORTKEY, &body).await.ok().id();
    post(&api, PORTKEY, &format!("[{body},{body}]")).await.ok();
    post(&api, PORTKEY, &format!(r#"{{"0":{body},"1":{body}}}"#))
        .await
        .ok();
    put(&api, &format!("{PORTKEY}/{id}"), &body).await.ok();
    // The id that the Node SDK puts into the body is read only if the path has none.
    let twice = r#"{"feedback_id":"a","feedback_id":"b","value":1}"#;
    put(&api, &format!("{PORTKEY}/{id}"), twice).await.ok();
    let target = format!(r#""target":{{{extra},"traceId":"t","spanId":"s",{extra}}}"#);
    let body = format!(r#"{{{extra},{target},"rating":1,{extra}}}"#);
    let id = post(&api, TRUEFOUNDRY, &body).await.ok().id();
    let path = format!("{TRUEFOUNDRY}/{id}");
    put(&api, &path, &body).await.ok();
    api.call(Method::DELETE, &path, &[], &body).await.ok();
    // A lone surrogate in a name does not turn a feedback object into a numbered array or a name into a
    // number.
    post(&api, PORTKEY, r#"{"0":{"trace_id":"t","value":1},"\ud83d":1}"#)
        .await
        .refused(400, "trace_id: missing");
}

#[tokio::test]
async fn repeated_known_names_are_reported() {
    let api = Api::new().await;
    let id = post(&api, PORTKEY, r#"{"trace_id":"t","value":1}"#)
        .await
        .ok()
        .id();
    let (portkey, truefoundry) = (format!("{PORTKEY}/{id}"), format!("{TRUEFOUNDRY}/{id}"));
    let once = |field: &str| format!("{field}: expected once, got 2 times");
    for (body, field) in [
        (r#"{"trace_id":"t","value":1,"value":1}"#, "value"),
        (r#"{"trace_id":"t","value":1,"\u0076alue":2}"#, "value"),
        (r#"{"trace_id":"t","trace_id":"t","value":1}"#, "trace_id"),
        (r#"{"traceID":"t","traceID":"u","value":1}"#, "traceID"),
        (r#"{"trace_id":"t","value":1,"weight":1,"weight":null}"#, "weight"),
        (r#"{"trace_id":"t","value":1,"weight":null,"weight":1}"#, "weight"),
        (
            r#"{"trace_id":"t","value":1,"metadata":{},"metadata":{}}"#,
            "metadata",
        ),
    ] {
        post(&api, PORTKEY, body).await.refused(400, &once(field));
        post(&api, PORTKEY, &format!("[{body}]"))
            .await
            .refused(400, &once(&format!("feedback[0].{field}")));
        if !field.starts_with("trace") {
            put(&api, &portkey, body).await.refused(400, &once(field));
        }
    }
    let item = r#"{"trace_id":"t","value":1}"#;
    post(&api, PORTKEY, &format!(r#"{{"0":{item},"0":{item}}}"#))
        .await
        .refused(400, "body: expected array indexes without duplicates");
    let twice = format!(r#"{{"feedback_id":"{id}","feedback_id":"{id}","value":1}}"#);
    put(&api, &format!("{PORTKEY}/undefined"), &twice)
        .await
        .refused(400, &once("feedback_id"));
    let target = r#""target":{"traceId":"t","spanId":"s"}"#;
    for (body, field) in [
        (format!(r#"{{{target},{target},"rating":1}}"#), "target"),
        (format!(r#"{{{target},"rating":1,"rating":1}}"#), "rating"),
        (
            format!(r#"{{{target},"rating":1,"comment":"a","comment":null}}"#),
            "comment",
        ),
        (
            format!(r#"{{{target},"rating":1,"metadata":null,"metadata":null}}"#),
            "metadata",
        ),
        (
            r#"{"target":{"traceId":"t","traceId":"t","spanId":"s"},"rating":1}"#.to_owned(),
            "target.traceId",
        ),
        (
            r#"{"target":{"traceId":"t","spanId":"s","spanId":"u"},"rating":1}"#.to_owned(),
            "target.spanId",
        ),
    ] {
        post(&api, TRUEFOUNDRY, &body).await.refused(400, &once(field));
        put(&api, &truefoundry, &body).await.refused(400, &once(field));
    }
    assert_eq!(api.database.items("feedback").len(), 1);
}

#[tokio::test]
async fn a_lone_surrogate_in_a_comment_is_replaced_with_a_warning() {
    let api = Api::new().await;
    let target = r#""target":{"traceId":"t","spanId":"s"}"#;
    let warning = json!(["comment held a lone surrogate (\\ud800 to \\udfff), stored as U+FFFD"]);
    let body = format!(r#"{{{target},"rating":1,"comment":"\ud83d cut \udc00\ud83d\ude00"}}"#);
    let created = post(&api, TRUEFOUNDRY, &body).await.ok();
    assert_eq!(created.json()["warnings"], warning);
    let path = format!("{TRUEFOUNDRY}/{}", created.id());
    assert_eq!(
        api.get(&path).await.ok().json()["data"]["comment"],
        "\u{fffd} cut \u{fffd}😀"
    );
    let updated = put(&api, &path, r#"{"comment":"\ud83d"}"#).await.ok();
    assert_eq!(updated.json()["warnings"], warning);
    assert_eq!(api.get(&path).await.ok().json()["data"]["comment"], "\u{fffd}");
    // Warnings are present only then.
    for body in [
        r#"{"comment":"\ud83d\ude00 \ufffd"}"#,
        r#"{"comment":null}"#,
        r#"{"rating":2}"#,
    ] {
        let answer = put(&api, &path, body).await.ok();
        assert!(answer.json().get("warnings").is_none(), "{}", answer.text);
    }
    // A repeat under its key gets the first response.
    let headers = [("idempotency-key", "k")];
    let first = api.call(Method::POST, TRUEFOUNDRY, &headers, &body).await.ok();
    assert_eq!(first.json()["warnings"], warning);
    assert_eq!(
        api.call(Method::POST, TRUEFOUNDRY, &headers, &body)
            .await
            .ok()
            .text,
        first.text
    );
    // The limit applies to the stored text.
    let long = format!(r#"{{"comment":"{}"}}"#, r"\ud83d".repeat(5_461));
    put(&api, &path, &long).await.ok();
    let long = format!(r#"{{"comment":"{}"}}"#, r"\ud83d".repeat(5_462));
    put(&api, &path, &long)
        .await
        .refused(413, "comment: expected at most 16384 bytes, got 16386");
}

/// Like in most JSON parsers, the last one counts.
#[tokio::test]
async fn the_last_of_repeated_names_counts() {
    let api = Api::new().await;
    for metadata in [
        r#"{"tier":"gold","tier":"silver","_model":"a","_model":"b"}"#,
        r#"{"tier":1,"\ud83d":"x","tier":"silver","_model":7,"_model":"b"}"#,
        r#"{"tier":"silver","tier":null,"_model":"b"}"#,
    ] {
        let body = format!(r#"{{"trace_id":"t","value":1,"metadata":{metadata}}}"#);
        post(&api, PORTKEY, &body).await.ok();
    }
    api.count().await;
    let ask = async |path: &str| api.get(&format!("/v1/analytics/{path}{RANGE}")).await.ok().json();
    let groups = ask("groups/metadata/tier?").await;
    assert_eq!(
        (&groups["total"], &groups["data"][0]["metadata_value"]),
        (&json!(1), &json!("silver"))
    );
    assert_eq!(groups["data"][0]["requests_with_feedback"], 2);
    for (filter, total) in [("silver", 2), ("gold", 0), ("1", 0)] {
        let graph = ask(&format!(
            "graphs/feedbacks?metadata=%7B%22tier%22:%22{filter}%22%7D&"
        ))
        .await;
        assert_eq!(graph["summary"]["total"], total, "{filter}");
    }
    let models = ask("graphs/feedbacks/ai-models?").await;
    assert_eq!(models["data_points"][0]["ai_model"], "b");
    assert_eq!(models["data_points"][0]["total"], 3);
    verified(&api).await.unwrap();
    // The filter in a query must not have repeated names or lone surrogates.
    for metadata in [
        "%7B%22a%22:1,%22a%22:1%7D",
        "%7B%22%5Cud83d%22:1%7D",
        "%7B%22a%22:%22%5Cud83d%22%7D",
    ] {
        api.get(&format!(
            "/v1/analytics/graphs/feedbacks?metadata={metadata}&{RANGE}"
        ))
        .await
        .refused(400, "metadata: expected a JSON object");
    }
}
