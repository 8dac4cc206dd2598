//! Reads: one record, lists and pages.

use std::time::Duration;

use serde_json::{Value, json};
use shared::config::Config;

use crate::harness::{Api, PORTKEY, TRUEFOUNDRY};

/// Reads a list page by page.
async fn pages(api: &Api, path: &str, limit: usize) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("{path}&limit={limit}{cursor}")).await.ok();
        let found = page.ids();
        assert!(found.len() <= limit);
        ids.extend(found);
        match page.json()["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn a_record_reads_in_both_dialects() {
    let api = Api::new().await;
    let target = json!({"traceId": "t", "spanId": "s", "tracingProjectFqn": "p"});
    let id = api
        .post(TRUEFOUNDRY, json!({"target": target, "rating": 2}))
        .await
        .ok()
        .id();
    let answer = api.get(&format!("{TRUEFOUNDRY}/{id}")).await.ok();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(answer.header("etag"), Some("\"1\""));
    assert_eq!(
        names(&answer.json()["data"]),
        [
            "comment",
            "createdAt",
            "feedbackTargetId",
            "id",
            "metadata",
            "rating",
            "reasons",
            "scale",
            "spanId",
            "traceId",
            "tracingProjectFQN",
            "updatedAt",
            "value",
            "version",
            "weight",
            "writtenBy"
        ]
    );
    let answer = api.get(&format!("{PORTKEY}/{id}")).await.ok();
    assert_eq!(answer.header("etag"), Some("\"1\""));
    assert_eq!(
        names(&answer.json()),
        [
            "comment",
            "created_at",
            "feedback_target_id",
            "id",
            "metadata",
            "rating",
            "reasons",
            "scale",
            "span_id",
            "trace_id",
            "tracing_project_fqn",
            "updated_at",
            "value",
            "version",
            "weight",
            "written_by"
        ]
    );
    assert_eq!(answer.json()["tracing_project_fqn"], "p");
}

#[tokio::test]
async fn a_list_is_filtered_by_every_field() {
    let api = Api::new().await;
    let make = async |trace: &str, metadata: Value| {
        api.post(
            PORTKEY,
            json!({"trace_id": trace, "value": 1, "metadata": metadata}),
        )
        .await
        .ok()
        .id()
    };
    let a = make(
        "t1",
        json!({"_user": "u1", "_organisation": "o1", "_prompt": "p1", "_environment": "e1"}),
    )
    .await;
    let b = make(
        "t1",
        json!({"_user": "u2", "_organisation": "o1", "_prompt": 7, "_environment": true}),
    )
    .await;
    let c = make("t2", json!({"_user": "u1"})).await;
    let d = make("t2#", Value::Null).await;
    for (query, ids) in [
        ("", vec![&d, &c, &b, &a]),
        ("order=asc", vec![&a, &b, &c, &d]),
        ("trace_id=t1", vec![&b, &a]),
        ("trace_id=t2%23", vec![&d]),
        ("user=u1", vec![&c, &a]),
        ("organisation=o1", vec![&b, &a]),
        ("prompt=7", vec![&b]),
        ("environment=true", vec![&b]),
        ("user=u1&trace_id=t1", vec![&a]),
        ("user=u1&organisation=o1&prompt=p1&environment=e1", vec![&a]),
        ("organisation=o1&environment=e1", vec![&a]),
        ("user=nobody", vec![]),
        (
            "from=2020-01-01T00:00:00Z&to=2030-01-01T00:00:00%2B02:00",
            vec![&d, &c, &b, &a],
        ),
        ("from=2100-01-01T00:00:00Z", vec![]),
        ("to=2020-01-01T00:00:00Z", vec![]),
        ("to=1970-01-01T00:00:00Z", vec![]),
    ] {
        let found = api.get(&format!("{PORTKEY}?{query}")).await.ok().ids();
        assert_eq!(found.iter().collect::<Vec<_>>(), ids, "{query}");
    }
}

#[tokio::test]
async fn pages_hold_every_record_once_in_either_order() {
    let api = Api::new().await;
    let mut ids = Vec::new();
    for count in [40, 23] {
        let bulk: Vec<Value> = (0..count)
            .map(|n| json!({"trace_id": "t", "value": n % 10, "metadata": {"_user": "u", "_prompt": "p"}}))
            .collect();
        ids.extend(api.post(PORTKEY, Value::Array(bulk)).await.ok().ids());
    }
    let backwards: Vec<String> = ids.iter().rev().cloned().collect();
    for filter in ["trace_id=t", "user=u", "prompt=p", ""] {
        for limit in [1, 7, 63, 64, 100] {
            assert_eq!(
                pages(&api, &format!("{PORTKEY}?{filter}"), limit).await,
                backwards,
                "{filter} {limit}"
            );
        }
        assert_eq!(
            pages(&api, &format!("{PORTKEY}?{filter}&order=asc"), 10).await,
            ids
        );
    }
}

#[tokio::test]
async fn a_cursor_stays_valid_while_records_come_and_go() {
    let api = Api::new().await;
    let bulk = |count| Value::Array(vec![json!({"trace_id": "t", "value": 1}); count]);
    let ids = api.post(PORTKEY, bulk(10)).await.ok().ids();
    let page = api
        .get(&format!("{PORTKEY}?trace_id=t&order=asc&limit=4"))
        .await
        .ok();
    assert_eq!(page.ids(), ids[..4]);
    let cursor = page.json()["next_cursor"].as_str().unwrap().to_owned();
    // The cursor's record and a later one are deleted, and others are created.
    for gone in [&ids[3], &ids[5]] {
        api.delete(&format!("{PORTKEY}/{gone}")).await.ok();
    }
    let more = api.post(PORTKEY, bulk(2)).await.ok().ids();
    let rest = api
        .get(&format!("{PORTKEY}?trace_id=t&order=asc&cursor={cursor}"))
        .await
        .ok()
        .ids();
    let expected: Vec<&String> = [&ids[4]].into_iter().chain(&ids[6..]).chain(&more).collect();
    assert_eq!(rest.iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn invalid_cursors_and_parameters_are_rejected() {
    let api = Api::new().await;
    for (query, says) in [
        ("cursor=garbage", "cursor: expected a cursor"),
        ("cursor=", "cursor: expected a cursor"),
        ("limit=0", "limit: expected an integer from 1 to 100"),
        ("limit=101", "limit: expected an integer from 1 to 100, got 101"),
        ("limit=ten", "limit: expected"),
        ("order=up", "order: expected asc or desc"),
        ("from=yesterday", "from: expected an ISO 8601 date"),
        ("span_id=s", "trace_id: missing, expected with span_id"),
        ("trace=t", "unknown parameter trace"),
        ("user=", "user: expected 1 to 512 bytes, got nothing"),
        ("user=a&user=b", "user: expected once, got several"),
    ] {
        api.get(&format!("{PORTKEY}?{query}")).await.refused(400, says);
    }
    api.get(TRUEFOUNDRY).await.refused(400, "traceId: missing");
    api.get(&format!("{TRUEFOUNDRY}?feedbackTargetId=x"))
        .await
        .refused(400, "feedbackTargetId:");
}

#[tokio::test]
async fn a_trace_comes_with_its_summary_whatever_the_page() {
    let api = Api::new().await;
    for (value, weight) in [(5, 1.0), (-1, 0.5), (0, 0.0)] {
        api.post(
            PORTKEY,
            json!({"trace_id": "t", "value": value, "weight": weight}),
        )
        .await
        .ok();
    }
    api.post(
        TRUEFOUNDRY,
        json!({"target": {"traceId": "t", "spanId": "s"}, "rating": 4}),
    )
    .await
    .ok();
    let expected = json!({
        "count": 4,
        "pairs": [{"value": 5, "weight": 1.0}, {"value": -1, "weight": 0.5}, {"value": 0, "weight": 0.0}],
        "ratings": [4],
    });
    for query in [
        "trace_id=t",
        "trace_id=t&limit=1",
        "trace_id=t&span_id=s",
        "trace_id=t&order=asc",
    ] {
        assert_eq!(
            api.get(&format!("{PORTKEY}?{query}")).await.ok().json()["summary"],
            expected,
            "{query}"
        );
    }
    assert_eq!(api.get(PORTKEY).await.ok().json().get("summary"), None);
}

#[tokio::test]
async fn the_other_dialect_lists_a_span_or_a_trace() {
    let api = Api::new().await;
    let target = |span: &str| json!({"traceId": "t", "spanId": span});
    let s1 = api
        .post(TRUEFOUNDRY, json!({"target": target("s1"), "rating": 1}))
        .await
        .ok()
        .id();
    let s2 = api
        .post(TRUEFOUNDRY, json!({"target": target("s2"), "rating": 2}))
        .await
        .ok()
        .id();
    let whole = api.vote(1, Value::Null).await.replace('-', "");
    let list = async |query: &str| api.get(&format!("{TRUEFOUNDRY}?{query}")).await.ok();
    assert_eq!(
        list("traceId=t").await.ids(),
        [whole.clone(), s2.clone(), s1.clone()]
    );
    assert_eq!(list("traceId=t&spanId=s1").await.ids(), [s1.clone()]);
    let data = list("traceId=t&spanId=s1").await.json()["data"][0].clone();
    let encoded = data["feedbackTargetId"].as_str().unwrap();
    assert_eq!(
        list(&format!("feedbackTargetId={}", encoded.replace('=', "%3D")))
            .await
            .ids(),
        [s1.clone()]
    );
    let page = list("traceId=t&limit=2").await;
    let token = page.json()["pagination"]["nextPageToken"]
        .as_str()
        .unwrap()
        .to_owned();
    let rest = list(&format!("traceId=t&limit=2&pageToken={token}")).await;
    assert_eq!(rest.ids(), [s1]);
    assert_eq!(rest.json()["pagination"], json!({"nextPageToken": null}));
}

#[tokio::test(start_paused = true)]
async fn expired_records_are_invisible_before_they_are_deleted() {
    let config = Config::embedded()
        .unwrap()
        .with_retention(Some(Duration::from_secs(3600)));
    let api = Api::with(config).await;
    let body = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "u"}});
    let id = api.post(PORTKEY, body.clone()).await.ok().id();
    let stays = api.post(PORTKEY, body).await.ok().id();
    // The record has expired, and DynamoDB has not deleted it yet.
    let item = api
        .database
        .items("feedback")
        .into_iter()
        .find(|item| item["id"]["S"] == id)
        .unwrap();
    assert!(item["expires_at"]["N"].is_string());
    api.database.expire("feedback", &item);
    let path = format!("{PORTKEY}/{id}");
    api.get(&path).await.refused(404, "no such feedback");
    api.put(&path, json!({"value": 2}))
        .await
        .refused(404, "no such feedback");
    api.delete(&path).await.refused(404, "no such feedback");
    let list = api.get(&format!("{PORTKEY}?trace_id=t")).await.ok();
    assert_eq!(list.ids(), [stays.clone()]);
    assert_eq!(list.json()["summary"]["count"], 1);
    assert_eq!(api.get(&format!("{PORTKEY}?user=u")).await.ok().ids(), [stays]);
}

#[tokio::test]
async fn a_page_ends_before_its_response_is_too_large() {
    let api = Api::new().await;
    let body = json!({"trace_id": "t", "value": 1, "metadata": {"x": "y".repeat(65_000)}});
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.insert(0, api.post(PORTKEY, body.clone()).await.ok().id());
    }
    let page = api.get(&format!("{PORTKEY}?trace_id=t&limit=100")).await.ok();
    // Lambda's response is JSON, in which the body is escaped once more.
    let enveloped = |text: &str| serde_json::to_string(text).unwrap().len();
    assert!(enveloped(&page.text) < 6_000_000);
    let full = page.ids().len();
    assert!((50..100).contains(&full), "{full}");
    assert_eq!(pages(&api, &format!("{PORTKEY}?trace_id=t"), 100).await, ids);
}

#[tokio::test]
async fn page_sizes_include_json_escapes() {
    let api = Api::new().await;
    let target = json!({"traceId": "t", "spanId": "s"});
    for comment in ["\u{1}".repeat(16_384), "\"".repeat(16_384)] {
        let body = json!({"target": target, "rating": 1, "comment": comment});
        for _ in 0..60 {
            api.post(TRUEFOUNDRY, body.clone()).await.ok();
        }
    }
    let (mut count, mut token) = (0, String::new());
    loop {
        let page = api
            .get(&format!("{TRUEFOUNDRY}?traceId=t&limit=100{token}"))
            .await
            .ok();
        assert!(serde_json::to_string(&page.text).unwrap().len() < 6_000_000);
        count += page.ids().len();
        match page.json()["pagination"]["nextPageToken"].as_str() {
            Some(next) => token = format!("&pageToken={next}"),
            None => break,
        }
    }
    assert_eq!(count, 120);
}
