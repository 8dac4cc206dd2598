//! `written_by`: the key that wrote a record last.

use std::time::Duration;

use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::access::registry::Registry;
use shared::id::Workspace;
use shared::schema;
use shared::stats::generation::Generation;
use shared::stats::rebuild::Rebuild;
use shared::timestamp::Timestamp;

use crate::harness::{Api, PORTKEY, TRUEFOUNDRY};
use crate::upsert::{UPSERT, by_upserting_key};
use crate::vote::signing_key;

/// The key that wrote a record last, by every read that shows it: one record and lists, in both dialects.
/// `None` where no read has the field.
async fn writer(api: &Api, id: &str) -> Option<String> {
    let (ours, theirs) = (format!("{PORTKEY}/{id}"), format!("{TRUEFOUNDRY}/{id}"));
    let one = api.get(&ours).await.ok().json();
    let trace = one["trace_id"].as_str().unwrap();
    let simple = id.replace('-', "");
    let in_list = |list: Value| {
        let same = |record: &&Value| record["id"].as_str().unwrap().replace('-', "") == simple;
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(same)
            .unwrap()
            .clone()
    };
    let other = api.get(&theirs).await.ok().json()["data"].clone();
    let listed = in_list(api.get(&format!("{PORTKEY}?trace_id={trace}")).await.ok().json());
    let other_listed = in_list(
        api.get(&format!("{TRUEFOUNDRY}?traceId={trace}"))
            .await
            .ok()
            .json(),
    );
    let shown = [
        one.get("written_by"),
        listed.get("written_by"),
        other.get("writtenBy"),
        other_listed.get("writtenBy"),
    ];
    assert!(shown.iter().all(|by| by == &shown[0]), "{shown:?}");
    shown[0].map(|by| by.as_str().unwrap().to_owned())
}

#[track_caller]
fn assert_by(found: Option<String>, api: &Api) {
    assert_eq!(found.as_deref(), Some(api.key_id()));
}

/// Another key with all scopes in the same workspace.
async fn another_key(api: &Api) -> Api {
    api.as_key(&api.key_for("test", &[Scope::Admin]).await)
}

fn span() -> Value {
    json!({"traceId": "t", "spanId": "s"})
}

#[tokio::test]
async fn every_create_says_which_key_made_it() {
    let api = Api::new().await;
    let key = ("idempotency-key", "k");
    let valued = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "u"}});
    let rated = json!({"target": span(), "rating": 4, "metadata": {"_user": "u"}});
    let bulk = json!([valued, valued, {"trace_id": "t", "value": 2, "metadata": {"_user": "v"}}]);
    for (path, body) in [(PORTKEY, valued), (TRUEFOUNDRY, rated), (PORTKEY, bulk)] {
        for headers in [&[][..], &[key], &[UPSERT], &[UPSERT, key]] {
            let by = another_key(&api).await;
            // A key of its own for each kind of request.
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| {
                    if *name == key.0 {
                        (*name, by.key_id())
                    } else {
                        (*name, *value)
                    }
                })
                .collect();
            let answer = by
                .call(Method::POST, path, &headers, &body.to_string())
                .await
                .ok();
            let ids = match body.is_array() {
                true => answer.ids(),
                false => vec![answer.id()],
            };
            for id in ids {
                assert_by(writer(&api, &id).await, &by);
            }
        }
    }
}

#[tokio::test]
async fn an_upsert_by_another_key_changes_it() {
    let api = Api::new().await;
    let body = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "u"}});
    let first = api
        .call(Method::POST, PORTKEY, &[UPSERT], &body.to_string())
        .await
        .ok()
        .id();
    let other = another_key(&api).await;
    let upserting = by_upserting_key(&api, None).await;
    let bulk = json!([body, {"trace_id": "t", "value": 1, "metadata": {"_user": "v"}}]);
    let once = ("idempotency-key", "k");
    for (by, headers, body) in [
        (&other, &[UPSERT][..], &body),
        (&upserting, &[], &body),
        (&other, &[UPSERT, once], &body),
        (&api, &[UPSERT], &bulk),
        (&other, &[UPSERT, ("idempotency-key", "bulk")], &bulk),
    ] {
        let answer = by
            .call(Method::POST, PORTKEY, headers, &body.to_string())
            .await
            .ok();
        assert_eq!(answer.json()["feedback_ids"][0], first);
        assert_by(writer(&api, &first).await, by);
    }
}

#[tokio::test]
async fn a_vote_says_which_key_signed_its_token_and_its_own_answers_do_not() {
    let api = Api::new().await;
    let now = api.time.now().seconds();
    let claims =
        json!({"aud": "test", "sub": "ada", "trace": "t", "iat": now, "exp": now + 3600}).to_string();
    for version in 1..=2 {
        let (pair, id) = signing_key(&api, "test").await;
        let bearer = format!("Bearer {}", pair.sign(&id, &claims));
        let send = async |method: Method, path: &str, body: Value| {
            let headers = [("authorization", bearer.as_str())];
            api.raw(method, path, &headers, &body.to_string()).await.ok()
        };
        let cast = send(Method::PUT, "/v1/vote", json!({"value": 1})).await;
        assert_eq!(cast.header("etag"), Some(format!("\"{version}\"").as_str()));
        let record = cast.json()["data"]["id"].as_str().unwrap().to_owned();
        assert_eq!(writer(&api, &record).await, Some(id.to_string()));
        let own = send(Method::GET, "/v1/vote", Value::Null).await;
        let several = send(
            Method::POST,
            "/v1/votes/read",
            json!({"targets": [{"trace": "t"}]}),
        )
        .await;
        // To the person it is not shown, nor is any part of a key's id.
        for answer in [&cast, &own, &several] {
            assert!(!answer.text.contains("written"), "{}", answer.text);
            assert!(!answer.text.contains(id.as_str()), "{}", answer.text);
        }
        if version == 2 {
            let retracted = send(Method::DELETE, "/v1/vote", Value::Null).await;
            assert_eq!(retracted.json()["data"], own.json()["data"]);
        }
    }
}

#[tokio::test]
async fn an_update_by_another_key_changes_it_and_a_refused_one_does_not() {
    let api = Api::new().await;
    let valued = json!({"trace_id": "t", "value": 1});
    let rated = json!({"target": span(), "rating": 4});
    let upserted = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "u"}});
    for (path, headers, body) in [
        (PORTKEY, &[][..], valued),
        (TRUEFOUNDRY, &[], rated),
        (PORTKEY, &[UPSERT], upserted),
    ] {
        let id = api
            .call(Method::POST, path, headers, &body.to_string())
            .await
            .ok()
            .id();
        let mut before = another_key(&api).await;
        for (path, is_once) in [
            (PORTKEY, false),
            (TRUEFOUNDRY, false),
            (PORTKEY, true),
            (TRUEFOUNDRY, true),
        ] {
            let by = another_key(&api).await;
            let once = [("idempotency-key", by.key_id())];
            let headers = if is_once { &once[..] } else { &[] };
            let path = format!("{path}/{id}");
            let change = json!({"value": -1, "rating": 1}).to_string();
            by.call(Method::PUT, &path, headers, &change).await.ok();
            assert_by(writer(&api, &id).await, &by);
            // One that writes nothing leaves it.
            let stale = [("if-match", "\"1\"")];
            before
                .call(Method::PUT, &path, &stale, &change)
                .await
                .refused(412, "");
            assert_by(writer(&api, &id).await, &by);
            before = by;
        }
    }
}

/// A repeat under an `Idempotency-Key` is answered as the first request was and writes nothing, whichever key
/// of the workspace it comes with.
#[tokio::test]
async fn a_repeat_by_another_key_leaves_it() {
    let api = Api::new().await;
    let other = another_key(&api).await;
    let body = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "u"}}).to_string();
    for headers in [
        &[("idempotency-key", "create")][..],
        &[("idempotency-key", "upsert"), UPSERT],
    ] {
        let first = api.call(Method::POST, PORTKEY, headers, &body).await.ok();
        assert_eq!(other.call(Method::POST, PORTKEY, headers, &body).await, first);
        assert_by(writer(&api, &first.id()).await, &api);
        let path = format!("{PORTKEY}/{}", first.id());
        let first_id = first.id();
        let headers = [("idempotency-key", first_id.as_str())];
        let change = json!({"value": 2}).to_string();
        let changed = other.call(Method::PUT, &path, &headers, &change).await.ok();
        assert_eq!(api.call(Method::PUT, &path, &headers, &change).await, changed);
        assert_by(writer(&api, &first.id()).await, &other);
    }
}

/// What is stored of a record besides what [`writer`] shows.
fn stored(api: &Api) -> Value {
    let mut items = api.database.items("feedback");
    assert_eq!(items.len(), 1);
    items.remove(0)
}

#[tokio::test]
async fn records_from_before_have_none_until_they_are_written() {
    let api = Api::new().await;
    let id = api.vote(1, Value::Null).await;
    let item = stored(&api);
    let key = json!({"pk": item["pk"], "sk": item["sk"]});
    let change = |expression: &str| {
        api.database.direct(
            "UpdateItem",
            json!({"TableName": "feedback", "Key": key, "UpdateExpression": expression}),
        )
    };
    change("REMOVE written_by, written_version");
    assert_eq!(writer(&api, &id).await, None);
    let path = format!("{PORTKEY}/{id}");
    api.put(&path, json!({"value": 2})).await.ok();
    assert_by(writer(&api, &id).await, &api);

    // Code from before, after a roll-back, raises the version and leaves what it does not know.
    api.database.direct(
        "UpdateItem",
        json!({
            "TableName": "feedback", "Key": key, "UpdateExpression": "SET version = version + :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }),
    );
    assert_eq!(
        stored(&api)["written_by"],
        json!({"S": &api.key_id()["hsk_".len()..]})
    );
    assert_eq!(writer(&api, &id).await, None);
    let other = another_key(&api).await;
    other.put(&path, json!({"value": 3})).await.ok();
    assert_by(writer(&api, &id).await, &other);
    assert_eq!(api.record(&id).await["version"], 4);

    // Something else than a key's id is none, and the record stays readable.
    api.database.direct(
        "UpdateItem",
        json!({
            "TableName": "feedback", "Key": key, "UpdateExpression": "SET written_by = :other",
            "ExpressionAttributeValues": {":other": {"S": "a key of another form"}},
        }),
    );
    assert_eq!(writer(&api, &id).await, None);
}

#[tokio::test]
async fn a_rebuild_leaves_it() {
    let api = Api::new().await;
    let id = api.vote(1, json!({"_session": "s"})).await;
    api.database.direct(
        "UpdateItem",
        json!({
            "TableName": "feedback", "Key": {"pk": stored(&api)["pk"], "sk": stored(&api)["sk"]},
            "UpdateExpression": "REMOVE session_key",
        }),
    );
    let rebuild = Rebuild::new(api.client.clone(), "feedback", "stats");
    let generation = Generation {
        number: 3,
        schema: schema::STATS,
        since: Timestamp::MAX,
    };
    rebuild.touch(generation, drop).await.unwrap();
    assert_eq!(stored(&api)["generation"], json!({"N": "3"}));
    assert!(stored(&api)["session_key"].is_object());
    assert_by(writer(&api, &id).await, &api);
}

/// A revoked key's id stays in what it wrote, which is what it is for.
#[tokio::test]
async fn a_revoked_key_s_records_are_still_its_own() {
    let api = Api::new().await;
    let workspace = Workspace::parse("test").unwrap();
    let (key, record) = Registry::mint(
        workspace,
        "stolen".into(),
        vec![Scope::Write],
        None,
        api.time.now(),
    )
    .unwrap();
    api.registry.insert(&record).await.unwrap();
    let id = api.as_key(&key.reveal()).vote(1, Value::Null).await;
    api.registry.revoke(&record.id, api.time.now()).await.unwrap();
    api.time.forward(Duration::from_secs(61));
    assert_eq!(writer(&api, &id).await, Some(record.id.to_string()));
}
