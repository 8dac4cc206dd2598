//! The cost of each operation in DynamoDB's units, by table and index. docs/costs.md is computed from these
//! numbers.

use std::collections::BTreeMap;

use lambda_http::http::Method;
use serde_json::{Value, json};

use crate::harness::{Api, PORTKEY, TRUEFOUNDRY};

/// A service that has cached its key, which it looks up once a minute.
async fn warm() -> Api {
    let api = Api::new().await;
    api.get("/v1/feedback?trace_id=none").await.ok();
    api.database.consumed();
    api
}

fn units(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
    pairs
        .iter()
        .map(|&(place, units)| (place.to_owned(), units))
        .collect()
}

fn vote(metadata: Value) -> Value {
    json!({"trace_id": "019ab2a96d50707fa3090c1b7201d5bd", "value": 1, "metadata": metadata})
}

const BARE: [(&str, f64); 3] = [
    ("write feedback", 1.0),
    ("write feedback/by-time", 1.0),
    ("write feedback/by-trace", 1.0),
];

#[tokio::test]
async fn a_create_writes_the_table_and_each_index_it_is_in() {
    let indexed = [
        (json!({}), vec![]),
        (json!({"_model": "gpt-4o", "comment": "fine"}), vec![]),
        (json!({"_user": "u"}), vec!["write feedback/by-user"]),
        (json!({"_prompt": "p"}), vec!["write feedback/by-prompt"]),
        (
            json!({"_user": "u", "_organisation": "o", "_prompt": "p", "_environment": "e"}),
            vec![
                "write feedback/by-user",
                "write feedback/by-organisation",
                "write feedback/by-prompt",
                "write feedback/by-environment",
            ],
        ),
    ];
    for (metadata, indexes) in indexed {
        let api = warm().await;
        api.post(PORTKEY, vote(metadata.clone())).await.ok();
        let mut expected = units(&BARE);
        expected.extend(indexes.iter().map(|&index| (index.to_owned(), 1.0)));
        assert_eq!(api.database.consumed(), expected, "{metadata}");
    }
}

/// A person's first vote costs what a plain create does, and so does each later one.
#[tokio::test]
async fn an_upsert_costs_no_more_than_a_create() {
    let api = warm().await;
    let body = vote(json!({"_user": "u", "_name": "helpful"})).to_string();
    let mut expected = units(&BARE);
    expected.insert("write feedback/by-user".into(), 1.0);
    for _ in 0..2 {
        let headers = [("x-hindsight-upsert", "user")];
        api.call(Method::POST, PORTKEY, &headers, &body).await.ok();
        assert_eq!(api.database.consumed(), expected);
    }
}

#[tokio::test]
async fn a_first_request_looks_its_key_up() {
    let api = Api::new().await;
    api.database.consumed();
    api.post(PORTKEY, vote(json!({}))).await.ok();
    let mut expected = units(&BARE);
    expected.insert("read api-keys".into(), 1.0);
    assert_eq!(api.database.consumed(), expected);
}

#[tokio::test]
async fn updates_and_deletes_write_the_same_table_and_indexes() {
    let api = warm().await;
    let by_id = ("read feedback/by-time", 0.5);
    let id = api.post(PORTKEY, vote(json!({"_user": "u"}))).await.ok().id();
    let all = [&BARE[..], &[("write feedback/by-user", 1.0)]].concat();
    assert_eq!(api.database.consumed(), units(&all));

    api.put(&format!("{PORTKEY}/{id}"), json!({"value": 2}))
        .await
        .ok();
    assert_eq!(api.database.consumed(), units(&[&all[..], &[by_id]].concat()));

    api.delete(&format!("{PORTKEY}/{id}")).await.ok();
    assert_eq!(api.database.consumed(), units(&[&all[..], &[by_id]].concat()));

    // Naming the target saves the look-up.
    let rating = json!({"target": {"traceId": "t", "spanId": "s"}, "rating": 3});
    let id = api.post(TRUEFOUNDRY, rating.clone()).await.ok().id();
    assert_eq!(api.database.consumed(), units(&BARE));
    api.put(&format!("{TRUEFOUNDRY}/{id}"), rating).await.ok();
    assert_eq!(api.database.consumed(), units(&BARE));
}

#[tokio::test]
async fn a_transaction_writes_twice() {
    let api = warm().await;
    let body = vote(json!({})).to_string();
    let headers = [("idempotency-key", "once")];
    api.call(Method::POST, PORTKEY, &headers, &body).await.ok();
    let twice = [
        ("write feedback", 2.0),
        ("write feedback/by-time", 1.0),
        ("write feedback/by-trace", 1.0),
        ("write idempotency", 2.0),
    ];
    assert_eq!(api.database.consumed(), units(&twice));

    api.post(PORTKEY, json!([vote(json!({})), vote(json!({}))]))
        .await
        .ok();
    let bulk = [
        ("write feedback", 4.0),
        ("write feedback/by-time", 2.0),
        ("write feedback/by-trace", 2.0),
    ];
    assert_eq!(api.database.consumed(), units(&bulk));
}

#[tokio::test]
async fn a_read_reads_one_place() {
    let api = warm().await;
    let id = api.post(PORTKEY, vote(json!({}))).await.ok().id();
    api.database.consumed();
    api.get(&format!("{PORTKEY}/{id}")).await.ok();
    // The index for the partition, then the record itself, consistently.
    assert_eq!(
        api.database.consumed(),
        units(&[("read feedback", 1.0), ("read feedback/by-time", 0.5)])
    );
    let path = format!("{PORTKEY}?trace_id=019ab2a96d50707fa3090c1b7201d5bd");
    api.get(&path).await.ok();
    // The page and the trace's summary.
    assert_eq!(api.database.consumed(), units(&[("read feedback/by-trace", 1.0)]));
}

/// A record that is erased costs its writes as any delete does, and nothing else by itself: reading a hundred of them
/// from the index costs a query.
#[tokio::test]
async fn an_erased_record_costs_a_delete() {
    let api = warm().await;
    let votes: Vec<Value> = (0..10)
        .map(|_| vote(json!({"_user": "u", "_session": "s"})))
        .collect();
    api.post(PORTKEY, json!(votes)).await.ok();
    api.database.consumed();
    api.post("/v1/erasures", json!({"user": "u"})).await.ok();
    let deleted = [
        ("write feedback", 10.0),
        ("write feedback/by-time", 10.0),
        ("write feedback/by-trace", 10.0),
        ("write feedback/by-user", 10.0),
        ("write feedback/by-session", 10.0),
        ("read feedback/by-user", 0.5),
    ];
    assert_eq!(api.database.consumed(), units(&deleted));
}

/// The count that empties a user's or session's roll-up reads it first, and deletes it in the place of a write.
#[tokio::test]
async fn counting_a_deletion_marks_it_and_reads_the_roll_ups_of_user_and_session() {
    let api = warm().await;
    let id = api
        .post(PORTKEY, vote(json!({"_user": "u", "_session": "s"})))
        .await
        .ok()
        .id();
    api.count().await;
    api.delete(&format!("{PORTKEY}/{id}")).await.ok();
    let changes = api.changes().await.split_off(1);
    let records = serde_json::from_value(json!(changes)).unwrap();
    api.database.requests();
    let shard = "shardId-00000001-feedback";
    api.counter().count(shard, records).await.unwrap();
    let requests = api.database.requests();
    let operations: Vec<&str> = requests.iter().map(|(operation, _)| operation.as_str()).collect();
    // The checkpoint and the generations, the marker of the deletion, and the two roll-ups; then seven items.
    assert_eq!(
        operations,
        [
            "GetItem",
            "GetItem",
            "TransactWriteItems",
            "GetItem",
            "GetItem",
            "TransactWriteItems"
        ]
    );
    assert_eq!(requests[2].1["TransactItems"].as_array().unwrap().len(), 1);
    let kinds: Vec<&String> = requests[5].1["TransactItems"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|action| action.as_object().unwrap().keys())
        .collect();
    let deletes = kinds.iter().filter(|kind| **kind == "Delete").count();
    assert_eq!((kinds.len(), deletes), (7, 2));
}
