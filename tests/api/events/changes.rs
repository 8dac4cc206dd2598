//! What each kind of change becomes.

use std::time::Duration;

use lambda_http::http::Method;
use shared::config::Config;
use shared::stats::rebuild::Rebuild;
use shared::tables::FEEDBACK;

use super::*;
use crate::erasure::erase;
use crate::harness::{PORTKEY, TRUEFOUNDRY};
use crate::upsert::UPSERT;

/// A deployment with a bus, whose changes are published one step at a time.
struct Published {
    api: Api,
    bridge: Bridge,
    /// How many changes were published.
    seen: usize,
}

impl Published {
    async fn new() -> Self {
        // As long as a test may take.
        let config = Config::embedded()
            .unwrap()
            .with_retention(Some(Duration::from_secs(86_400)));
        Self {
            api: Api::with(config).await,
            bridge: Bridge::default(),
            seen: 0,
        }
    }

    /// Publishes what has changed since the last call, and returns the events: their type and detail.
    async fn events(&mut self) -> Vec<(String, Value)> {
        let changes = self.api.changes().await.split_off(self.seen);
        self.seen += changes.len();
        let outcome = publish(&self.api, &self.bridge, &changes).await.unwrap();
        assert_eq!(outcome.parked, []);
        let events = self.bridge.events();
        assert_eq!(outcome.sent, events.len());
        for event in &events {
            let time = event["time"].as_str().unwrap();
            assert_eq!(time.len(), "2026-11-21T06:00:00Z".len());
        }
        let ids: Vec<&Value> = changes.iter().map(|change| &change["eventID"]).collect();
        let parts = events.into_iter().map(|mut event| {
            let kind = event["detail-type"].as_str().unwrap().replace("Feedback ", "");
            let mut detail = event["detail"].take();
            let id = detail.as_object_mut().unwrap().remove("stream_event_id").unwrap();
            assert!(ids.contains(&&id), "{id} is of no change");
            (kind, detail)
        });
        parts.collect()
    }

    async fn one(&mut self) -> (String, Value) {
        let mut events = self.events().await;
        assert_eq!(events.len(), 1, "{events:#?}");
        events.remove(0)
    }

    async fn upsert(&self, value: i64) -> String {
        let body = json!({"trace_id": "t", "value": value, "metadata": {"_user": "ada"}}).to_string();
        self.api
            .call(Method::POST, PORTKEY, &[UPSERT], &body)
            .await
            .ok()
            .id()
    }

    async fn record(&self, id: &str) -> Value {
        self.api.record(id).await
    }
}

fn event(kind: &str, detail: Value) -> (String, Value) {
    (kind.to_owned(), detail)
}

#[tokio::test]
async fn a_record_s_life_is_its_events_in_either_dialect() {
    let mut published = Published::new().await;
    let metadata = r#"{"_user":"ada","n":1.50,"n":[1.0]}"#;
    let body =
        format!(r#"{{"trace_id":"a#b","value":-1,"weight":0.5,"comment":"no","metadata":{metadata}}}"#);
    let created = published.api.call(Method::POST, PORTKEY, &[], &body).await.ok();
    let id = created.id();
    let path = format!("{PORTKEY}/{id}");
    let first = published.api.get(&path).await.ok();
    let target = json!({"trace_id": "a#b"});
    let changes = published.api.changes().await;
    let outcome = publish(&published.api, &published.bridge, &changes)
        .await
        .unwrap();
    published.seen = changes.len();
    assert_eq!((outcome.sent, published.bridge.events().len()), (1, 1));
    // To the letter: the text of the record is that of the answer.
    let record: shared::stats::change::StreamRecord = serde_json::from_value(changes[0].clone()).unwrap();
    let events = shared::events::of(&record).unwrap();
    let entry = shared::events::entry::Entry::of(&events[0]);
    assert!(
        entry.detail.contains(&format!(r#""after":{}"#, first.text)),
        "{}",
        entry.detail
    );
    assert!(entry.detail.contains(metadata));

    published
        .api
        .put(&path, json!({"value": 2, "metadata": {"_user": "bob"}}))
        .await
        .ok();
    let before = published.record(&id).await;
    published.events().await;
    published.api.put(&path, json!({"value": 2})).await.ok();
    let after = published.record(&id).await;
    let expected = json!({
        "workspace": "test", "id": id, "version": 3, "target": target, "before": before, "after": after,
    });
    assert_eq!(published.one().await, event("Updated", expected));

    published.api.delete(&path).await.ok();
    let expected = json!({"workspace": "test", "id": id, "version": 4, "target": target});
    assert_eq!(published.one().await, event("Deleted", expected));

    let target = json!({"traceId": "t", "spanId": "s", "tracingProjectFQN": "org:p"});
    let rated = json!({"target": target, "rating": 4});
    let rated = published.api.post(TRUEFOUNDRY, rated).await.ok().id();
    let id = format!(
        "{}-{}-{}-{}-{}",
        &rated[..8],
        &rated[8..12],
        &rated[12..16],
        &rated[16..20],
        &rated[20..]
    );
    let target = json!({"trace_id": "t", "span_id": "s", "tracing_project_fqn": "org:p"});
    let after = published.record(&id).await;
    let expected = json!({"workspace": "test", "id": id, "version": 1, "target": target, "after": after});
    assert_eq!(published.one().await, event("Created", expected));
    published.api.delete(&format!("{TRUEFOUNDRY}/{rated}")).await.ok();
    let expected = json!({"workspace": "test", "id": id, "version": 2, "target": target});
    assert_eq!(published.one().await, event("Deleted", expected));

    // Of a bulk, each is one.
    let vote = json!({"trace_id": "t", "value": 1});
    published.api.post(PORTKEY, json!([vote, vote, vote])).await.ok();
    assert_eq!(published.events().await.len(), 3);
}

#[tokio::test]
async fn what_only_a_rebuild_touched_is_no_event() {
    let mut published = Published::new().await;
    let id = published.upsert(1).await;
    published.api.vote(1, json!({"_user": "bob"})).await;
    assert_eq!(published.events().await.len(), 2);
    crate::counting::unindex(&published.api, shared::indexed::Field::User);
    let api = &published.api;
    let rebuild = Rebuild::new(api.client.clone(), api.table(&FEEDBACK), api.table(&STATS));
    let generation = rebuild.begin(Duration::ZERO).await.unwrap();
    rebuild.touch(generation, |_| {}).await.unwrap();
    assert!(published.api.changes().await.len() >= published.seen + 2);
    assert_eq!(published.events().await, []);
    // A touched record changes as any other.
    published.upsert(-1).await;
    let (kind, detail) = published.one().await;
    assert_eq!(
        (kind.as_str(), &detail["id"], &detail["version"]),
        ("Updated", &json!(id), &json!(2))
    );
}

#[tokio::test]
async fn a_vote_that_ends_and_one_that_begins_in_its_place_are_two_events() {
    let mut published = Published::new().await;
    let old = published.upsert(1).await;
    published.upsert(2).await;
    published.events().await;
    let item = published.api.database.items("feedback").remove(0);
    published.api.database.expire("feedback", &item);
    // Until it is deleted or replaced, nothing is said.
    assert_eq!(published.events().await, []);
    let new = published.upsert(3).await;
    assert_ne!(old, new);
    let target = json!({"trace_id": "t"});
    let expected = [
        event(
            "Deleted",
            json!({"workspace": "test", "id": old, "version": 3, "target": target, "reason": "expired"}),
        ),
        event(
            "Created",
            json!({
                "workspace": "test", "id": new, "version": 1, "target": target, "after": published.record(&new).await,
            }),
        ),
    ];
    assert_eq!(published.events().await, expected);
    // One that is deleted does not come back: the next one is another.
    published.api.delete(&format!("{PORTKEY}/{new}")).await.ok();
    let (_, detail) = published.one().await;
    assert_eq!((&detail["version"], &detail["reason"]), (&json!(2), &Value::Null));
    let third = published.upsert(3).await;
    assert!(third != new && third != old);
    assert_eq!(published.one().await.0, "Created");
}

#[tokio::test]
async fn an_expired_record_is_deleted_with_the_reason() {
    let mut published = Published::new().await;
    let id = published.api.vote(1, json!({"_user": "ada"})).await;
    published.events().await;
    let item = published.api.database.items("feedback").remove(0);
    published.api.database.expire("feedback", &item);
    assert_eq!(published.api.database.sweep(), 1);
    let target = json!({"trace_id": "t"});
    let expected =
        json!({"workspace": "test", "id": id, "version": 2, "target": target, "reason": "expired"});
    assert_eq!(published.one().await, event("Deleted", expected));
}

/// By DynamoDB's word alone, in the names of Lambda and of the API. Nobody else's deletion is an expiry, and no other
/// service's (docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html).
#[tokio::test]
async fn an_expiry_is_told_by_who_deleted() {
    let mut published = Published::new().await;
    let id = published.api.vote(1, json!({})).await;
    published.api.delete(&format!("{PORTKEY}/{id}")).await.ok();
    let deletion = published.api.changes().await.pop().unwrap();
    for (principal, is_expired) in [
        (
            json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"}),
            true,
        ),
        (
            json!({"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}),
            true,
        ),
        (
            json!({"type": "Service", "principalId": "replication.dynamodb.amazonaws.com"}),
            false,
        ),
        (
            json!({"type": "User", "principalId": "dynamodb.amazonaws.com"}),
            false,
        ),
        (Value::Null, false),
    ] {
        let mut change = deletion.clone();
        change["userIdentity"] = principal.clone();
        publish(&published.api, &published.bridge, &[change])
            .await
            .unwrap();
        let events = published.bridge.events();
        assert_eq!(
            events[0]["detail"]["reason"] == "expired",
            is_expired,
            "{principal}"
        );
    }
    published.seen = 2;
    assert_eq!(published.events().await, []);
}

#[tokio::test]
async fn an_erasure_is_deletions_that_hold_nothing_of_the_user() {
    let mut published = Published::new().await;
    for value in [1, 2] {
        let metadata = json!({"_user": "canary-ada", "note": "canary"});
        let body = json!({"trace_id": "t", "value": value, "comment": "canary", "metadata": metadata});
        published.api.post(PORTKEY, body.clone()).await.ok();
        published
            .api
            .call(Method::POST, PORTKEY, &[UPSERT], &body.to_string())
            .await
            .ok();
    }
    let before = published.events().await;
    assert_eq!(before.len(), 4);
    published.api.count().await;
    erase(&published.api, "canary-ada").await;
    let deleted = published.events().await;
    assert_eq!(deleted.len(), 3);
    for (kind, detail) in &deleted {
        assert_eq!(kind, "Deleted");
        assert!(!detail.to_string().contains("canary"), "{detail}");
    }
}
