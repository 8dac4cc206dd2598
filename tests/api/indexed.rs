//! Every indexed field works as its definition promises: in list filters, analytics filters, groups and
//! indexes, and in none of them if the metadata lacks it.

use serde_json::{Value, json};
use shared::indexed::Field;

use crate::analytics::ask;
use crate::counting::{unindex, verified};
use crate::harness::{Api, PORTKEY};

const ALL_TIME: &str =
    "time_of_generation_min=2020-01-01T00:00:00Z&time_of_generation_max=2099-01-01T00:00:00Z";

async fn listed(api: &Api, query: &str) -> Vec<String> {
    let list = api.get(&format!("{PORTKEY}?{query}")).await.ok();
    list.ids()
}

#[tokio::test]
async fn every_field_filters_lists_and_analytics_and_groups() {
    let api = Api::new().await;
    for field in Field::ALL {
        let (metadata, name) = (field.metadata(), field.name());
        let one = api.vote(5, json!({metadata: "one"})).await;
        let two = api.vote(-5, json!({metadata: 2})).await;
        api.vote(1, json!({metadata: ""})).await;
        api.vote(1, json!({metadata: null})).await;
        api.count().await;

        assert_eq!(
            listed(&api, &format!("{name}=one")).await,
            [one.as_str()],
            "{name}"
        );
        assert_eq!(listed(&api, &format!("{name}=2")).await, [two.as_str()], "{name}");
        assert!(listed(&api, &format!("{name}=three")).await.is_empty(), "{name}");

        let groups = ask(&api, &format!("groups/metadata/{metadata}"), ALL_TIME).await;
        assert_eq!(groups["total"], 2, "{groups}");
        for group in groups["data"].as_array().unwrap() {
            let average = if group["metadata_value"] == "one" {
                5.0
            } else {
                -5.0
            };
            assert_eq!(group["avg_weighted_feedback"], average, "{groups}");
            assert_eq!(group["requests_with_feedback"], 1, "{groups}");
        }
        let filter = json!({metadata: "one"}).to_string();
        let graph = ask(&api, "graphs/feedbacks", &format!("{ALL_TIME}&metadata={filter}")).await;
        assert_eq!(graph["summary"]["total"], 1, "{name}");

        // An update moves the record, and clearing the metadata removes it.
        api.put(
            &format!("{PORTKEY}/{one}"),
            json!({"value": 5, "metadata": {metadata: "2"}}),
        )
        .await
        .ok();
        assert_eq!(
            listed(&api, &format!("{name}=2&order=asc")).await,
            [one, two.clone()]
        );
        api.put(&format!("{PORTKEY}/{two}"), json!({"value": 5, "metadata": null}))
            .await
            .ok();
        assert_eq!(listed(&api, &format!("{name}=2")).await.len(), 1, "{name}");
    }
    api.count().await;
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn a_list_by_several_fields_matches_all_of_them() {
    let api = Api::new().await;
    let all: Value = Field::ALL
        .into_iter()
        .map(|field| (field.metadata().to_owned(), json!("x")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let id = api.vote(1, all.clone()).await;
    for field in Field::ALL {
        let mut other = all.clone();
        other[field.metadata()] = json!("y");
        api.vote(1, other).await;
    }
    let query: Vec<String> = Field::ALL
        .into_iter()
        .map(|field| format!("{}=x", field.name()))
        .collect();
    assert_eq!(listed(&api, &query.join("&")).await, [id]);
}

/// A record from before its field was indexed is found once an update has written its metadata.
#[tokio::test]
async fn an_update_of_the_metadata_puts_an_old_record_into_the_index() {
    let api = Api::new().await;
    let metadata = json!({"_session": "s"});
    let id = api.vote(1, metadata.clone()).await;
    unindex(&api, Field::Session);
    assert!(listed(&api, "session=s").await.is_empty());
    let path = format!("{PORTKEY}/{id}");
    api.put(&path, json!({"value": 2})).await.ok();
    assert!(
        listed(&api, "session=s").await.is_empty(),
        "its metadata was left alone"
    );
    api.put(&path, json!({"value": 2, "metadata": metadata}))
        .await
        .ok();
    assert_eq!(listed(&api, "session=s").await, [id]);
}
