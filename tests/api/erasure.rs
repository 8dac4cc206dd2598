//! Erasing a user: what is left of it anywhere, whatever goes on meanwhile, and what must stay.

mod beside;
mod load;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::access::registry::Registry;
use shared::access::{Scope, Upserts};
use shared::erasure::{BACKUP_RETENTION, STREAM_RETENTION};
use shared::id::Workspace;
use shared::stats::change::StreamRecord;
use shared::stats::rebuild::Rebuild;
use shared::tables::{self, FEEDBACK, STATS};
use shared::timestamp::Timestamp;

use crate::analytics::{ask, wide};
use crate::counting::{
    assert_no_name_outlives_its_feedback, become_newer, begin_in_schema, compared, rebuilt, verified,
};
use crate::harness::{Answer, Api, Fault, PORTKEY, TRUEFOUNDRY, Time};
use crate::template::{resources, template};
use crate::vote::signing_key;

/// The route.
pub(crate) const ERASURES: &str = "/v1/erasures";

/// A deployment whose clock is behind the machine's, whose time the stream has.
async fn behind() -> Api {
    let api = Api::new().await;
    api.time
        .set(Timestamp::from_millis(Time::start().now().millis() - 3_000_000));
    api
}

/// One step.
pub(crate) async fn step(api: &Api, user: &str, cursor: &Value) -> Answer {
    api.post(ERASURES, json!({"user": user, "cursor": cursor})).await
}

/// Erases a user, while time passes and changes are counted. Returns the last answer.
pub(crate) async fn erase(api: &Api, user: &str) -> Value {
    let mut cursor = Value::Null;
    for _ in 0..500 {
        let answer = step(api, user, &cursor).await.ok().json();
        if answer["status"] == "done" {
            assert_eq!(answer["cursor"], Value::Null);
            return answer;
        }
        cursor = answer["cursor"].clone();
        api.time.forward(Duration::from_secs(2));
        api.count().await;
    }
    panic!("the erasure does not end");
}

/// Every text in an item: names and strings, and bytes as text.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            found.push(text.clone());
            // Bytes are in base64.
            if let Ok(bytes) = STANDARD.decode(text) {
                found.push(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        Value::Array(all) => all.iter().for_each(|one| texts(one, found)),
        Value::Object(members) => {
            for (name, value) in members {
                found.push(name.clone());
                texts(value, found);
            }
        }
        _ => {}
    }
}

/// The items of all tables that hold a name, plainly, in JSON, or escaped as in a key.
fn naming(api: &Api, name: &str) -> Vec<Value> {
    let quoted = json!(name).to_string();
    let ascii: String = name
        .encode_utf16()
        .map(|unit| match unit {
            0x20..0x7f => char::from_u32(unit.into()).unwrap().to_string(),
            unit => format!("\\u{unit:04x}"),
        })
        .collect();
    let forms = [
        name.to_owned(),
        quoted[1..quoted.len() - 1].to_owned(),
        ascii,
        name.replace('%', "%25").replace('#', "%23"),
    ];
    let names = |item: &Value| {
        let mut found = Vec::new();
        texts(item, &mut found);
        found
            .iter()
            .any(|text| forms.iter().any(|form| text.contains(form.as_str())))
    };
    let mut items = Vec::new();
    for table in tables::ALL {
        items.extend(
            api.database
                .items_of_all_pages(table.name)
                .into_iter()
                .filter(names),
        );
    }
    items
}

/// Checks that neither lists nor analytics nor any item know a user.
async fn assert_unknown(api: &Api, user: &str) {
    let encoded: String = form(user);
    let list = api.get(&format!("{PORTKEY}?user={encoded}")).await.ok();
    assert!(list.ids().is_empty());
    let filter = form(&json!({"_user": user}).to_string());
    let graph = ask(api, "graphs/feedbacks", &format!("{}&metadata={filter}", wide())).await;
    assert_eq!(graph["summary"]["total"], 0);
    let groups = ask(api, "groups/metadata/_user", &wide()).await;
    let is_user = |group: &Value| group["metadata_value"] == user;
    assert!(!groups["data"].as_array().unwrap().iter().any(is_user));
    let left = naming(api, user);
    assert!(left.is_empty(), "{left:#?}");
}

/// Percent-encodes all but letters and digits.
fn form(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Writes by every way in for a user, each with an idempotency key that holds the name.
async fn write(api: &Api, user: &str) {
    let metadata = json!({
        "_user": user, "_session": "s", "_prompt": "p", "_organisation": "o", "_environment": "e", "_name": "q",
    });
    let mut serial = 0;
    let mut keyed = async |api: &Api, method: Method, path: &str, upsert: bool, body: &Value| {
        serial += 1;
        let key = format!("{user}-{serial}");
        let mut headers = vec![("idempotency-key", key.as_str())];
        if upsert {
            headers.push(("x-hindsight-upsert", "user"));
        }
        api.call(method, path, &headers, &body.to_string()).await.ok()
    };
    let vote = json!({"trace_id": "t", "value": 1, "metadata": metadata, "reasons": ["wrong"]});
    let rating = json!({
        "target": {"traceId": "t", "spanId": "s"}, "rating": 2, "comment": "hm", "metadata": metadata,
    });
    keyed(api, Method::POST, PORTKEY, false, &vote).await;
    keyed(api, Method::POST, PORTKEY, true, &vote).await;
    keyed(api, Method::POST, PORTKEY, true, &vote).await;
    keyed(api, Method::POST, PORTKEY, false, &json!([vote, vote, vote])).await;
    keyed(api, Method::POST, TRUEFOUNDRY, false, &rating).await;
    keyed(api, Method::POST, TRUEFOUNDRY, true, &rating).await;
    // Changed, to and from another user, and deleted.
    let id = keyed(api, Method::POST, PORTKEY, false, &vote).await.id();
    let path = format!("{PORTKEY}/{id}");
    keyed(api, Method::PUT, &path, false, &json!({"value": -3})).await;
    let bobs = json!({"value": 2, "metadata": {"_user": "bob"}});
    keyed(api, Method::PUT, &path, false, &bobs).await;
    let id = api.vote(3, json!({"_user": "bob"})).await;
    let path = format!("{PORTKEY}/{id}");
    keyed(
        api,
        Method::PUT,
        &path,
        false,
        &json!({"value": 4, "metadata": metadata}),
    )
    .await;
    let id = keyed(api, Method::POST, PORTKEY, false, &vote).await.id();
    let path = format!("{PORTKEY}/{id}");
    keyed(api, Method::DELETE, &path, false, &Value::Null).await;
    // By a key whose creates are upserts, under another field.
    let (key, mut record) = Registry::mint(
        Workspace::parse("test").unwrap(),
        "upserts".into(),
        vec![Scope::Write],
        None,
        api.time.now(),
    )
    .unwrap();
    record.upserts = Some(Upserts {
        user_field: Some("user_id".into()),
    });
    api.registry.insert(&record).await.unwrap();
    let mut upserted = vote.clone();
    upserted["metadata"] = json!({"user_id": user});
    api.as_key(&key.reveal()).post(PORTKEY, upserted).await.ok();
    // From a page.
    let (pair, id) = signing_key(api, "test").await;
    let now = api.time.now().seconds();
    let claims = json!({"aud": "test", "sub": user, "trace": "page", "iat": now, "exp": now + 3600});
    let bearer = format!("Bearer {}", pair.sign(&id, &claims.to_string()));
    let headers = [("authorization", bearer.as_str())];
    api.raw(Method::PUT, "/v1/vote", &headers, r#"{"value": 1}"#)
        .await
        .ok();
}

/// Names that could be taken for another, or not be found where they are.
const NAMES: [&str; 4] = ["erin-9f", "a#b%23", "Zoë \"7\" \\ 😀", "%25#"];

#[tokio::test]
async fn nothing_is_left_of_an_erased_user() {
    for name in NAMES {
        let api = behind().await;
        write(&api, name).await;
        api.count().await;
        write(&api, "bob").await;
        // Some of it expired, and not deleted yet.
        let expired = api.vote(1, json!({"_user": name})).await;
        let is_it = |item: &&Value| item["id"]["S"] == expired.as_str();
        let item = api
            .database
            .items("feedback")
            .iter()
            .find(is_it)
            .cloned()
            .unwrap();
        api.database.expire("feedback", &item);
        assert!(naming(&api, name).len() > 10);
        // The idempotency keys are not there to be erased.
        assert!(api.database.items("idempotency").len() > 10);
        let bobs = api
            .get(&format!("{PORTKEY}?user=bob&limit=100"))
            .await
            .ok()
            .json()["data"]
            .clone();

        let answer = erase(&api, name).await;
        assert_eq!(answer["deleted"]["records"], 11);
        assert_eq!(answer["deleted"]["parked"], 0);
        assert_unknown(&api, name).await;
        assert_eq!(verified(&api).await, Ok(()));
        let after = api
            .get(&format!("{PORTKEY}?user=bob&limit=100"))
            .await
            .ok()
            .json()["data"]
            .clone();
        assert_eq!(after, bobs);
        // Again there is nothing to do, and later votes are new.
        assert_eq!(erase(&api, name).await["deleted"]["records"], 0);
        api.vote(1, json!({"_user": name})).await;
        api.count().await;
        let list = api.get(&format!("{PORTKEY}?user={}", form(name))).await.ok();
        assert_eq!(list.ids().len(), 1);
        assert_eq!(verified(&api).await, Ok(()));
    }
}

#[tokio::test]
async fn other_users_and_workspaces_keep_everything() {
    let api = behind().await;
    let theirs = api.as_key(&api.key_for("other", &[Scope::Admin]).await);
    let names = [
        "ada", "ada2", "ad", "ada#", "ada%", "ADA", "ada%23", "#ada", "test#ada",
    ];
    for name in names {
        write(&api, name).await;
        write(&theirs, name).await;
    }
    api.count().await;
    let kept = || {
        let is_ours = |item: &Value| {
            let text = |name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
            let rollup =
                text("pk").starts_with("test#user#") && text("sk").split_once('#').unwrap().1 == "ada";
            text("user_key") == "test#ada" || rollup
        };
        let all = [
            api.database.items_of_all_pages("feedback"),
            api.database.items_of_all_pages("stats"),
        ];
        let mut users: Vec<Value> = all.concat();
        users.retain(|item| {
            let pk = item["pk"]["S"].as_str().unwrap();
            (item["user_key"].is_object() || pk.contains("#user#")) && !is_ours(item)
        });
        users.sort_by_key(ToString::to_string);
        users
    };
    let before = kept();
    assert!(before.len() > 100);
    assert_eq!(erase(&api, "ada").await["deleted"]["records"], 10);
    assert_eq!(kept(), before);
    let ours = api.get(&format!("{PORTKEY}?user=ada")).await.ok();
    assert!(ours.ids().is_empty());
    let others = theirs.get(&format!("{PORTKEY}?user=ada&limit=100")).await.ok();
    // Votes from a page and by the upserting key are of the workspace `test`.
    assert_eq!(others.ids().len(), 8);
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn it_is_pending_until_the_deletions_are_counted() {
    // Counted before or not at all.
    for counted in [true, false] {
        let api = behind().await;
        for value in 0..5 {
            api.vote(value, json!({"_user": "erin-9f"})).await;
        }
        if counted {
            api.count().await;
        }
        let mut cursor = Value::Null;
        for _ in 0..40 {
            let answer = step(&api, "erin-9f", &cursor).await.ok().json();
            assert_eq!(answer["status"], "pending");
            assert_eq!(
                answer["deleted"],
                json!({"records": 5, "rollups": 0, "parked": 0})
            );
            cursor = answer["cursor"].clone();
            api.time.forward(Duration::from_secs(2));
        }
        assert_eq!(!naming(&api, "erin-9f").is_empty(), counted);
        api.count().await;
        let answer = step(&api, "erin-9f", &cursor).await.ok().json();
        assert_eq!(answer["status"], "done");
        assert_unknown(&api, "erin-9f").await;
    }
}

/// The workspace's counts are behind, though no roll-up of the user shows it.
#[tokio::test]
async fn it_waits_for_the_time_of_its_deletions() {
    let api = behind().await;
    let id = api.vote(1, json!({"_user": "bob"})).await;
    let mut changes: Vec<Value> = api.changes().await;
    api.vote(1, json!({"_user": "erin-9f"})).await;
    let deliver = async |seconds_ago: u64, changes: &mut Vec<Value>| {
        let moment = api.time.now().seconds() - seconds_ago;
        for change in changes.iter_mut() {
            change["dynamodb"]["ApproximateCreationDateTime"] = json!(moment);
        }
        let records: Vec<StreamRecord> = serde_json::from_value(json!(changes)).unwrap();
        api.counter().count("s", records).await.unwrap();
    };
    deliver(8, &mut changes).await;
    let mut cursor = Value::Null;
    for _ in 0..30 {
        let answer = step(&api, "erin-9f", &cursor).await.ok().json();
        assert_eq!(answer["status"], "pending");
        cursor = answer["cursor"].clone();
        api.time.forward(Duration::from_secs(2));
    }
    // A change that happened after the deletion is counted, as far as DynamoDB's clock can be told from ours.
    api.put(&format!("{PORTKEY}/{id}"), json!({"value": 2}))
        .await
        .ok();
    let mut changes = api.changes().await.split_off(3);
    deliver(0, &mut changes).await;
    assert_eq!(step(&api, "erin-9f", &cursor).await.ok().json()["status"], "done");
}

/// Whatever of a record's changes is counted when, the last leaves nothing.
#[tokio::test]
async fn changes_that_are_counted_late_bring_nothing_back() {
    let api = behind().await;
    let id = api
        .vote(1, json!({"_user": "erin-9f", "_session": "erin-9f"}))
        .await;
    api.put(&format!("{PORTKEY}/{id}"), json!({"value": 2}))
        .await
        .ok();
    // It ends although nothing was counted, as where another shard of the stream is far ahead.
    let ahead = json!([{"dynamodb": {
        "ApproximateCreationDateTime": Timestamp::now().seconds(), "SequenceNumber": "1",
        "NewImage": {"sk": {"S": "test#01a1fc4f-0bea-7000-a56b-2e4c3d84a974"}, "value": {"N": "1"}, "weight": {"S": "1"}},
    }}]);
    let ahead = serde_json::from_value(ahead).unwrap();
    api.counter().count("another", ahead).await.unwrap();
    let mut cursor = Value::Null;
    loop {
        let answer = step(&api, "erin-9f", &cursor).await.ok().json();
        if answer["status"] == "done" {
            break;
        }
        cursor = answer["cursor"].clone();
        api.time.forward(Duration::from_secs(5));
    }
    let changes = api.changes().await;
    assert_eq!(changes.len(), 3);
    for (place, change) in changes.iter().enumerate() {
        let record = serde_json::from_value(json!([change])).unwrap();
        api.counter().count("late", record).await.unwrap();
        assert_eq!(naming(&api, "erin-9f").is_empty(), place == 2, "{place}");
    }
}

/// Waits until an operation was called, whose first attempt is to fail: its retry comes later than whatever follows.
async fn once_called(api: &Api, operation: &'static str) {
    api.database.calls();
    api.database.fail_on(operation, [Fault::ServerError]);
    while !api.database.calls().iter().any(|call| call == operation) {
        tokio::task::yield_now().await;
    }
}

/// The count that empties a roll-up deletes it only if nothing was counted in it since it was read.
#[tokio::test(start_paused = true)]
async fn a_vote_that_is_counted_beside_the_last_deletion_is_not_lost() {
    let api = behind().await;
    let metadata = json!({"_user": "erin-9f", "_session": "s"});
    let id = api.vote(1, metadata.clone()).await;
    api.count().await;
    api.delete(&format!("{PORTKEY}/{id}")).await.ok();
    api.vote(2, metadata).await;
    let changes = api.changes().await;
    let one = |place: usize| serde_json::from_value(json!([changes[place]])).unwrap();
    let counter = api.counter();
    let late = async {
        once_called(&api, "TransactWriteItems").await;
        counter.count("another", one(2)).await.unwrap();
    };
    let (counted, ()) = tokio::join!(counter.count("one", one(1)), late);
    assert_eq!(counted.unwrap().counted, 1);
    assert_eq!(verified(&api).await, Ok(()));
    assert_no_name_outlives_its_feedback(&api);
}

/// An erasure deletes an empty roll-up only if nothing was counted in it since it was read.
#[tokio::test(start_paused = true)]
async fn a_vote_that_is_counted_beside_an_erasure_is_not_lost() {
    let api = behind().await;
    let id = api.vote(2, json!({"_user": "bob"})).await;
    api.count().await;
    // Emptied by older code, in the same day.
    let mut items = api.database.items("stats");
    items.retain(|item| item["pk"]["S"] == "test#user#hours");
    let sk = items[0]["sk"]["S"].as_str().unwrap().replace("bob", "erin-9f");
    let empty = json!({"pk": {"S": "test#user#hours"}, "sk": {"S": sk}, "schema": {"N": "2"}});
    api.database
        .direct("PutItem", json!({"TableName": "stats", "Item": empty}));
    let cursor = step(&api, "erin-9f", &Value::Null).await.ok().json()["cursor"].clone();
    // The record becomes hers when the last pass is over the records: her user's index entry is not seen yet.
    let metadata = json!({"value": 3, "metadata": {"_user": "erin-9f"}});
    api.put(&format!("{PORTKEY}/{id}"), metadata).await.ok();
    let change = api.changes().await.pop().unwrap();
    let record = serde_json::from_value(json!([change])).unwrap();
    api.time.forward(Duration::from_secs(31));
    let late = async {
        once_called(&api, "DeleteItem").await;
        api.counter().count("another", record).await.unwrap();
    };
    api.database.fail_on("Query", [Fault::IndexLags]);
    let (answer, ()) = tokio::join!(step(&api, "erin-9f", &cursor), late);
    let answer = answer.ok().json();
    assert_eq!(
        answer["deleted"],
        json!({"records": 0, "rollups": 0, "parked": 0})
    );
    assert_eq!(answer["status"], "pending");
    assert_eq!(verified(&api).await, Ok(()));
}

/// A parked change of several items of which another user's state stays.
#[tokio::test]
async fn a_large_parked_change_is_made_smaller() {
    let api = behind().await;
    let image = |user: &str| {
        json!({
            "pk": {"S": "t#"}, "sk": {"S": "test#01a1fc4f-0bea-7000-a56b-2e4c3d84a974"}, "schema": {"N": "9"},
            "user_key": {"S": format!("test#{user}")}, "later": {"S": "\u{20ac}".repeat(130 * 1024)},
        })
    };
    let change = json!([{"dynamodb": {
        "ApproximateCreationDateTime": 1_795_219_200, "SequenceNumber": "1",
        "OldImage": image("erin-9f"), "NewImage": image("bob"),
    }}]);
    let records: Vec<StreamRecord> = serde_json::from_value(change).unwrap();
    api.counter().count("s", records).await.unwrap();
    let parked = || {
        let mut items = api.database.items("stats");
        items.retain(|item| item["pk"]["S"] == "parked");
        items
    };
    assert_eq!(parked().len(), 3);
    assert_eq!(erase(&api, "erin-9f").await["deleted"]["parked"], 1);
    assert_eq!(parked().len(), 2);
    assert_unknown(&api, "erin-9f").await;
    // What is left is whole.
    let text: String = parked()
        .iter()
        .map(|item| item["change"]["S"].as_str().unwrap())
        .collect();
    let change: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(change["dynamodb"]["NewImage"], image("bob"));
    assert_eq!(change["dynamodb"]["OldImage"], Value::Null);
    assert_eq!(api.counter().count_parked().await.unwrap().left.len(), 1);
    assert_eq!(erase(&api, "bob").await["deleted"]["parked"], 1);
    assert!(parked().is_empty());
}

#[tokio::test]
async fn parked_changes_are_counted_as_far_as_they_can_be_read_and_removed() {
    for name in NAMES {
        let api = behind().await;
        let (ours, bobs) = (json!({"_user": name}), json!({"_user": "bob"}));
        let make_newer = |id: &str, metadata: &Value| {
            let is_it = |item: &&Value| item["id"]["S"] == id;
            let mut item = api
                .database
                .items("feedback")
                .iter()
                .find(is_it)
                .cloned()
                .unwrap();
            item["schema"] = json!({"N": "9"});
            item["metadata"] = json!({"S": metadata.to_string()});
            // A write that changes nothing is no change in the stream (docs.aws.amazon.com/amazondynamodb/latest/
            // developerguide/Streams.html).
            let writes = item["writes"]["N"]
                .as_str()
                .map_or(1, |writes| writes.parse::<u32>().unwrap() + 1);
            item["writes"] = json!({"N": writes.to_string()});
            // A newer version might keep the user elsewhere too.
            item["user_key"] = json!({"S": format!("test#{}", metadata["_user"].as_str().unwrap())});
            api.database
                .direct("PutItem", json!({"TableName": "feedback", "Item": item}));
        };
        // Created by newer code; updated by it; updated and given to another user; taken from one.
        let mut ids = Vec::new();
        for metadata in [&ours, &ours, &ours, &bobs] {
            ids.push(api.vote(3, metadata.clone()).await);
        }
        api.count().await;
        make_newer(&ids[0], &ours);
        api.count().await;
        make_newer(&ids[0], &ours);
        make_newer(&ids[1], &ours);
        make_newer(&ids[2], &bobs);
        make_newer(&ids[3], &ours);
        api.count().await;
        api.database.direct("DeleteItem", {
            let is_it = |item: &&Value| item["id"]["S"] == ids[1].as_str();
            let item = api
                .database
                .items("feedback")
                .iter()
                .find(is_it)
                .cloned()
                .unwrap();
            json!({"TableName": "feedback", "Key": {"pk": item["pk"], "sk": item["sk"]}})
        });
        api.count().await;
        let comparison = compared(&api).await;
        assert_eq!((comparison.parked.len(), comparison.agrees()), (6, true));

        let answer = erase(&api, name).await;
        // Those that were left, whose deletions were parked too.
        assert_eq!(answer["deleted"]["records"], 2);
        assert_eq!(answer["deleted"]["parked"], 8);
        assert_unknown(&api, name).await;
        let comparison = compared(&api).await;
        assert!(comparison.agrees(), "{comparison:#?}");
        // What another user has in one of them stays, to be counted by newer code.
        assert_eq!(comparison.parked.len(), 1);
        become_newer(&api);
        assert!(api.counter().count_parked().await.unwrap().left.is_empty());
        assert_eq!(verified(&api).await, Ok(()));
    }
}

/// A change that this code can read is counted, and then removed.
#[tokio::test]
async fn parked_changes_that_can_be_read_are_counted() {
    let api = behind().await;
    let id = api.vote(3, json!({"_user": "erin-9f"})).await;
    api.vote(3, json!({"_user": "bob"})).await;
    let mut item = api.database.items("feedback");
    item.retain(|item| item["id"]["S"] == id.as_str());
    item[0]["schema"] = json!({"N": "9"});
    api.count().await;
    api.database
        .direct("PutItem", json!({"TableName": "feedback", "Item": item[0]}));
    api.count().await;
    assert_eq!(compared(&api).await.parked.len(), 1);
    // It is put in the place of the record, which is another change.
    become_newer(&api);
    api.count().await;
    become_newer(&api);
    let answer = erase(&api, "erin-9f").await;
    assert_eq!(
        answer["deleted"],
        json!({"records": 1, "rollups": 0, "parked": 2})
    );
    assert_unknown(&api, "erin-9f").await;
    assert_eq!(verified(&api).await, Ok(()));
}

/// Roll-ups of older code, of older schema versions, and of generations whose deletion was interrupted.
#[tokio::test(start_paused = true)]
async fn roll_ups_of_every_generation_are_deleted() {
    for schema in 1..=shared::schema::STATS {
        let api = behind().await;
        begin_in_schema(&api, schema);
        write(&api, "erin-9f").await;
        write(&api, "bob").await;
        api.count().await;
        // Of years ago, emptied by older code.
        for (start, generation) in [(0, ""), (1_600_000_000_000_u64, ""), (1_799_000_000_000, "")] {
            let start = start - start % 86_400_000;
            for series in ["day", "hours"] {
                api.database.direct(
                    "PutItem",
                    json!({"TableName": "stats", "Item": {
                        "pk": {"S": format!("test#user#{series}{generation}")},
                        "sk": {"S": format!("{start:015}#erin-9f")},
                        "schema": {"N": "1"},
                    }}),
                );
            }
        }
        // Two rebuilds, the first of which did not delete what it replaced; a third is going on.
        let stale: Vec<Value> = api.database.items("stats");
        rebuilt(&api).await;
        rebuilt(&api).await;
        for item in stale
            .iter()
            .filter(|item| item["pk"]["S"].as_str().unwrap().contains("#user#"))
        {
            api.database
                .direct("PutItem", json!({"TableName": "stats", "Item": item}));
        }
        let rebuild = Rebuild::new(api.client.clone(), api.table(&FEEDBACK), api.table(&STATS));
        let generation = rebuild.begin(Duration::ZERO).await.unwrap();
        rebuild.touch(generation, |_| {}).await.unwrap();
        api.count().await;
        assert!(naming(&api, "erin-9f").len() > 15);

        let answer = erase(&api, "erin-9f").await;
        assert!(answer["deleted"]["rollups"].as_u64().unwrap() >= 6);
        assert_unknown(&api, "erin-9f").await;
        assert_eq!(verified(&api).await, Ok(()));
        rebuild.finish(generation).await.unwrap();
        assert_eq!(verified(&api).await, Ok(()));
        assert_unknown(&api, "erin-9f").await;
    }
}

/// A roll-up that an old loss of the stream has made wrong is not guessed at: a rebuild puts it right.
#[tokio::test(start_paused = true)]
async fn what_the_stream_lost_is_pending_until_a_rebuild() {
    for lost_creates in [true, false] {
        let api = behind().await;
        let id = api.vote(1, json!({"_user": "erin-9f"})).await;
        if lost_creates {
            api.forget_the_stream().await;
        } else {
            api.count().await;
            api.delete(&format!("{PORTKEY}/{id}")).await.ok();
            api.vote(1, json!({"_user": "bob"})).await;
            api.forget_the_stream().await;
        }
        api.vote(1, json!({"_user": "erin-9f"})).await;
        if lost_creates {
            // So that another's loss is below zero.
            api.vote(1, json!({"_user": "erin-9f"})).await;
        }
        api.count().await;
        let mut cursor = Value::Null;
        for _ in 0..40 {
            let answer = step(&api, "erin-9f", &cursor).await.ok().json();
            cursor = answer["cursor"].clone();
            api.time.forward(Duration::from_secs(2));
            api.count().await;
        }
        if !lost_creates {
            assert!(cursor.is_string());
            rebuilt(&api).await;
        }
        erase(&api, "erin-9f").await;
        assert_unknown(&api, "erin-9f").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_erasure_that_was_killed_or_failed_is_repeated() {
    let faults = [
        Fault::LostAnswer,
        Fault::CutAnswer,
        Fault::Throttle,
        Fault::ServerError,
        Fault::AccessDenied,
        Fault::Conflict,
        Fault::IndexLags,
    ];
    for operation in [
        "Query",
        "DeleteItem",
        "GetItem",
        "BatchGetItem",
        "TransactWriteItems",
    ] {
        for fault in faults {
            let answers_nothing = fault == Fault::IndexLags && operation != "Query";
            if answers_nothing || (fault == Fault::Conflict && operation != "DeleteItem") {
                continue;
            }
            let api = behind().await;
            write(&api, "erin-9f").await;
            api.count().await;
            let empty = json!({
                "pk": {"S": "test#user#hours"}, "sk": {"S": "001600041600000#erin-9f"}, "schema": {"N": "2"},
            });
            api.database
                .direct("PutItem", json!({"TableName": "stats", "Item": empty}));
            let (mut cursor, mut is_done) = (Value::Null, false);
            for place in 0..60 {
                // Now and then the caller is killed, and begins again.
                if place == 19 || place == 39 {
                    cursor = Value::Null;
                }
                if place < 40 && place % 3 != 2 {
                    api.database.fail_on(operation, [fault; 4]);
                }
                let answer = step(&api, "erin-9f", &cursor).await;
                api.database.recover();
                if answer.status == 200 {
                    cursor = answer.json()["cursor"].clone();
                    is_done = place >= 40 && cursor.is_null();
                    if is_done {
                        break;
                    }
                } else {
                    assert!([429, 500, 503].contains(&answer.status), "{}", answer.text);
                }
                api.time.forward(Duration::from_secs(4));
                api.count().await;
            }
            assert!(is_done, "{operation} {fault:?}");
            assert_unknown(&api, "erin-9f").await;
            assert_eq!(verified(&api).await, Ok(()));
        }
    }
}

/// More records than a step deletes, and some that arrive late.
#[tokio::test]
async fn it_goes_on_page_by_page_and_meets_late_writes() {
    let api = behind().await;
    let vote = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "erin-9f"}});
    for _ in 0..3 {
        let bulk: Vec<Value> = vec![vote.clone(); 90];
        api.post(PORTKEY, json!(bulk)).await.ok();
    }
    let began = api.time.now();
    let mut deleted = Vec::new();
    let (mut cursor, mut late) = (Value::Null, 0);
    loop {
        let answer = step(&api, "erin-9f", &cursor).await.ok().json();
        deleted.push(answer["deleted"]["records"].as_u64().unwrap());
        if answer["status"] == "done" {
            break;
        }
        cursor = answer["cursor"].clone();
        if deleted.len() == 5 {
            // A request from before the erasure, by a clock that is ahead, lands after the pages were read.
            let now = api.time.now();
            api.time.set(began + Duration::from_secs(4));
            api.post(PORTKEY, vote.clone()).await.ok();
            api.time.set(now);
            late += 1;
        }
        api.time.forward(Duration::from_secs(3));
        api.count().await;
    }
    assert_eq!(deleted[..4], [100, 200, 270, 270]);
    assert_eq!((*deleted.last().unwrap(), late), (271, 1));
    assert_unknown(&api, "erin-9f").await;
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn only_an_admin_may_and_every_fault_of_the_request_is_named() {
    let api = behind().await;
    api.vote(1, json!({"_user": "erin-9f"})).await;
    for scope in [Scope::Read, Scope::Write] {
        let key = api.as_key(&api.key_for("test", &[scope]).await);
        let answer = step(&key, "erin-9f", &Value::Null).await;
        answer.refused(403, "admin");
    }
    let cursor = step(&api, "bob", &Value::Null).await.ok().json()["cursor"].clone();
    let theirs = api.as_key(&api.key_for("other", &[Scope::Admin]).await);
    step(&theirs, "bob", &cursor)
        .await
        .refused(400, "cursor: expected");
    for (body, says) in [
        (json!({}), "user: missing, expected a string, number or boolean"),
        (json!({"user": null}), "user: expected"),
        (json!({"user": ""}), "user: expected"),
        (json!({"user": ["erin-9f"]}), "user: expected"),
        (json!({"user": "u".repeat(513)}), "user: expected"),
        (json!({"user": "erin-9f", "cursor": 5}), "cursor: expected"),
        (json!({"user": "erin-9f", "cursor": "AAAA"}), "cursor: expected"),
        (json!({"user": "erin-9f", "cursor": cursor}), "cursor: expected"),
        (
            json!({"user": "erin-9f", "workspace": "other"}),
            "body: unknown field workspace",
        ),
        (
            json!({"user": 5, "from": 1, "to": 2}),
            "body: unknown field from, to",
        ),
        (json!(["erin-9f"]), "body: "),
    ] {
        let answer = api.post(ERASURES, body).await;
        assert!(!answer.text.contains("erin-9f"));
        answer.refused(400, says);
    }
    assert_eq!(api.database.items("feedback").len(), 1);
    // Numbers and booleans are users as in metadata.
    api.vote(1, json!({"_user": 17})).await;
    api.vote(1, json!({"_user": true})).await;
    for user in [json!(17), json!(true)] {
        let answer = api.post(ERASURES, json!({"user": user})).await.ok().json();
        assert_eq!(answer["deleted"]["records"], 1, "{user}");
    }
}

/// The answer's time follows from the template: what it keeps, and for how long.
#[tokio::test]
async fn the_time_it_tells_covers_backups_stream_and_queues() {
    let template = template();
    let day = Duration::from_secs(24 * 60 * 60);
    let mut backed_up = 0;
    for table in resources(&template, "AWS::DynamoDB::Table").values() {
        let backups = &table["Properties"]["PointInTimeRecoverySpecification"];
        if backups["PointInTimeRecoveryEnabled"] == true {
            backed_up += 1;
            let days = backups["RecoveryPeriodInDays"].as_u64().unwrap_or(35);
            assert!(day * u32::try_from(days).unwrap() <= BACKUP_RETENTION);
        }
    }
    assert_eq!(backed_up, 3);
    let longest = STREAM_RETENTION + BACKUP_RETENTION;
    for queue in resources(&template, "AWS::SQS::Queue").values() {
        let seconds = queue["Properties"]["MessageRetentionPeriod"].as_u64().unwrap();
        // A batch is given up within the stream's day.
        assert!(STREAM_RETENTION + Duration::from_secs(seconds) <= longest);
    }
    let api = behind().await;
    let answer = step(&api, "erin-9f", &Value::Null).await.ok().json();
    let gone = (api.time.now() + longest).to_string();
    assert_eq!(answer["gone_at"], gone);
    assert_eq!(longest, day * 36);
}
