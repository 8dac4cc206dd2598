//! Upserts: one record per workspace, target, question and person.

use std::time::Duration;

use futures_util::future::join_all;
use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::access::registry::Registry;
use shared::access::{Scope, Upserts};
use shared::config::Config;
use shared::id::Workspace;

use crate::analytics::{ask, wide};
use crate::counting::verified;
use crate::harness::{Answer, Api, Fault, PORTKEY, TRUEFOUNDRY};

/// Asks for an upsert.
pub(crate) const UPSERT: (&str, &str) = ("x-hindsight-upsert", "user");

async fn cast(api: &Api, body: Value) -> Answer {
    api.call(Method::POST, PORTKEY, &[UPSERT], &body.to_string())
        .await
}

/// A vote of a person on the trace `t`.
fn vote(user: &str, value: i64) -> Value {
    json!({"trace_id": "t", "value": value, "metadata": {"_user": user}})
}

/// The same deployment by a key whose creates are upserts.
pub(crate) async fn by_upserting_key(api: &Api, user_field: Option<&str>) -> Api {
    let workspace = Workspace::parse("test").unwrap();
    let now = api.time.now();
    let (key, mut record) =
        Registry::mint(workspace, "upserts".into(), vec![Scope::Write], None, now).unwrap();
    record.upserts = Some(Upserts {
        user_field: user_field.map(str::to_owned),
    });
    api.registry.insert(&record).await.unwrap();
    api.as_key(&key.reveal())
}

#[tokio::test]
async fn a_later_vote_replaces_the_earlier_one_and_keeps_its_id() {
    let api = Api::new().await;
    let target = json!({"traceId": "t", "spanId": "s", "tracingProjectFQN": "one"});
    let first = json!({
        "target": target, "rating": 2, "comment": "meh", "reasons": ["wrong"],
        "metadata": {"_user": "ada", "_name": "helpful", "_prompt": "p1", "n": 1},
    });
    let created = api
        .call(Method::POST, TRUEFOUNDRY, &[UPSERT], &first.to_string())
        .await
        .ok();
    assert_eq!(created.header("etag"), Some("\"1\""));
    let before = api.record(&created.id()).await;
    let second = json!({
        "target": {"traceId": "t", "spanId": "s"}, "rating": 5,
        "metadata": {"_user": "ada", "_name": "helpful", "_prompt": "p2"},
    });
    let replaced = api
        .call(Method::POST, TRUEFOUNDRY, &[UPSERT], &second.to_string())
        .await
        .ok();
    assert_eq!(replaced.id(), created.id());
    assert_eq!(replaced.header("etag"), Some("\"2\""));
    let after = api.record(&created.id()).await;
    assert_eq!(after["created_at"], before["created_at"]);
    assert_ne!(after["updated_at"], before["updated_at"]);
    assert_eq!((&after["rating"], &after["version"]), (&json!(5), &json!(2)));
    for cleared in ["comment", "tracing_project_fqn"] {
        assert!(after[cleared].is_null(), "{after}");
    }
    assert_eq!(after["reasons"], json!([]));
    // It is in the indexes of its new metadata, and in no other.
    for (query, count) in [
        ("prompt=p1", 0),
        ("prompt=p2", 1),
        ("user=ada", 1),
        ("name=helpful", 1),
    ] {
        let list = api.get(&format!("{PORTKEY}?{query}")).await.ok();
        assert_eq!(list.ids().len(), count, "{query}");
    }
    // Another person, question, target or workspace has a record of its own.
    let other = api.as_key(&api.key_for("other", &[Scope::Admin]).await);
    for (api, body) in [
        (&api, json!({"_user": "bob", "_name": "helpful"})),
        (&api, json!({"_user": "ada"})),
        (&other, json!({"_user": "ada", "_name": "helpful"})),
    ] {
        let mut body = json!({"target": target, "rating": 1, "metadata": body});
        let answer = api
            .call(Method::POST, TRUEFOUNDRY, &[UPSERT], &body.to_string())
            .await;
        assert_ne!(answer.ok().id(), created.id());
        body["target"]["spanId"] = json!("another");
        let answer = api
            .call(Method::POST, TRUEFOUNDRY, &[UPSERT], &body.to_string())
            .await;
        assert_ne!(answer.ok().id(), created.id());
    }
    assert_eq!(api.database.items("feedback").len(), 7);
}

#[tokio::test]
async fn without_a_user_the_header_is_refused_and_the_key_creates() {
    let api = Api::new().await;
    let body = json!({"trace_id": "t", "value": 1, "metadata": {"_name": "helpful"}});
    cast(&api, body.clone())
        .await
        .refused(400, "metadata._user: missing, expected beside x-hindsight-upsert");
    cast(&api, json!([vote("ada", 1), body]))
        .await
        .refused(400, "feedback[1].metadata._user: missing");
    let wrong = [("x-hindsight-upsert", "yes")];
    api.call(Method::POST, PORTKEY, &wrong, &vote("ada", 1).to_string())
        .await
        .refused(400, "x-hindsight-upsert: expected user, got 3 bytes");
    assert!(api.database.items("feedback").is_empty());

    let api = by_upserting_key(&api, None).await;
    let plain = api.post(PORTKEY, body.clone()).await.ok().id();
    assert_ne!(api.post(PORTKEY, body).await.ok().id(), plain);
    let first = api.post(PORTKEY, vote("ada", 1)).await.ok().id();
    assert_eq!(api.post(PORTKEY, vote("ada", -1)).await.ok().id(), first);
    assert_eq!(api.database.items("feedback").len(), 3);
}

#[tokio::test]
async fn a_field_that_stands_for_the_user_counts_as_it_everywhere() {
    let api = Api::new().await;
    let by_field = by_upserting_key(&api, Some("user_id")).await;
    let body = |value: i64| json!({"trace_id": "t", "value": value, "metadata": {"user_id": 17, "x": "y"}});
    let id = by_field.post(PORTKEY, body(1)).await.ok().id();
    assert_eq!(by_field.post(PORTKEY, body(-1)).await.ok().id(), id);
    let record = api.record(&id).await;
    assert_eq!(record["metadata"], json!({"user_id": 17, "x": "y"}));
    assert_eq!(
        api.get(&format!("{PORTKEY}?user=17")).await.ok().ids(),
        [id.as_str()]
    );
    // An update without the field leaves it whose it was.
    api.put(
        &format!("{PORTKEY}/{id}"),
        json!({"value": 3, "metadata": {"x": "z"}}),
    )
    .await
    .ok();
    assert_eq!(
        api.get(&format!("{PORTKEY}?user=17")).await.ok().ids(),
        [id.as_str()]
    );
    api.count().await;
    let groups = ask(&api, "groups/metadata/_user", &wide()).await;
    assert_eq!(groups["data"][0]["metadata_value"], "17", "{groups}");
    assert_eq!(verified(&api).await, Ok(()));
    // `_user` goes before it.
    let both = json!({"trace_id": "t", "value": 1, "metadata": {"user_id": 17, "_user": "ada"}});
    assert_ne!(by_field.post(PORTKEY, both).await.ok().id(), id);
}

#[tokio::test]
async fn an_upserted_record_is_read_changed_and_deleted_by_its_id() {
    let api = Api::new().await;
    let target = json!({"traceId": "t", "spanId": "s"});
    let body = json!({"target": target, "rating": 2, "metadata": {"_user": "ada"}}).to_string();
    let id = api
        .call(Method::POST, TRUEFOUNDRY, &[UPSERT], &body)
        .await
        .ok()
        .id();
    let path = format!("{TRUEFOUNDRY}/{id}");
    let elsewhere = json!({"traceId": "t", "spanId": "other"});
    api.put(&path, json!({"target": elsewhere, "rating": 1}))
        .await
        .refused(404, "no such feedback");
    api.put(&path, json!({"target": target, "rating": 3})).await.ok();
    let headers = [("if-match", "\"1\"")];
    api.call(Method::PUT, &path, &headers, r#"{"rating":1}"#)
        .await
        .refused(412, "version");
    let headers = [("if-match", "\"2\""), ("idempotency-key", "k")];
    for _ in 0..2 {
        let answer = api
            .call(Method::PUT, &path, &headers, r#"{"rating":4}"#)
            .await
            .ok();
        assert_eq!(answer.header("etag"), Some("\"3\""));
    }
    let list = format!("{TRUEFOUNDRY}?traceId=t&spanId=s");
    assert_eq!(api.get(&list).await.ok().ids(), [id.as_str()]);
    let list = api
        .get(&format!("{PORTKEY}?trace_id=t&span_id=s"))
        .await
        .ok()
        .json();
    assert_eq!(list["summary"]["ratings"], json!([4]));
    let delete = json!({"target": elsewhere}).to_string();
    api.call(Method::DELETE, &path, &[], &delete)
        .await
        .refused(404, "no such feedback");
    let delete = json!({"target": target}).to_string();
    api.call(Method::DELETE, &path, &[], &delete).await.ok();
    api.get(&path).await.refused(404, "no such feedback");
    assert!(api.database.items("feedback").is_empty());
}

#[tokio::test]
async fn an_update_leaves_person_and_question_as_they_are() {
    let api = Api::new().await;
    let body = json!({"trace_id": "t", "value": 1, "metadata": {"_user": "ada", "_name": "helpful"}});
    let id = cast(&api, body).await.ok().id();
    let path = format!("{PORTKEY}/{id}");
    for headers in [&[][..], &[("idempotency-key", "k")]] {
        let put = async |metadata: Value| {
            let body = json!({"value": 2, "metadata": metadata}).to_string();
            api.call(Method::PUT, &path, headers, &body).await
        };
        let says = "expected that of the upserted record, or none, got another";
        put(json!({"_user": "bob"}))
            .await
            .refused(400, &format!("metadata._user: {says}"));
        put(json!({"_user": "ada", "_name": "accurate"}))
            .await
            .refused(400, &format!("metadata._name: {says}"));
    }
    assert_eq!(api.record(&id).await["version"], 1);
    for metadata in [
        json!({"_user": "ada", "_name": "helpful", "x": 1}),
        json!({"x": 2}),
        json!(null),
    ] {
        api.put(&path, json!({"value": 3, "metadata": metadata}))
            .await
            .ok();
        for query in ["user=ada", "name=helpful"] {
            let list = api.get(&format!("{PORTKEY}?{query}")).await.ok();
            assert_eq!(list.ids(), [id.as_str()], "{query} {metadata}");
        }
    }
    api.count().await;
    assert_eq!(verified(&api).await, Ok(()));
    assert_eq!(
        cast(
            &api,
            json!({"trace_id": "t", "value": 1, "metadata": {"_user": "ada", "_name": "helpful"}})
        )
        .await
        .ok()
        .id(),
        id
    );
}

#[tokio::test]
async fn a_vote_after_a_delete_is_a_new_record_and_an_old_id_never_changes_it() {
    let api = Api::new().await;
    let old = cast(&api, vote("ada", 1)).await.ok().id();
    api.delete(&format!("{PORTKEY}/{old}")).await.ok();
    let new = cast(&api, vote("ada", -1)).await.ok();
    assert_ne!(new.id(), old);
    assert_eq!(new.header("etag"), Some("\"1\""));
    let path = format!("{PORTKEY}/{old}");
    for headers in [&[][..], &[("if-match", "\"1\"")], &[("idempotency-key", "k")]] {
        api.call(Method::PUT, &path, headers, r#"{"value":9}"#)
            .await
            .refused(404, "no such feedback");
        api.call(Method::DELETE, &path, headers, "")
            .await
            .refused(404, "no such feedback");
    }
    api.get(&path).await.refused(404, "no such feedback");
    assert_eq!(api.record(&new.id()).await["value"], -1);
    api.count().await;
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_place_of_an_expired_record_that_was_not_swept_is_free() {
    let config = Config::embedded()
        .unwrap()
        .with_retention(Some(Duration::from_secs(3600)));
    let api = Api::with(config).await;
    let old = cast(&api, vote("ada", 1)).await.ok().id();
    let expires = api.database.items("feedback")[0]["expires_at"].clone();
    cast(&api, vote("ada", 2)).await.ok();
    assert_eq!(
        api.database.items("feedback")[0]["expires_at"],
        expires,
        "a later vote does not prolong it"
    );
    for headers in [&[UPSERT][..], &[UPSERT, ("idempotency-key", "k")]] {
        api.time.forward(Duration::from_secs(3601));
        let body = vote("ada", 3).to_string();
        let new = api.call(Method::POST, PORTKEY, headers, &body).await.ok();
        assert_ne!(new.id(), old);
        assert_eq!(new.header("etag"), Some("\"1\""));
        assert_eq!(api.database.items("feedback").len(), 1);
    }
    api.get(&format!("{PORTKEY}/{old}"))
        .await
        .refused(404, "no such feedback");
    api.count().await;
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn fifty_writers_end_in_one_record_at_the_last_version() {
    let api = Api::new().await;
    let answers = join_all((0..50).map(|number| {
        let api = api.clone();
        async move {
            let key = format!("k{number}");
            let headers: &[(&str, &str)] = match number % 3 {
                0 => &[UPSERT, ("idempotency-key", &key)],
                _ => &[UPSERT],
            };
            let one = vote("ada", number % 21 - 10);
            let body = if number % 5 == 0 { json!([one]) } else { one };
            api.call(Method::POST, PORTKEY, headers, &body.to_string())
                .await
                .ok()
                .ids()
        }
    }))
    .await;
    let first = &answers[0];
    assert!(answers.iter().all(|ids| ids == first), "{answers:?}");
    let items = api.database.items("feedback");
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["version"], json!({"N": "50"}));
    api.count().await;
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn of_two_elements_for_one_record_the_last_counts() {
    let api = Api::new().await;
    let bulk = json!([vote("ada", 1), vote("bob", 2), vote("ada", 3)]);
    let ids = cast(&api, bulk).await.ok().ids();
    assert_eq!(ids[0], ids[2]);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(api.record(&ids[0]).await["value"], 3);
    let again = cast(&api, json!([vote("bob", -2), vote("eve", 4)]))
        .await
        .ok()
        .ids();
    assert_eq!(again[0], ids[1]);
    assert_eq!(api.record(&ids[1]).await["version"], 2);
    assert_eq!(api.database.items("feedback").len(), 3);
    // A key's bulk may hold plain votes too.
    let by_key = by_upserting_key(&api, None).await;
    let plain = json!({"trace_id": "t", "value": 0});
    let mixed = by_key
        .post(PORTKEY, json!([plain, vote("ada", 5), plain]))
        .await
        .ok()
        .ids();
    assert_eq!(mixed[1], ids[0]);
    assert_eq!(api.database.items("feedback").len(), 5);
    api.count().await;
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn a_repeat_under_its_key_writes_nothing_and_the_header_is_part_of_the_request() {
    let api = Api::new().await;
    let body = vote("ada", 1).to_string();
    let headers = [UPSERT, ("idempotency-key", "k")];
    let first = api.call(Method::POST, PORTKEY, &headers, &body).await.ok();
    cast(&api, vote("ada", 2)).await.ok();
    assert_eq!(api.call(Method::POST, PORTKEY, &headers, &body).await.ok(), first);
    assert_eq!(api.record(&first.id()).await["value"], 2);
    let plain = [("idempotency-key", "k")];
    api.call(Method::POST, PORTKEY, &plain, &body)
        .await
        .refused(409, "different request");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_one_write() {
    for faults in [
        vec![Fault::LostAnswer],
        vec![Fault::LostAnswer, Fault::ServerError],
    ] {
        let api = Api::new().await;
        for version in 1..=2 {
            api.database.fail_on("UpdateItem", faults.clone());
            let answer = cast(&api, vote("ada", version)).await.ok();
            api.database.recover();
            assert_eq!(answer.header("etag"), Some(format!("\"{version}\"").as_str()));
        }
    }
    // Where nothing came through, it may have happened.
    let api = Api::new().await;
    api.database.fail_on("UpdateItem", [Fault::LostAnswer; 3]);
    cast(&api, vote("ada", 1)).await.refused(503, "retry");
}

#[tokio::test]
async fn the_list_of_a_span_is_in_order_however_its_votes_came() {
    let api = Api::new().await;
    let target = json!({"traceId": "t", "spanId": "s"});
    let mut ids = Vec::new();
    for number in 0..230 {
        let body = json!({"target": target, "rating": 1, "metadata": {"_user": format!("u{number}")}});
        let headers: &[(&str, &str)] = if number % 9 == 0 { &[] } else { &[UPSERT] };
        let answer = api
            .call(Method::POST, TRUEFOUNDRY, headers, &body.to_string())
            .await;
        ids.push(answer.ok().id());
    }
    for (order, limit) in [("asc", 100), ("desc", 7)] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("{PORTKEY}?trace_id=t&span_id=s&order={order}&limit={limit}{cursor}");
            let list = api.get(&path).await.ok();
            found.extend(list.ids());
            match list.json()["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        if order == "desc" {
            found.reverse();
        }
        let simple: Vec<String> = found.iter().map(|id| id.replace('-', "")).collect();
        assert_eq!(simple, ids, "{order}");
    }
    api.count().await;
    let query = format!("{}&trace_id=t&span_id=s", wide());
    assert_eq!(
        ask(&api, "graphs/feedbacks", &query).await["ratings"]["total"],
        230
    );
}
