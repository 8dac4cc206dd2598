//! The largest response of every route fits into Lambda's limit of 6 MB ("Lambda quotas",
//! docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, "Invocation payload").

use std::collections::BTreeSet;

use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::dialect::portkey::{MAX_BULK, render_list};
use shared::query::{MAX_SUMMARY, Summary};
use shared::score::{Rating, Score, Value as Vote, Weight};

use crate::harness::{Answer, Api, PORTKEY, TRUEFOUNDRY};

const RANGE: &str = "time_of_generation_min=2020-01-01T00:00:00Z&time_of_generation_max=2099-01-01T00:00:00Z";

const MAX_PAYLOAD: usize = 6 * 1024 * 1024;

/// The size of a function's response in payload format 2.0, in which the body is a JSON string.
fn payload(answer: &Answer) -> usize {
    size_of(&answer.text, json!(answer.headers))
}

fn size_of(body: &str, headers: Value) -> usize {
    let response = json!({
        "statusCode": 200, "headers": headers, "multiValueHeaders": {}, "body": body,
        "isBase64Encoded": false, "cookies": [],
    });
    response.to_string().len()
}

#[track_caller]
fn fits(answer: &Answer) -> usize {
    let size = payload(answer);
    assert!(size < MAX_PAYLOAD, "{size} bytes");
    size
}

/// Text that grows sevenfold in a JSON string within JSON: `\\u0001`.
fn odd(size: usize, number: usize) -> String {
    let number = number.to_string();
    format!("{number}{}", "\u{1}".repeat(size - number.len()))
}

/// The longest possible summary of a trace: all pairs have the longest weight.
fn summary() -> Summary {
    let mut summary = Summary {
        truncated: true,
        ..Summary::default()
    };
    let weight = Weight::new(1.234_567_890_123_456_8e-300).unwrap();
    for _ in 0..MAX_SUMMARY {
        summary.add(Score::Value(Vote::new(-10).unwrap(), weight));
    }
    // More than possible: ratings would take the place of pairs.
    for _ in 0..MAX_SUMMARY {
        summary.add(Score::Rating(Rating::new(5).unwrap()));
    }
    summary
}

#[tokio::test]
async fn the_largest_page_of_a_list_with_the_largest_summary() {
    let api = Api::new().await;
    let target = json!({"traceId": odd(512, 0), "spanId": odd(128, 0), "tracingProjectFQN": odd(512, 0)});
    // Each escaped quote becomes four bytes in the response.
    let quotes = |size: usize| format!(r#"{{"a":"{}"}}"#, r#"\""#.repeat((size - 8) / 2));
    // Each with a few more records than fit on a page.
    for (metadata, comment, records) in [
        (quotes(65_536), "\u{1}".repeat(16_384), 24),
        (
            format!(r#"{{"a":[{}0]}}"#, r#""","#.repeat(16_380)),
            "\"".repeat(16_384),
            40,
        ),
        (
            format!(r#"{{"a":"{}"}}"#, "x".repeat(65_528)),
            "x".repeat(16_384),
            64,
        ),
    ] {
        let trace = percent(target["traceId"].as_str().unwrap());
        let body = format!(
            r#"{{"target":{target},"rating":5,"comment":{},"metadata":{metadata}}}"#,
            json!(comment)
        );
        for _ in 0..records {
            api.call(Method::POST, TRUEFOUNDRY, &[], &body).await.ok();
        }
        let alone = size_of(&render_list(&[], None, Some(&summary())), json!({}));
        for path in [PORTKEY.to_owned(), format!("{PORTKEY}?trace_id={trace}")] {
            let separator = if path.contains('?') { '&' } else { '?' };
            let answer = api.get(&format!("{path}{separator}limit=100")).await.ok();
            let size = fits(&answer) + alone;
            assert!(size < MAX_PAYLOAD, "{size} bytes with the largest summary");
            assert!(
                size > MAX_PAYLOAD / 2 && answer.ids().len() < records,
                "{size} bytes"
            );
        }
        fits(
            &api.get(&format!("{TRUEFOUNDRY}?traceId={trace}&limit=100"))
                .await
                .ok(),
        );
        let id = api.get(PORTKEY).await.ok().ids().remove(0);
        fits(&api.get(&format!("{PORTKEY}/{id}")).await.ok());
        fits(&api.get(&format!("{TRUEFOUNDRY}/{id}")).await.ok());
        for item in api.database.items_of_all_pages("feedback") {
            let key = json!({"TableName": "feedback", "Key": {"pk": item["pk"], "sk": item["sk"]}});
            api.database.direct("DeleteItem", key);
        }
    }
    fits(&api.raw(Method::GET, "/openapi.json", &[], "").await);
}

#[tokio::test]
async fn models_and_groups_come_in_pages_that_fit() {
    let api = Api::new().await;
    const MODELS: usize = 1_003;
    let names: Vec<String> = (0..MODELS).map(|number| odd(512, 10_000 + number)).collect();
    for chunk in names.chunks(MAX_BULK) {
        let votes: Vec<Value> = chunk
            .iter()
            .map(|name| json!({"trace_id": "t", "value": -7, "weight": 0.123_456_789_012_345_66, "metadata": {"_model": name, "_organisation": name}}))
            .collect();
        api.post(PORTKEY, json!(votes)).await.ok();
    }
    // One of them has everything that a group can contain.
    for rating in 1..=5 {
        let rated = json!({
            "target": {"traceId": "t", "spanId": "s"}, "rating": rating,
            "metadata": {"_model": names[0], "_organisation": names[0]},
        });
        api.post(TRUEFOUNDRY, rated).await.ok();
    }
    api.count().await;
    for (path, list, name) in [
        ("graphs/feedbacks/ai-models", "data_points", "ai_model"),
        ("groups/metadata/_organisation", "data", "metadata_value"),
    ] {
        let ask = async |query: &str| {
            let answer = api
                .get(&format!("/v1/analytics/{path}?{RANGE}{query}"))
                .await
                .ok();
            let json = answer.json();
            assert_eq!(json["total"], MODELS, "{path}{query}");
            assert_eq!(json["ratings"]["total"], 5);
            let found: Vec<String> = json[list]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one[name].as_str().unwrap().to_owned())
                .collect();
            (fits(&answer), found)
        };
        let (_, first) = ask("&page_size=1000").await;
        let (_, second) = ask("&page_size=1000&current_page=1").await;
        let (_, beyond) = ask("&page_size=1000&current_page=2").await;
        assert_eq!((first.len(), second.len(), beyond.len()), (1_000, 3, 0));
        let all: BTreeSet<&String> = first.iter().chain(&second).collect();
        assert_eq!(all, names.iter().collect());
        // The largest group comes first. A thousand of it would fit.
        let (largest, one) = ask("&page_size=1").await;
        assert_eq!(one, names[..1]);
        assert!(largest * 1_000 < MAX_PAYLOAD, "{largest} bytes");
        // Totals alone.
        assert!(ask("&page_size=0").await.1.is_empty());
        for query in [
            "&page_size=1001",
            "&page_size=-1",
            "&current_page=-1",
            "&page_size=x",
        ] {
            api.get(&format!("/v1/analytics/{path}?{RANGE}{query}"))
                .await
                .refused(400, "expected an integer from 0 to");
        }
        // The default page size.
        let default = if list == "data" { 50 } else { 1_000 };
        assert_eq!(ask("").await.1.len(), default);
    }
}

/// The maximum number of points: one per day with feedback, or one per hour of two days.
#[tokio::test]
async fn the_largest_graphs() {
    let api = Api::new().await;
    api.post(
        PORTKEY,
        json!({"trace_id": "t", "value": -7, "weight": 0.123_456_789_012_345_66}),
    )
    .await
    .ok();
    api.count().await;
    for path in ["feedbacks", "feedbacks/scores", "feedbacks/weighted"] {
        let answer = api
            .get(&format!("/v1/analytics/graphs/{path}?{RANGE}"))
            .await
            .ok();
        assert_eq!(answer.json()["data_points"].as_array().unwrap().len(), 1);
        // A hundred years.
        let point = json!(answer.json()["data_points"][0].to_string())
            .to_string()
            .len()
            + 32;
        assert!(
            fits(&answer) + point * 36_525 < MAX_PAYLOAD,
            "{point} bytes a point"
        );
    }
}

#[tokio::test]
async fn errors_with_as_many_faults_as_there_can_be() {
    let api = Api::new().await;
    let id = api.vote(1, Value::Null).await;
    let control = "\u{1}".repeat(16);
    let indexed = |value: Value| json!({"_user": value, "_organisation": value, "_prompt": value, "_environment": value});
    let mut largest = 0;
    for value in [
        json!(control),
        json!("\"".repeat(16)),
        json!([]),
        json!("x".repeat(600)),
        json!(-99_999_999_999_999_999_i64),
    ] {
        let element = json!({
            "trace_id": "", "traceID": "", "value": value, "weight": value, "metadata": indexed(json!(["x".repeat(600)])),
        });
        let element = element.to_string();
        let bulk = format!("[{}]", vec![element.as_str(); MAX_BULK].join(","));
        let answer = api.call(Method::POST, PORTKEY, &[], &bulk).await;
        assert!((400..=413).contains(&answer.status), "{}", answer.text);
        largest = largest.max(fits(&answer));
        fits(
            &api.call(Method::PUT, &format!("{PORTKEY}/{id}"), &[], &element)
                .await,
        );
        let body = json!({
            "target": {"traceId": "", "spanId": "", "tracingProjectFQN": "", "tracingProjectFqn": "", "feedbackTargetId": "\u{1}".repeat(9_000)},
            "rating": value, "comment": 7, "metadata": indexed(json!({})),
        });
        for path in [TRUEFOUNDRY.to_owned(), format!("{TRUEFOUNDRY}/{id}")] {
            let method = if path.ends_with(&id) {
                Method::PUT
            } else {
                Method::POST
            };
            fits(&api.call(method, &path, &[], &body.to_string()).await);
        }
    }
    assert!(largest > 64 * 1024, "{largest} bytes: the faults are there");
    // Every field of every element is repeated.
    let twice = r#""trace_id":"t","trace_id":"t","value":1,"value":1,"weight":1,"weight":1,"metadata":{"_user":1,"_user":1}"#;
    let bulk = format!("[{}]", vec![format!("{{{twice}}}"); MAX_BULK].join(","));
    fits(
        &api.call(Method::POST, PORTKEY, &[], &bulk)
            .await
            .refused(400, "feedback[99].value: expected once, got 2 times"),
    );
    // As many unknown names as a request line can contain.
    let names: Vec<String> = (0..2_000).map(|number| format!("%01%01{number}=%01")).collect();
    for path in [
        PORTKEY,
        TRUEFOUNDRY,
        "/v1/analytics/graphs/feedbacks",
        "/v1/analytics/groups/metadata/_user",
    ] {
        fits(
            &api.get(&format!("{path}?{}", names.join("&")))
                .await
                .refused(400, "unknown parameter"),
        );
        let long = percent(&"\u{1}".repeat(10_000));
        fits(
            &api.get(&format!("{path}?{long}={long}"))
                .await
                .refused(400, "unknown parameter"),
        );
    }
    let known = "from=x&to=x&limit=x&cursor=x&order=x&trace_id=&span_id=&user=&organisation=&prompt=&environment=\
                 &value_min=x&value_max=x&rating_min=x&rating_max=x&reason=&has_comment=x";
    fits(
        &api.get(&format!("{PORTKEY}?{known}&{known}&x=x"))
            .await
            .refused(400, "limit: expected"),
    );
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
