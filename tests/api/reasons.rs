//! Reasons for a score, and the question that feedback answers (`_name`).

use lambda_http::http::Method;
use serde_json::{Value, json};

use crate::analytics::{ask, wide};
use crate::counting::verified;
use crate::harness::{Api, PORTKEY, TRUEFOUNDRY};

async fn listed(api: &Api, query: &str) -> Vec<String> {
    api.get(&format!("{PORTKEY}?order=asc&{query}")).await.ok().ids()
}

/// The groups of a metadata field: each value with its number of votes and their average.
async fn groups(api: &Api, field: &str, filter: &str) -> Vec<(String, i64, f64)> {
    let path = format!("groups/metadata/{field}");
    let groups = ask(api, &path, &format!("{}{filter}", wide())).await;
    let group = |group: &Value| {
        (
            group["metadata_value"].as_str().unwrap().to_owned(),
            group["requests_with_feedback"].as_i64().unwrap(),
            group["avg_weighted_feedback"].as_f64().unwrap(),
        )
    };
    let mut groups: Vec<_> = groups["data"].as_array().unwrap().iter().map(group).collect();
    groups.sort_by(|one, other| one.0.cmp(&other.0));
    groups
}

#[tokio::test]
async fn both_dialects_store_change_and_clear_reasons() {
    let api = Api::new().await;
    let target = json!({"traceId": "t", "spanId": "s"});
    let portkey = json!({"trace_id": "t", "value": -1, "reasons": ["wrong", "too long", "wrong"]});
    let truefoundry = json!({"target": target, "rating": 1, "reasons": ["wrong", "too long"]});
    for (path, body) in [(PORTKEY, portkey), (TRUEFOUNDRY, truefoundry)] {
        let id = api.post(path, body).await.ok().id();
        assert_eq!(api.record(&id).await["reasons"], json!(["wrong", "too long"]));
        let update = async |rest: Value| {
            let mut body = json!({"value": 1, "rating": 5});
            body.as_object_mut()
                .unwrap()
                .extend(rest.as_object().unwrap().clone());
            api.put(&format!("{path}/{id}"), body).await
        };
        update(json!({})).await.ok();
        assert_eq!(api.record(&id).await["reasons"], json!(["wrong", "too long"]));
        update(json!({"reasons": ["fast"]})).await.ok();
        assert_eq!(api.record(&id).await["reasons"], json!(["fast"]));
        update(json!({"reasons": null})).await.ok();
        assert_eq!(api.record(&id).await["reasons"], json!([]));
        update(json!({"reasons": ["slow"]})).await.ok();
        update(json!({"reasons": []})).await.ok();
        assert_eq!(api.record(&id).await["reasons"], json!([]));
        let read = api.get(&format!("{TRUEFOUNDRY}/{id}")).await.ok().json();
        assert_eq!(read["data"]["reasons"], json!([]));
    }
}

#[tokio::test]
async fn invalid_reasons_are_rejected() {
    let api = Api::new().await;
    for (reasons, got) in [
        (json!("wrong"), "got a string of 5 bytes"),
        (json!([""]), "got an empty string in it"),
        (json!(["x".repeat(65)]), "got a string of 65 bytes in it"),
        (json!([1]), "got 1 in it"),
        (json!(["1", "2", "3", "4", "5", "6", "7", "8", "9"]), "got more"),
    ] {
        let says = format!("reasons: expected an array of at most 8 strings of 1 to 64 bytes, {got}");
        let body = json!({"trace_id": "t", "value": 1, "reasons": reasons});
        api.post(PORTKEY, body).await.refused(400, &says);
    }
    assert!(api.database.items("feedback").is_empty());
}

#[tokio::test]
async fn a_vote_with_two_reasons_is_in_both_groups() {
    let api = Api::new().await;
    let vote = async |value: i64, reasons: Value, name: Value| {
        let metadata = json!({"_name": name});
        let body = json!({"trace_id": "t", "value": value, "reasons": reasons, "metadata": metadata});
        api.post(PORTKEY, body).await.ok().id()
    };
    let both = vote(-4, json!(["wrong", "long"]), json!("helpful")).await;
    let wrong = vote(-2, json!(["wrong"]), json!("accurate")).await;
    let none = vote(6, json!([]), json!(null)).await;
    let number = vote(8, json!(null), json!(5)).await;
    api.count().await;

    assert_eq!(
        groups(&api, "_reasons", "").await,
        [("long".to_owned(), 1, -4.0), ("wrong".to_owned(), 2, -3.0)]
    );
    assert_eq!(
        groups(&api, "_name", "").await,
        [
            ("5".to_owned(), 1, 8.0),
            ("accurate".to_owned(), 1, -2.0),
            ("helpful".to_owned(), 1, -4.0)
        ]
    );
    // From the records, if roll-ups cannot provide the result.
    assert_eq!(
        groups(&api, "_reasons", "&weighted_feedback_max=-3").await,
        [("long".to_owned(), 1, -4.0), ("wrong".to_owned(), 1, -4.0)]
    );
    let total = async |metadata: Value| {
        let query = format!("{}&metadata={metadata}", wide());
        ask(&api, "graphs/feedbacks", &query).await["summary"]["total"].clone()
    };
    assert_eq!(total(json!({"_name": "helpful"})).await, 1);
    assert_eq!(total(json!({"_name": ""})).await, 1);
    assert_eq!(total(json!({"_name": "x".repeat(600)})).await, 0);
    assert_eq!(total(json!({"_reasons": "wrong"})).await, 2);
    assert_eq!(total(json!({"_reasons": "wrong", "_name": "accurate"})).await, 1);

    assert_eq!(listed(&api, "reason=wrong").await, [both.clone(), wrong.clone()]);
    assert_eq!(listed(&api, "name=helpful").await, [both.clone()]);
    assert_eq!(listed(&api, "name=").await, [none]);
    assert_eq!(listed(&api, "name=5&trace_id=t").await, [number]);
    assert_eq!(listed(&api, "reason=wrong&name=accurate").await, [wrong.clone()]);

    // Deleted votes leave the counts.
    api.put(
        &format!("{PORTKEY}/{both}"),
        json!({"value": -4, "reasons": ["long"]}),
    )
    .await
    .ok();
    api.delete(&format!("{PORTKEY}/{wrong}")).await.ok();
    api.count().await;
    assert_eq!(groups(&api, "_reasons", "").await, [("long".to_owned(), 1, -4.0)]);
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn a_repeat_under_its_key_is_the_same_only_with_the_same_reasons() {
    let api = Api::new().await;
    let headers = [("idempotency-key", "k")];
    let send = async |reasons: Value| {
        let body = json!({"trace_id": "t", "value": 1, "reasons": reasons}).to_string();
        api.call(Method::POST, PORTKEY, &headers, &body).await
    };
    let first = send(json!(["wrong"])).await.ok();
    assert_eq!(send(json!(["wrong"])).await.ok(), first);
    send(json!(["long"])).await.refused(409, "different request");
}
