//! What becomes of events that the bus does not take.

use lambda_http::{Context, LambdaEvent};
use publish::Publish;
use shared::stats::parked::{self, Consumer};
use shared::store::Store;

use super::*;
use crate::capture::{Captured, listen};
use crate::counting::{become_newer, compared};
use crate::harness::PORTKEY;
use crate::upsert::UPSERT;

/// A deployment with so many votes, their ids, and the changes.
async fn votes(count: usize) -> (Api, Vec<String>, Vec<Value>) {
    let api = Api::new().await;
    let mut ids = Vec::new();
    for value in 0..count {
        let metadata = json!({"_user": "canary"});
        ids.push(api.vote(i64::try_from(value % 10).unwrap(), metadata).await);
    }
    let changes = api.changes().await;
    (api, ids, changes)
}

/// The ids of events, sorted.
fn ids(events: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> = events
        .iter()
        .map(|event| event["detail"]["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

#[tokio::test(start_paused = true)]
async fn of_a_partial_failure_only_the_failed_entries_are_sent_again() {
    let (api, mut expected, changes) = votes(12).await;
    expected.sort();
    for code in [
        "ThrottlingException",
        "InternalFailure",
        "InternalException",
        "AccessDeniedException",
        "NotAuthorizedForSourceException",
    ] {
        let bridge = Bridge::default();
        bridge.fail([Trouble::Entries(0, code), Trouble::Entries(1, code)]);
        let outcome = publish(&api, &bridge, &changes).await.unwrap();
        assert_eq!((outcome.sent, outcome.parked.len()), (12, 0), "{code}");
        // Five of ten fail, then three of the five and the two that follow.
        assert_eq!(bridge.requests(), [10, 7, 3], "{code}");
        assert_eq!(ids(&bridge.events()), expected, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_fails_while_the_bus_takes_nothing_and_is_sent_again() {
    let (api, mut expected, changes) = votes(3).await;
    expected.sort();
    let bridge = Bridge::default();
    for trouble in [
        Trouble::Entries(0, "ThrottlingException"),
        Trouble::Refused(400, "ThrottlingException"),
        Trouble::Refused(500, "InternalException"),
        Trouble::Refused(400, "AccessDeniedException"),
        Trouble::Refused(400, "ResourceNotFoundException"),
        Trouble::Unreachable,
    ] {
        bridge.fail([trouble; 40]);
        let problem = publish(&api, &bridge, &changes).await.unwrap_err();
        assert_eq!(problem.code(), "unavailable", "{trouble:?}");
        let said = problem.log_message();
        assert!(!said.contains("canary"), "{said}");
        bridge.recover();
        bridge.events();
        let outcome = publish(&api, &bridge, &changes).await.unwrap();
        assert_eq!((outcome.sent, outcome.parked.len()), (3, 0), "{trouble:?}");
        assert_eq!(ids(&bridge.events()), expected);
    }
    // The SDK repeats a lost answer's request: the events are there twice, and fold to the same.
    bridge.fail([Trouble::LostAnswer]);
    publish(&api, &bridge, &changes).await.unwrap();
    let events = bridge.events();
    assert_eq!(events.len(), 6);
    assert_eq!(fold(&events).into_keys().collect::<Vec<_>>(), expected);
    assert!(
        parked::list(&api.client, "stats", Consumer::Events)
            .await
            .unwrap()
            .is_empty()
    );
}

/// An entry that is refused for what it is holds up nothing: its record is left out, and if that does not help, its
/// change is parked.
#[tokio::test(start_paused = true)]
async fn a_refused_entry_is_sent_without_its_record_or_else_parked_without_it() {
    let (api, all, changes) = votes(12).await;
    let bridge = Bridge::default();
    let store = Store::new(api.client.clone(), &api.config).unwrap();
    bridge.refuse(Some(|detail| {
        (detail["after"]["value"] == 3).then_some("MalformedDetail")
    }));
    let outcome = publish(&api, &bridge, &changes).await.unwrap();
    assert_eq!((outcome.sent, outcome.parked.len()), (12, 0));
    let events = bridge.events();
    let without: Vec<&Value> = events
        .iter()
        .filter(|event| event["detail"]["after_omitted"] == true)
        .collect();
    assert_eq!(without.len(), 1);
    assert_eq!(without[0]["detail"]["id"], all[3]);

    // So is half an emoji, which metadata may have and the bus cannot read.
    let mut odd = changes[4].clone();
    odd["dynamodb"]["NewImage"]["metadata"] = json!({"S": r#"{"half":"\ud83d"}"#});
    bridge.refuse(None);
    publish(&api, &bridge, &[odd]).await.unwrap();
    assert_eq!(bridge.events()[0]["detail"]["after_omitted"], true);

    bridge.refuse(Some(|_| Some("InvalidArgument")));
    let outcome = publish(&api, &bridge, &changes[..2]).await.unwrap();
    assert_eq!(outcome.sent, 0);
    let reasons: Vec<&str> = outcome
        .parked
        .iter()
        .map(|parked| parked.reason.as_str())
        .collect();
    assert_eq!(reasons, ["the bus refuses its event: InvalidArgument"; 2]);
    // Again, as a batch may be delivered again.
    publish(&api, &bridge, &changes[..2]).await.unwrap();
    let listed = parked::list(&api.client, "stats", Consumer::Events)
        .await
        .unwrap();
    assert_eq!(listed, outcome.parked);
    // Nothing of a user's is parked.
    let items = api.database.items("stats");
    assert!(
        items.len() == 2 && !json!(items).to_string().contains("canary"),
        "{items:#?}"
    );
    // Nor the hash of whose vote it is.
    let upsert = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "ada"}}).to_string();
    let upserted = api
        .call(lambda_http::http::Method::POST, PORTKEY, &[UPSERT], &upsert)
        .await
        .ok()
        .id();
    let change = api.changes().await.pop().unwrap();
    let sort = change["dynamodb"]["NewImage"]["sk"]["S"].as_str().unwrap();
    let (_, hash) = sort.split_once('~').unwrap();
    publish(&api, &bridge, std::slice::from_ref(&change))
        .await
        .unwrap();
    let items = json!(api.database.items("stats")).to_string();
    assert!(items.contains(&upserted) && !items.contains(hash), "{items}");
    // Counting has nothing to do with it.
    assert!(compared(&api).await.parked.is_empty());
    assert!(api.counter().count_parked().await.unwrap().left.is_empty());

    let left = publisher(&api, &bridge)
        .send_parked(&store, api.time.now())
        .await
        .unwrap();
    assert_eq!((left.changes, left.events, left.left.len()), (0, 0, 3));
    bridge.refuse(None);
    // The one is changed meanwhile, and the other is gone.
    api.put(&format!("{PORTKEY}/{}", all[0]), json!({"value": -5}))
        .await
        .ok();
    api.delete(&format!("{PORTKEY}/{}", all[1])).await.ok();
    let resent = publisher(&api, &bridge)
        .send_parked(&store, api.time.now())
        .await
        .unwrap();
    assert_eq!((resent.changes, resent.events, resent.left.len()), (3, 2, 0));
    let mut events = bridge.events();
    events.sort_by_key(|event| event["detail"]["id"].to_string());
    assert_eq!(events[1]["detail"]["after"], api.record(&upserted).await);
    assert_eq!(events[0]["detail"]["after"], api.record(&all[0]).await);
    assert_eq!(events[0]["detail"]["version"], 2);
    assert!(
        parked::list(&api.client, "stats", Consumer::Events)
            .await
            .unwrap()
            .is_empty()
    );
}

/// A request that is refused for one of its entries: each is sent alone, so that the others get through.
#[tokio::test(start_paused = true)]
async fn of_a_refused_request_each_entry_is_sent_alone() {
    let (api, mut expected, changes) = votes(4).await;
    expected.sort();
    for trouble in [
        Trouble::Refused(400, "ValidationException"),
        Trouble::Refused(413, "TooLarge"),
    ] {
        let bridge = Bridge::default();
        bridge.fail([trouble, trouble]);
        let outcome = publish(&api, &bridge, &changes).await.unwrap();
        assert_eq!((outcome.sent, outcome.parked.len()), (4, 0));
        // The one that was refused alone comes without its record.
        assert_eq!(bridge.requests(), [4, 1, 1, 1, 1, 1], "{trouble:?}");
        let events = bridge.events();
        assert_eq!(ids(&events), expected);
        let without = events
            .iter()
            .filter(|event| event["detail"]["after_omitted"] == true);
        assert_eq!(without.count(), 1);
    }
}

#[tokio::test]
async fn an_unreadable_change_is_parked_with_its_reason_and_logged_and_the_others_are_sent() {
    let captured = Captured::default();
    let (api, all, mut changes) = votes(3).await;
    let bridge = Bridge::default();
    let image = &mut changes[1]["dynamodb"]["NewImage"];
    image["schema"] = json!({"N": "9"});
    api.database
        .direct("PutItem", json!({"TableName": "feedback", "Item": image}));
    changes.push(json!({"eventID": "odd", "dynamodb": {"SequenceNumber": "7", "NewImage": 5}}));
    changes.push(json!({"dynamodb": {"SequenceNumber": "8", "NewImage": {"sk": {"S": "nobody"}}}}));
    changes.push(json!({"eventID": "empty", "dynamodb": {"SequenceNumber": "9"}}));
    let publish = Publish::new(publisher(&api, &bridge));
    let event = json!({"Records": changes, "shardId": "the shard", "state": {}});
    let answer = {
        let format = |name: &str| (name == "AWS_LAMBDA_LOG_FORMAT").then(|| "JSON".to_owned());
        let _log = listen(shared::log::log(captured.clone(), format));
        let payload = serde_json::from_value(event).unwrap();
        publish
            .answer(LambdaEvent::new(payload, Context::default()))
            .await
            .unwrap()
    };
    assert_eq!(serde_json::to_value(answer).unwrap(), json!({"state": {}}));
    assert_eq!(bridge.events().len(), 2);
    let lines: Vec<Value> = captured
        .take()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (summary, told) = lines.split_last().unwrap();
    assert_eq!(summary["message"], "published");
    assert_eq!(
        (&summary["records"], &summary["sent"], &summary["parked"]),
        (&json!(6), &json!(2), &json!(4))
    );
    // The words of the metric filter in template.yaml.
    assert!(
        told.iter()
            .all(|line| line["message"] == "a change is parked" && line["level"] == "ERROR")
    );
    let causes: Vec<&str> = told.iter().map(|line| line["cause"].as_str().unwrap()).collect();
    let newer = format!("schema version 9: expected at most {}", shared::schema::FEEDBACK);
    assert_eq!(
        causes,
        [
            newer.as_str(),
            "images: cannot be read",
            "event id: cannot be read",
            "images: cannot be read",
        ]
    );
    assert!(!json!(lines).to_string().contains("canary"));
    let store = Store::new(api.client.clone(), &api.config).unwrap();
    let resent = publisher(&api, &bridge)
        .send_parked(&store, api.time.now())
        .await
        .unwrap();
    assert_eq!((resent.changes, resent.left.len()), (0, 4));
    become_newer(&api);
    let resent = publisher(&api, &bridge)
        .send_parked(&store, api.time.now())
        .await
        .unwrap();
    assert_eq!((resent.changes, resent.events, resent.left.len()), (1, 1, 3));
    assert_eq!(bridge.events()[0]["detail"]["after"], api.record(&all[1]).await);
}

/// What a record was before may be unreadable: that does not hold up what it is.
#[tokio::test]
async fn a_state_before_that_cannot_be_read_is_left_out() {
    let (api, all, _) = votes(1).await;
    let bridge = Bridge::default();
    api.put(&format!("{PORTKEY}/{}", all[0]), json!({"value": 2}))
        .await
        .ok();
    let mut change = api.changes().await.pop().unwrap();
    change["dynamodb"]["OldImage"]["value"] = json!({"N": "99"});
    let outcome = publish(&api, &bridge, &[change]).await.unwrap();
    assert_eq!((outcome.sent, outcome.parked.len()), (1, 0));
    let detail = &bridge.events()[0]["detail"];
    assert_eq!(
        (&detail["before_omitted"], &detail["after"]),
        (&json!(true), &api.record(&all[0]).await)
    );
}

#[tokio::test]
async fn an_event_that_is_no_batch_is_an_error_that_quotes_nothing() {
    let api = Api::new().await;
    let publish = Publish::new(publisher(&api, &Bridge::default()));
    let payload = serde_json::from_value(json!({"Records": [{"secret": 1}]})).unwrap();
    let error = publish
        .answer(LambdaEvent::new(payload, Context::default()))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("expected a DynamoDB stream batch"),
        "{error}"
    );
    assert!(!error.to_string().contains("secret"), "{error}");
    // The end of a window has no records.
    let payload = serde_json::from_value(json!({"shardId": "s", "isFinalInvokeForWindow": true})).unwrap();
    publish
        .answer(LambdaEvent::new(payload, Context::default()))
        .await
        .unwrap();
}
