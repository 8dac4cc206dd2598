//! An event's size, to the byte.

use shared::events::entry::{Entry, MAX_BYTES};
use shared::events::{Event, What};
use shared::feedback::{Draft, Feedback};
use shared::id::{FeedbackId, Workspace};
use shared::metadata::Comment;
use shared::reasons::Reasons;
use shared::score::{Rating, Score};
use shared::target::{Target, TraceId};
use shared::timestamp::Timestamp;

use super::*;

/// A record with a comment of so many bytes.
fn record(comment: usize, version: u64) -> Box<Feedback> {
    let now = Timestamp::parse("2026-11-21T06:00:00Z").unwrap();
    Box::new(Feedback {
        workspace: Workspace::parse("acme").unwrap(),
        id: FeedbackId::mint(now, 0, [7; 10]),
        draft: Draft {
            target: Target::Trace(TraceId::parse("t").unwrap()),
            project: None,
            score: Score::Rating(Rating::MAX),
            comment: Some(Comment::from_stored("x".repeat(comment))),
            reasons: Reasons::default(),
            metadata: None,
            person: None,
        },
        written_by: None,
        updated_at: now,
        version,
        expires_at: None,
    })
}

fn entry(what: What) -> (Entry, Value) {
    let entry = Entry::of(&Event {
        stream_event_id: "e".to_owned(),
        happened_at: Timestamp::parse("2026-11-21T06:00:00Z").unwrap(),
        what,
    });
    let detail: Value = serde_json::from_str(&entry.detail).unwrap();
    // No comment that the API takes is as long.
    let mut shortened = detail.clone();
    for name in ["before", "after"] {
        if shortened[name].is_object() {
            shortened[name]["comment"] = json!("short");
        }
    }
    check(&json!({
        "version": "0", "id": "i", "detail-type": entry.kind.detail_type(), "source": "hindsight",
        "account": "123456789012", "time": "2026-11-21T06:00:00Z", "region": "us-east-1", "resources": [],
        "detail": shortened,
    }));
    (entry, detail)
}

#[test]
fn the_record_before_is_left_out_first_and_then_the_record_to_the_byte() {
    let created = |comment| entry(What::Created(record(comment, 1)));
    let (empty, _) = created(0);
    // EventBridge's own formula (eb-putevent-size.html).
    assert_eq!(
        empty.size(),
        14 + "hindsight".len() + "Feedback Created".len() + empty.detail.len()
    );
    let room = MAX_BYTES - empty.size();
    let (fits, detail) = created(room);
    assert_eq!(fits.size(), MAX_BYTES);
    assert_eq!(detail["after"]["comment"].as_str().unwrap().len(), room);
    assert!(detail["after_omitted"].is_null());
    let (reduced, detail) = created(room + 1);
    assert!(reduced.size() < 1_000);
    assert_eq!(
        (&detail["after"], &detail["after_omitted"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(
        (&detail["version"], &detail["target"]["trace_id"]),
        (&json!(1), &json!("t"))
    );

    let updated = |before, after| {
        entry(What::Updated {
            before: Some(record(before, 1)),
            after: record(after, 2),
        })
    };
    let (empty, _) = updated(0, 0);
    let room = MAX_BYTES - empty.size();
    let omitted = |detail: &Value| {
        ["before", "after"].map(|name| {
            let is_omitted = detail[format!("{name}_omitted")] == true;
            assert_eq!(detail[name].is_null(), is_omitted);
            is_omitted
        })
    };
    let (fits, detail) = updated(room - 5_000, 5_000);
    assert_eq!((fits.size(), omitted(&detail)), (MAX_BYTES, [false, false]));
    let (_, detail) = updated(room - 5_000 + 1, 5_000);
    assert_eq!(omitted(&detail), [true, false]);
    // What a comment costs in UTF-8 counts, not its characters.
    let (alone, _) = updated(MAX_BYTES, 0);
    let room = MAX_BYTES - alone.size();
    let (fits, detail) = updated(MAX_BYTES, room);
    assert_eq!((fits.size(), omitted(&detail)), (MAX_BYTES, [true, false]));
    let (_, detail) = updated(MAX_BYTES, room + 1);
    assert_eq!(omitted(&detail), [true, true]);
    let (_, detail) = updated(0, MAX_BYTES);
    assert_eq!(omitted(&detail), [true, true]);
    let mut wide = record(0, 1);
    wide.draft.comment = Some(Comment::from_stored("\u{20ac}".repeat(MAX_BYTES / 3)));
    let (reduced, _) = entry(What::Created(wide));
    assert!(reduced.size() < 1_000);
}

/// What the API takes always fits: metadata of 64 KiB and a comment of 16 KiB, twice.
#[tokio::test]
async fn a_record_at_the_limits_of_the_api_is_sent_whole() {
    let api = Api::new().await;
    let bridge = Bridge::default();
    let metadata = json!({"_user": "u", "text": "x".repeat(65_000)});
    let body = json!({"trace_id": "t", "value": 1, "comment": "y".repeat(16_000), "metadata": metadata});
    let id = api.post("/v1/feedback", body).await.ok().id();
    api.put(&format!("/v1/feedback/{id}"), json!({"value": 2}))
        .await
        .ok();
    let changes = api.changes().await;
    publish(&api, &bridge, &changes).await.unwrap();
    let events = bridge.events();
    assert_eq!(
        events[1]["detail"]["before"]["comment"],
        events[1]["detail"]["after"]["comment"]
    );
    assert_eq!(
        fold(&events),
        BTreeMap::from([(id.clone(), api.record(&id).await)])
    );

    // Requests are filled by size as by number: the two are 81 and 162 KB.
    let many: Vec<Value> = (0..3).flat_map(|_| changes.clone()).collect();
    bridge.requests();
    publish(&api, &bridge, &many).await.unwrap();
    assert_eq!(bridge.requests(), [2, 2, 2]);
    let twelve: Vec<Value> = (0..12).map(|_| changes[0].clone()).collect();
    publish(&api, &bridge, &twelve).await.unwrap();
    assert_eq!(bridge.requests(), [3, 3, 3, 3]);
    let small = api.vote(1, json!({})).await;
    let change = api.changes().await.pop().unwrap();
    bridge.events();
    publish(&api, &bridge, &vec![change; 25]).await.unwrap();
    assert_eq!(bridge.requests(), [10, 10, 5]);
    assert_eq!(fold(&bridge.events()).into_keys().collect::<Vec<_>>(), [small]);
}
