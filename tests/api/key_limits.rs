//! Key sizes that DynamoDB rejects and the embedded database accepts.
//!
//! "Constraints in Amazon DynamoDB" (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html):
//! a partition key has 1 to 2,048 bytes and a sort key 1 to 1,024, in tables and in secondary indexes.
//! An item, a key or a key condition beyond that is a `ValidationException`.

use serde_json::{Value, json};
use shared::tables;

use crate::harness::Api;

const MAX_PARTITION_KEY: usize = 2_048;
const MAX_SORT_KEY: usize = 1_024;

/// DynamoDB's error for a request with a key over its limits; `None` if there is none.
pub fn refusal(operation: &str, body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).unwrap();
    let actions = match operation {
        "TransactWriteItems" => body["TransactItems"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|action| action.as_object().unwrap().values().cloned())
            .collect(),
        "BatchGetItem" => {
            let tables = body["RequestItems"].as_object().unwrap().iter();
            let keys = tables.flat_map(|(table, request)| {
                let keys = request["Keys"].as_array().unwrap().iter();
                keys.map(move |key| json!({"TableName": table, "Key": key}))
            });
            keys.collect()
        }
        _ => vec![body],
    };
    let message = actions.iter().find_map(|action| {
        let limits = limits(action["TableName"].as_str()?);
        keys(action)
            .into_iter()
            .find_map(|(attribute, value)| over(&limits, &attribute, &value))
    })?;
    Some(
        json!({
            "__type": "com.amazonaws.dynamodb.v20120810#ValidationException",
            "message": message,
        })
        .to_string(),
    )
}

/// The key attributes of a table and its indexes, each with its limit.
fn limits(name: &str) -> Vec<(&'static str, usize)> {
    let Some(table) = tables::ALL.into_iter().find(|table| table.name == name) else {
        return Vec::new();
    };
    let mut limits = vec![(table.hash, MAX_PARTITION_KEY)];
    limits.extend(table.range.map(|range| (range, MAX_SORT_KEY)));
    for index in table.indexes {
        limits.extend([(index.hash, MAX_PARTITION_KEY), (index.range, MAX_SORT_KEY)]);
    }
    limits
}

fn over(limits: &[(&str, usize)], attribute: &str, value: &Value) -> Option<String> {
    let (_, limit) = limits.iter().find(|(name, _)| *name == attribute)?;
    let size = value["S"].as_str()?.len();
    let key = if *limit == MAX_PARTITION_KEY {
        "hashkey"
    } else {
        "rangekey"
    };
    if size > *limit {
        Some(format!(
            "One or more parameter values were invalid: Size of {key} has exceeded the maximum size limit \
             of{limit} bytes"
        ))
    } else if size == 0 {
        Some(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot \
             contain an empty string value. Key: {attribute}"
        ))
    } else {
        None
    }
}

/// Every attribute in an action that may be part of a key, with its value.
fn keys(action: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for place in ["Item", "Key", "ExclusiveStartKey"] {
        let members = action[place].as_object().into_iter().flatten();
        found.extend(members.map(|(name, value)| (name.clone(), value.clone())));
    }
    // In an expression, each value belongs to the attribute before it.
    for place in ["KeyConditionExpression", "UpdateExpression"] {
        let mut attribute = String::new();
        for token in action[place]
            .as_str()
            .unwrap_or_default()
            .split([' ', ',', '(', ')'])
        {
            if token.starts_with(':') {
                found.push((
                    attribute.clone(),
                    action["ExpressionAttributeValues"][token].clone(),
                ));
            } else if token.starts_with('#') {
                attribute = action["ExpressionAttributeNames"][token]
                    .as_str()
                    .unwrap()
                    .to_owned();
            } else if token.starts_with(|c: char| c.is_ascii_lowercase()) {
                attribute = token.to_owned();
            }
        }
    }
    found
}

#[test]
fn keys_are_rejected_like_in_dynamodb() {
    let refused = |operation: &str, body: Value| refusal(operation, &body.to_string()).is_some();
    let text = |size: usize| json!({"S": "x".repeat(size)});
    for (size, is_refused) in [(0, true), (1, false), (2_048, false), (2_049, true)] {
        let item = json!({"TableName": "feedback", "Item": {"pk": {"S": "p"}, "sk": {"S": "s"}, "user_key": text(size)}});
        assert_eq!(refused("PutItem", item.clone()), is_refused);
        assert_eq!(
            refused("TransactWriteItems", json!({"TransactItems": [{"Put": item}]})),
            is_refused
        );
        let query = json!({
            "TableName": "feedback", "KeyConditionExpression": "#hash = :hash AND #range BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#hash": "user_key", "#range": "id"},
            "ExpressionAttributeValues": {":hash": text(size), ":first": {"S": "a"}, ":last": {"S": "b"}},
        });
        assert_eq!(refused("Query", query), is_refused);
        let update = json!({
            "TableName": "feedback", "Key": {"pk": {"S": "p"}, "sk": {"S": "s"}},
            "UpdateExpression": "SET #user_key = :user_key REMOVE #weight",
            "ExpressionAttributeNames": {"#user_key": "user_key", "#weight": "weight"},
            "ExpressionAttributeValues": {":user_key": text(size)},
        });
        assert_eq!(refused("UpdateItem", update), is_refused);
    }
    for (size, is_refused) in [(1_024, false), (1_025, true)] {
        let query = json!({
            "TableName": "stats", "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
            "ExpressionAttributeValues": {":pk": text(2_048), ":first": {"S": "a"}, ":last": text(size)},
        });
        assert_eq!(refused("Query", query), is_refused);
        let item = json!({"TableName": "feedback", "Item": {"pk": text(2_048), "sk": text(size), "comment": text(9_999)}});
        assert_eq!(refused("PutItem", item), is_refused);
    }
}

#[tokio::test]
async fn a_filter_longer_than_any_indexed_value_matches_nothing() {
    let api = Api::new().await;
    let range = "time_of_generation_min=2020-01-01T00:00:00Z&time_of_generation_max=2099-01-01T00:00:00Z";
    let vote = json!({
        "trace_id": "t", "value": 5,
        "metadata": {"_user": "u", "_organisation": "o", "_prompt": "p", "_environment": "e", "_model": "m"},
    });
    api.post("/v1/feedback", vote).await.ok();
    api.count().await;
    let mut filters = vec![];
    for size in [513, 1_100, 2_100, 8_000] {
        let long = "x".repeat(size);
        for field in ["_user", "_organisation", "_prompt", "_environment"] {
            filters.push(format!("metadata=%7B%22{field}%22:%22{long}%22%7D"));
            filters.push(format!("metadata=%7B%22{field}%22:%22{long}%22,%22a%22:1%7D"));
            filters.push(format!("metadata=%7B%22{field}%22:%22{long}%22%7D&trace_id=t"));
        }
        filters.push(format!("prompt_slug={long}"));
        filters.push(format!("ai_org_model={long}"));
        filters.push(format!("ai_org_model={long}&trace_id=t"));
        filters.push(format!("ai_org_model={long},{long}y&prompt_slug={long}"));
    }
    for filter in filters {
        let ask = async |path: &str| {
            let path = format!("/v1/analytics/{path}?{range}&{filter}");
            api.get(&path).await.ok().json()
        };
        let graph = ask("graphs/feedbacks").await;
        assert_eq!(
            (&graph["summary"]["total"], &graph["data_points"]),
            (&json!(0), &json!([])),
            "{filter}"
        );
        assert_eq!(ask("graphs/feedbacks/scores").await["summary"]["total"], 0);
        assert_eq!(ask("graphs/feedbacks/weighted").await["summary"]["avg"], 0.0);
        assert_eq!(ask("graphs/feedbacks/ai-models").await["data_points"], json!([]));
        for field in ["_user", "_model", "_prompt", "a"] {
            let groups = ask(&format!("groups/metadata/{field}")).await;
            assert_eq!(
                (&groups["total"], &groups["data"]),
                (&json!(0), &json!([])),
                "{filter}"
            );
        }
    }
    // A value that is too long does not affect the others.
    let path = format!(
        "/v1/analytics/graphs/feedbacks?{range}&ai_org_model={},m",
        "x".repeat(3_000)
    );
    assert_eq!(api.get(&path).await.ok().json()["summary"]["total"], 1);
}
