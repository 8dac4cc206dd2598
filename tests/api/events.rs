//! Events: what each change becomes, and that their fold is what is there, whatever goes wrong.
//!
//! Each event of each test is held to docs/schemas/feedback-event.schema.json, by the bus that takes it.

mod bridge;
mod changes;
mod delivery;
mod destinations;

mod sending;
mod sizes;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jsonschema::{Draft, Validator};
use publish::event_bridge::EventBridge;
use publish::publisher::{Outcome, Publisher};
use serde_json::{Value, json};
use shared::problem::Problem;
use shared::tables::STATS;

pub(crate) use bridge::{Bridge, Trouble};

use crate::harness::Api;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../docs/schemas/feedback-event.schema.json")).unwrap()
});

/// Checks an event against the schema.
#[track_caller]
pub(crate) fn check(event: &Value) {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .build(&SCHEMA)
            .unwrap()
    });
    let faults: Vec<String> = VALIDATOR
        .iter_errors(event)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(
        faults.is_empty(),
        "not as the schema says: {faults:#?}\n{event:#}"
    );
}

/// A publisher of a deployment's changes to this bus.
pub(crate) fn publisher(api: &Api, bridge: &Bridge) -> Publisher<EventBridge> {
    Publisher::new(bridge.bus(), api.client.clone(), api.table(&STATS))
}

/// Publishes changes as Lambda would have it done.
pub(crate) async fn publish(api: &Api, bridge: &Bridge, changes: &[Value]) -> Result<Outcome, Problem> {
    let event = serde_json::from_value(json!({"Records": changes, "shardId": "s", "state": {}})).unwrap();
    publish::handle(&publisher(api, bridge), event).await
}

/// What is there by the events alone: of each id the one with the highest version, and a deletion is final. Events of
/// one version must say the same.
fn fold<'e>(events: impl IntoIterator<Item = &'e Value>) -> BTreeMap<String, Value> {
    let mut newest: BTreeMap<String, (u64, Value)> = BTreeMap::new();
    let mut deleted: BTreeMap<String, u64> = BTreeMap::new();
    for event in events {
        let detail = &event["detail"];
        let id = detail["id"].as_str().unwrap().to_owned();
        let version = detail["version"].as_u64().unwrap();
        if event["detail-type"] == "Feedback Deleted" {
            let before = deleted.insert(id.clone(), version);
            assert!(
                before.is_none_or(|before| before == version),
                "{id} is deleted twice"
            );
        }
        let after = detail["after"].clone();
        match newest.get(&id) {
            Some((there, said)) if *there == version => assert_eq!(*said, after, "{id} at version {version}"),
            Some((there, _)) if *there > version => {}
            _ => drop(newest.insert(id, (version, after))),
        }
    }
    for (id, version) in deleted {
        let (newest, _) = newest.remove(&id).unwrap();
        assert_eq!(newest, version, "{id} was changed after it was deleted");
    }
    newest
        .into_iter()
        .map(|(id, (_, after))| {
            assert!(after.is_object(), "{id} was left out of its event");
            (id, after)
        })
        .collect()
}

/// The records of the schema are those of the API.
#[test]
fn the_schema_s_record_is_that_of_the_api() {
    let api: Value = serde_json::from_str(read::SPECIFICATION).unwrap();
    let mut shared = 0;
    for (name, schema) in SCHEMA["$defs"].as_object().unwrap() {
        if ["Created", "Updated", "Deleted", "EventTarget"].contains(&name.as_str()) {
            continue;
        }
        let expected = api["components"]["schemas"][name].to_string();
        let expected: Value =
            serde_json::from_str(&expected.replace("#/components/schemas/", "#/$defs/")).unwrap();
        assert_eq!(*schema, expected, "{name}");
        shared += 1;
    }
    assert!(shared > 10);
}

/// It refuses what an event must not hold.
#[test]
fn the_schema_refuses_what_is_no_event() {
    let event = json!({
        "version": "0", "id": "i", "detail-type": "Feedback Deleted", "source": "hindsight",
        "account": "123456789012", "time": "2026-11-21T06:00:00Z", "region": "us-east-1", "resources": [],
        "detail": {
            "workspace": "acme", "id": "019ab2a9-6d50-707f-a309-0c1b7201d5bd", "version": 3,
            "target": {"trace_id": "t"}, "stream_event_id": "e",
        },
    });
    check(&event);
    for (pointer, value) in [
        ("/source", json!("aws.events")),
        ("/detail-type", json!("Feedback Gone")),
        ("/detail-type", json!("Feedback Created")),
        ("/detail/before", json!({})),
        ("/detail/after_omitted", json!(true)),
        ("/detail/reason", json!("erased")),
        ("/detail/user", json!("ada")),
        ("/detail/target/user", json!("ada")),
    ] {
        let mut other = event.clone();
        let (above, name) = pointer.rsplit_once('/').unwrap();
        other.pointer_mut(above).unwrap()[name] = value;
        let refused = std::panic::catch_unwind(|| check(&other));
        assert!(refused.is_err(), "{pointer}");
    }
}
