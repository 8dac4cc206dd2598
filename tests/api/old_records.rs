//! Records that break a rule which was added after they were written.

use serde_json::{Value, json};

use crate::counting::verified;
use crate::harness::{Answer, Api, PORTKEY, TRUEFOUNDRY};

const RANGE: &str = "time_of_generation_min=2020-01-01T00:00:00Z&time_of_generation_max=2099-01-01T00:00:00Z";

/// Stored metadata, the `metadata` in responses, and the prompt that is still counted.
fn stored() -> Vec<(String, String, Option<&'static str>)> {
    let same = |text: &str, prompt| (text.to_owned(), text.to_owned(), prompt);
    let quoted = |text: &str| (text.to_owned(), serde_json::to_string(text).unwrap(), None);
    let long = "x".repeat(3_000);
    vec![
        same(r#"{"_user":["x"],"_prompt":"p"}"#, Some("p")),
        same(
            &format!(r#"{{"_user":"{long}","_prompt":"p","_model":"m"}}"#),
            Some("p"),
        ),
        same(r#"{"_user":"\ud83d","_prompt":"p"}"#, Some("p")),
        same(r#"{"_prompt":{"a":1}}"#, None),
        same(r#"{"_prompt":"p","_prompt":"q","_user":"u"}"#, None),
        same(
            &format!(
                r#"{{"deep":{}1{},"_prompt":"p"}}"#,
                "[".repeat(101),
                "]".repeat(101)
            ),
            Some("p"),
        ),
        same(
            &format!(r#"{{"big":"{}","_prompt":"p"}}"#, "y".repeat(70_000)),
            Some("p"),
        ),
        same(r#"{"\ud83d":1,"a":1,"a":2}"#, None),
        quoted("no JSON at all"),
        quoted(""),
        quoted("[1]"),
        quoted("null"),
        quoted("{\"cut\":"),
    ]
}

#[tokio::test]
async fn old_records_are_read_updated_counted_and_deleted() {
    let api = Api::new().await;
    for (metadata, answered, prompt) in stored() {
        let id = put_directly(&api, &metadata).await;
        api.count().await;
        let path = format!("{PORTKEY}/{id}");
        let expected = format!(r#""metadata":{answered}"#);
        for path in [
            path.clone(),
            format!("{TRUEFOUNDRY}/{id}"),
            format!("{PORTKEY}?trace_id=t"),
            format!("{TRUEFOUNDRY}?traceId=t"),
            PORTKEY.to_owned(),
        ] {
            holds(&api.get(&path).await, &expected);
        }
        // Only fields that can be indexed have an effect.
        let total = async |query: &str| {
            let path = format!("/v1/analytics/graphs/feedbacks?{query}{RANGE}");
            api.get(&path).await.ok().json()["summary"]["total"].clone()
        };
        assert_eq!(total("").await, 1, "{metadata}");
        assert_eq!(total("trace_id=t&").await, 1, "{metadata}");
        assert_eq!(
            total("prompt_slug=p&").await,
            i64::from(prompt.is_some()),
            "{metadata}"
        );
        verified(&api).await.unwrap();
        api.put(&path, json!({"value": 3})).await.ok();
        let record = api.get(&path).await;
        holds(&record, &expected);
        holds(&record, r#""value":3"#);
        api.put(&format!("{TRUEFOUNDRY}/{id}"), json!({"comment": "c"}))
            .await
            .ok();
        api.count().await;
        assert_eq!(total("").await, 1, "{metadata}");
        verified(&api).await.unwrap();
        api.put(&path, json!({"value": 3, "metadata": {"_user": "new"}}))
            .await
            .ok();
        assert_eq!(
            api.get(&path).await.ok().json()["metadata"],
            json!({"_user": "new"})
        );
        put_metadata(&api, &id, &metadata);
        api.delete(&path).await.ok();
        assert!(api.database.items("feedback").is_empty());
        api.count().await;
        assert_eq!(total("").await, 0, "{metadata}");
        verified(&api).await.unwrap();
    }
}

#[track_caller]
fn holds(answer: &Answer, expected: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(
        answer.text.contains(expected),
        "{} holds no {expected}",
        answer.text
    );
}

/// Stores a record with metadata that no current request could create.
async fn put_directly(api: &Api, metadata: &str) -> String {
    let vote = json!({"trace_id": "t", "value": 2, "metadata": {}});
    let id = api.post(PORTKEY, vote).await.ok().id();
    let mut item = api.database.items("feedback").remove(0);
    api.database.direct(
        "DeleteItem",
        json!({"TableName": "feedback", "Key": {"pk": item["pk"], "sk": item["sk"]}}),
    );
    item["metadata"] = json!({"S": metadata});
    if metadata.contains(r#""_prompt":"p""#) {
        let shard = item["time_key"]["S"].as_str().unwrap().to_owned();
        item["prompt_key"] = json!({"S": format!("{shard}#p")});
    }
    api.database
        .direct("PutItem", json!({"TableName": "feedback", "Item": item}));
    id
}

fn put_metadata(api: &Api, id: &str, metadata: &str) {
    let item: Value = api
        .database
        .items("feedback")
        .into_iter()
        .find(|item| item["id"]["S"] == id)
        .unwrap();
    api.database.direct(
        "UpdateItem",
        json!({
            "TableName": "feedback", "Key": {"pk": item["pk"], "sk": item["sk"]},
            "UpdateExpression": "SET metadata = :metadata",
            "ExpressionAttributeValues": {":metadata": {"S": metadata}},
        }),
    );
}
