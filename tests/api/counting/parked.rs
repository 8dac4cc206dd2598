//! Changes that cannot be counted yet.

use super::*;

/// Gives the record of a change a schema version that only newer code supports, in the stream and in the
/// table.
fn make_newer(api: &Api, change: &mut Value) {
    let image = &mut change["dynamodb"]["NewImage"];
    image["schema"] = json!({"N": "9"});
    api.database
        .direct("PutItem", json!({"TableName": "feedback", "Item": image}));
}

/// Makes all newer records readable again, as if this code had been updated.
pub(crate) fn become_newer(api: &Api) {
    let is_newer = |item: &Value| item["schema"]["N"] == "9";
    for mut item in api
        .database
        .items_of_all_pages("feedback")
        .into_iter()
        .filter(is_newer)
    {
        item["schema"] = json!({"N": "1"});
        api.database
            .direct("PutItem", json!({"TableName": "feedback", "Item": item}));
    }
    for mut item in api.database.items_of_all_pages("stats") {
        if let Some(change) = item["change"]["S"].as_str() {
            item["change"] = json!({"S": change.replace(r#""schema":{"N":"9"}"#, r#""schema":{"N":"1"}"#)});
            api.database
                .direct("PutItem", json!({"TableName": "stats", "Item": item}));
        }
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_parked_and_all_others_are_counted() {
    let api = Api::new().await;
    for _ in 0..41 {
        vote(&api, 1, 1.0, json!({"_user": "ada"})).await;
    }
    let mut changes = api.changes().await;
    make_newer(&api, &mut changes[20]);
    let expected = vec![Parked {
        shard: "s".to_owned(),
        sequence: records(&changes[20..21])[0].sequence_number.clone(),
        reason: format!("schema version 9: expected at most {}", schema::FEEDBACK),
    }];
    let counter = api.counter();
    let total = async || ask(&api, "graphs/feedbacks", &wide()).await["summary"]["total"].clone();
    for again in [false, true] {
        let outcome = counter.count("s", records(&changes)).await.unwrap();
        assert_eq!(outcome.counted, if again { 0 } else { 40 });
        assert_eq!(outcome.parked, if again { vec![] } else { expected.clone() });
        assert_eq!(total().await, 40);
    }
    // The change and the record are listed; everything else agrees.
    let comparison = compared(&api).await;
    assert!(
        comparison.agrees() && !comparison.is_complete(),
        "{comparison:#?}"
    );
    assert_eq!(comparison.records, 40);
    assert_eq!(comparison.parked, expected);
    assert_eq!(comparison.unreadable.len(), 1);

    let left = Recounted {
        counted: 0,
        left: expected,
    };
    assert_eq!(counter.count_parked().await.unwrap(), left);
    become_newer(&api);
    let both = join_all([counter.count_parked(), counter.count_parked()]).await;
    for recounted in both {
        assert!(recounted.unwrap().left.is_empty());
    }
    assert_eq!(total().await, 41);
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn a_parked_change_is_kept_whole_however_large_it_is() {
    let api = Api::new().await;
    let id = vote(&api, 1, 1.0, json!({"_prompt": "p"})).await;
    api.count().await;
    api.put(&format!("{PORTKEY}/{id}"), json!({"value": 3}))
        .await
        .ok();
    let mut changes = api.changes().await.split_off(1);
    make_newer(&api, &mut changes[0]);
    // Two states of nearly 400 KB each, in three-byte characters.
    for image in ["NewImage", "OldImage"] {
        changes[0]["dynamodb"][image]["later"] = json!({"S": "\u{20ac}".repeat(130 * 1024)});
    }
    // With few items per transaction, it is counted in parts.
    for max_items in [2, MAX_ITEMS] {
        let api = api.restarted();
        let counter = Counter::with_max_items(api.client.clone(), api.table(&STATS), max_items);
        let outcome = counter.count("s", records(&changes)).await.unwrap();
        if max_items == 2 {
            assert_eq!(outcome.parked.len(), 1);
        }
        let comparison = compared(&api).await;
        assert!(
            comparison.agrees(),
            "the counts of the old state are no difference: {comparison:#?}"
        );
        assert_eq!(counter.count_parked().await.unwrap().left.len(), 1);
    }
    become_newer(&api);
    api.database
        .fail_on("TransactWriteItems", [Fault::Throttle, Fault::LostAnswer]);
    let counter = Counter::with_max_items(api.client.clone(), api.table(&STATS), 2);
    let recounted = counter.count_parked().await.unwrap();
    assert_eq!((recounted.counted, recounted.left), (1, vec![]));
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_does_not_wait_for_parked_touches() {
    let api = Api::new().await;
    vote(&api, 1, 1.0, json!({})).await;
    vote(&api, 2, 1.0, json!({})).await;
    let mut changes = api.changes().await;
    make_newer(&api, &mut changes[1]);
    let rebuild = rebuild(&api);
    let generation = settled(&api, &rebuild).await;
    rebuild.touch(generation, |_| {}).await.unwrap();
    api.count().await;
    let both = Progress {
        touched: 2,
        counted: 2,
    };
    assert_eq!(rebuild.progress(generation).await.unwrap(), both);
    rebuild.finish(generation).await.unwrap();
    let comparison = compared(&api).await;
    assert!(
        comparison.agrees() && !comparison.parked.is_empty(),
        "{comparison:#?}"
    );
    become_newer(&api);
    let counter = api.counter();
    assert!(counter.count_parked().await.unwrap().left.is_empty());
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn malformed_records_are_parked_and_a_window_may_end_without_records() {
    let api = Api::new().await;
    let counter = api.counter();
    let deliver = async |event: Value| {
        let event = serde_json::from_value(event).unwrap();
        aggregate::handle(&counter, event).await.unwrap()
    };
    let odd = json!([
        {"dynamodb": {"SequenceNumber": "1", "NewImage": 5}},
        {"dynamodb": {"SequenceNumber": "2", "NewImage": {"sk": {"S": "nobody"}}}},
    ]);
    let outcome = deliver(json!({"Records": odd, "shardId": "s", "state": {}})).await;
    let reasons: Vec<&str> = outcome
        .parked
        .iter()
        .map(|parked| parked.reason.as_str())
        .collect();
    assert_eq!(reasons, ["images: cannot be read", "sort key: cannot be read"]);
    assert_eq!(deliver(json!({"shardId": "s"})).await, Default::default());
}
