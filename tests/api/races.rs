//! Concurrent requests.

use futures_util::future::join_all;
use lambda_http::http::Method;
use serde_json::{Value, json};

use crate::harness::{Api, PORTKEY};

#[tokio::test]
async fn twenty_creates_under_one_key_are_one_record_and_twenty_equal_responses() {
    let api = Api::new().await;
    let body = json!({"trace_id": "t", "value": 1}).to_string();
    let headers = [("idempotency-key", "k")];
    let answers = join_all((0..20).map(|_| api.call(Method::POST, PORTKEY, &headers, &body))).await;
    for answer in &answers {
        assert_eq!(answer.clone().ok(), answers[0]);
    }
    assert_eq!(api.database.items("feedback").len(), 1);
}

#[tokio::test]
async fn fifty_updates_with_if_match_lose_no_version() {
    let api = Api::new().await;
    let id = api.vote(0, Value::Null).await;
    let path = format!("{PORTKEY}/{id}");
    // Each reads, changes and writes until its write succeeds, like a careful client.
    let increments = (0..50).map(|_| async {
        loop {
            let record = api.get(&path).await.ok();
            let seen = record.header("etag").unwrap().to_owned();
            let count = record.json()["metadata"]["count"].as_i64().unwrap_or(0);
            let body = json!({"value": 0, "metadata": {"count": count + 1}}).to_string();
            let answer = api.call(Method::PUT, &path, &[("if-match", &seen)], &body).await;
            match answer.status {
                200 => return answer.header("etag").unwrap().to_owned(),
                412 => {}
                _ => panic!("{}", answer.text),
            }
        }
    });
    let mut versions = join_all(increments).await;
    versions.sort();
    versions.dedup();
    assert_eq!(versions.len(), 50, "no two writes made the same version");
    let record = api.get(&path).await.ok().json();
    assert_eq!(
        (&record["version"], &record["metadata"]["count"]),
        (&json!(51), &json!(50))
    );
}

#[tokio::test(start_paused = true)]
async fn updates_under_keys_of_their_own_all_take_effect() {
    let api = Api::new().await;
    let id = api.vote(0, Value::Null).await;
    let path = format!("{PORTKEY}/{id}");
    let updates = (0..10).map(|n| {
        let (api, path) = (&api, &path);
        async move {
            let (key, body) = (format!("k{n}"), json!({"value": n}).to_string());
            api.call(Method::PUT, path, &[("idempotency-key", &key)], &body)
                .await
                .ok()
        }
    });
    let answers = join_all(updates).await;
    let mut versions: Vec<_> = answers
        .iter()
        .map(|answer| answer.header("etag").unwrap())
        .collect();
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 10);
    assert_eq!(api.get(&path).await.ok().json()["version"], 11);
}

#[tokio::test(start_paused = true)]
async fn one_of_two_deletes_succeeds() {
    let api = Api::new().await;
    let id = api.vote(0, Value::Null).await;
    let path = format!("{PORTKEY}/{id}");
    let answers = join_all((0..2).map(|_| api.delete(&path))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404]);
}
