//! The Portkey dialect.

use lambda_http::http::Method;
use serde_json::{Value, json};

use crate::harness::{Api, PORTKEY};

#[tokio::test]
async fn the_documented_example_is_stored_as_given() {
    let api = Api::new().await;
    let answer = api
        .post(
            PORTKEY,
            json!({
                "trace_id": "YOUR_TRACE_ID",
                "value": -10,
                "weight": 0.5,
                "metadata": {
                    "text": "title was irrelevant",
                    "_user": "fef653",
                    "_organisation": "o9876",
                    "_prompt": "test_prompt",
                    "_environment": "production",
                },
            }),
        )
        .await
        .ok();
    let id = answer.id();
    assert_eq!(
        answer.text,
        format!(r#"{{"status":"success","message":"Feedback successfully saved","feedback_ids":["{id}"]}}"#)
    );
    assert_eq!(id.len(), 36);
    assert_eq!(&id[14..15], "7", "a UUIDv7");
    let record = api.record(&id).await;
    assert_eq!(record["trace_id"], "YOUR_TRACE_ID");
    assert_eq!(record["span_id"], Value::Null);
    assert_eq!(
        (&record["scale"], &record["value"], &record["weight"]),
        (&json!("value"), &json!(-10), &json!(0.5))
    );
    assert_eq!(record["metadata"]["text"], "title was irrelevant");
    assert_eq!(record["version"], 1);
    assert_eq!(record["created_at"], record["updated_at"]);
}

#[tokio::test]
async fn the_alias_of_the_node_sdk_and_odd_spellings_are_accepted() {
    let api = Api::new().await;
    for (body, value, weight) in [
        (json!({"traceID": "t", "value": 1}), 1, 1.0),
        (json!({"trace_id": "t", "traceID": "t", "value": "5"}), 5, 1.0),
        (json!({"trace_id": "t", "value": 5.0, "weight": "0.5"}), 5, 0.5),
        (json!({"trace_id": "t", "value": 0, "weight": 0}), 0, 0.0),
        (
            json!({"trace_id": "t", "value": 1, "weight": null, "metadata": null}),
            1,
            1.0,
        ),
        (
            json!({"trace_id": "t", "value": 1, "unknown": {"x": 1}, "feedback_id": 7}),
            1,
            1.0,
        ),
        (
            json!({"trace_id": "t", "value": 1, "metadata": "{\"a\":1}"}),
            1,
            1.0,
        ),
    ] {
        let id = api.post(PORTKEY, body.clone()).await.ok().id();
        let record = api.record(&id).await;
        assert_eq!(
            (&record["value"], &record["weight"]),
            (&json!(value), &json!(weight)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn free_text_is_a_trace_id() {
    let api = Api::new().await;
    let long = "x".repeat(512);
    for trace in [
        "1729",
        "{chat}:{message}",
        "a#b",
        "a%23b",
        " ",
        "ü😀",
        "\u{0}\n",
        &long,
    ] {
        let id = api
            .post(PORTKEY, json!({"trace_id": trace, "value": 1}))
            .await
            .ok()
            .id();
        assert_eq!(api.record(&id).await["trace_id"], trace);
    }
}

#[tokio::test]
async fn every_faulty_field_is_named_with_what_was_expected_and_what_came() {
    let api = Api::new().await;
    for (body, says) in [
        (
            json!({}),
            vec![
                "trace_id: missing, expected a string of 1 to 512 bytes",
                "value: missing",
            ],
        ),
        (
            json!({"trace_id": "", "value": 11, "weight": 2, "metadata": 5}),
            vec![
                "trace_id: expected a string of 1 to 512 bytes, got an empty string",
                "value: expected an integer from -10 to 10, got 11",
                "weight: expected a number from 0 to 1, got 2",
                "metadata: expected a JSON object, or a string that holds one, got 5",
            ],
        ),
        (
            json!({"trace_id": 7, "value": null}),
            vec!["got 7", "value: expected an integer from -10 to 10, got null"],
        ),
        (
            json!({"trace_id": "x".repeat(513), "value": "five"}),
            vec!["got a string of 513 bytes", "got the string \"five\""],
        ),
        (json!({"trace_id": "t", "value": true}), vec!["got true"]),
        (json!({"trace_id": "t", "value": 5.5}), vec!["got 5.5"]),
        (json!({"trace_id": "t", "value": ""}), vec!["got an empty string"]),
        (
            json!({"trace_id": "t", "traceID": "u", "value": 1}),
            vec!["traceID: expected the same as trace_id"],
        ),
        (
            json!({"trace_id": "t", "value": 1, "metadata": "[]"}),
            vec!["a string that holds an array"],
        ),
        (
            json!({"trace_id": "t", "value": 1, "metadata": {"_user": ["u"]}}),
            vec!["metadata._user: expected a string, number or boolean of at most 512 bytes, got an array"],
        ),
        (
            json!({"trace_id": "t", "value": 1, "metadata": {"_prompt": "x".repeat(513)}}),
            vec!["metadata._prompt"],
        ),
    ] {
        let answer = api.post(PORTKEY, body).await;
        for part in says {
            answer.clone().refused(400, part);
        }
    }
    assert!(api.database.items("feedback").is_empty());
}

#[tokio::test]
async fn an_error_has_the_shape_that_both_sdks_read() {
    let api = Api::new().await;
    let answer = api.post(PORTKEY, json!({"trace_id": "t", "value": 11})).await;
    let message = "value: expected an integer from -10 to 10, got 11";
    assert_eq!(
        answer.text,
        format!(
            r#"{{"status":"failure","success":false,"message":"{message}","error":{{"message":"{message}","code":"AB01","param":"value"}},"data":{{"message":"{message}","errorCode":"AB01"}}}}"#
        )
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn a_bulk_is_stored_in_input_order_from_either_sdk() {
    let api = Api::new().await;
    let array =
        json!([{"trace_id": "a", "value": 1}, {"trace_id": "b", "value": 0}, {"trace_id": "a", "value": -1}]);
    // Numeric order, not text order: 10 comes after 9.
    let mut node = serde_json::Map::new();
    for index in (0..12).rev() {
        node.insert(
            index.to_string(),
            json!({"traceID": format!("t{index}"), "value": index % 10}),
        );
    }
    let answer = api.post(PORTKEY, array).await.ok();
    assert_eq!(answer.header("etag"), None);
    let mut traces = Vec::new();
    for id in answer.ids() {
        traces.push(api.record(&id).await["trace_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(traces, ["a", "b", "a"]);
    let ids = api.post(PORTKEY, Value::Object(node)).await.ok().ids();
    assert_eq!(ids.len(), 12);
    for (index, id) in ids.iter().enumerate() {
        assert_eq!(api.record(id).await["trace_id"], format!("t{index}"));
    }
    let mut sorted = ids.clone();
    sorted.sort();
    assert_eq!(sorted, ids, "ids sort as the input was");
}

#[tokio::test]
async fn a_bulk_holds_1_to_100() {
    let api = Api::new().await;
    let of = |count| Value::Array(vec![json!({"trace_id": "t", "value": 1}); count]);
    api.post(PORTKEY, json!([]))
        .await
        .refused(400, "expected 1 to 100 feedback objects, got 0");
    api.post(PORTKEY, of(101)).await.refused(400, "got 101");
    assert_eq!(api.post(PORTKEY, of(100)).await.ok().ids().len(), 100);
    assert_eq!(api.database.items("feedback").len(), 100);
}

#[tokio::test]
async fn one_invalid_element_stops_the_whole_bulk_and_is_named() {
    let api = Api::new().await;
    let bulk = json!([
        {"trace_id": "a", "value": 1},
        7,
        {"value": 1},
        {"trace_id": "a", "value": 99, "metadata": {"_user": {}}},
    ]);
    let answer = api.post(PORTKEY, bulk).await;
    for part in [
        "feedback[1]: expected a JSON object, got 7",
        "feedback[2].trace_id: missing",
        "feedback[3].value: expected an integer from -10 to 10, got 99",
        "feedback[3].metadata._user: expected",
    ] {
        answer.clone().refused(400, part);
    }
    assert_eq!(answer.json()["error"]["param"], "feedback[1]");
    assert!(api.database.items("feedback").is_empty());
}

#[tokio::test]
async fn an_update_keeps_what_is_absent_and_clears_what_is_null() {
    let api = Api::new().await;
    let id = api
        .post(
            PORTKEY,
            json!({"trace_id": "t", "value": 1, "weight": 0.5, "metadata": {"_user": "u", "n": 1}}),
        )
        .await
        .ok()
        .id();
    let path = format!("{PORTKEY}/{id}");
    let answer = api.put(&path, json!({"value": 2})).await.ok();
    assert_eq!(
        answer.text,
        format!(
            r#"{{"status":"success","message":"Feedback successfully updated","feedback_ids":["{id}"]}}"#
        )
    );
    assert_eq!(answer.header("etag"), Some("\"2\""));
    let kept = api.record(&id).await;
    assert_eq!((&kept["value"], &kept["weight"]), (&json!(2), &json!(0.5)));
    assert_eq!(kept["metadata"], json!({"_user": "u", "n": 1}));
    assert_eq!(kept["version"], 2);

    api.put(&path, json!({"value": 3, "weight": null, "metadata": null}))
        .await
        .ok();
    let cleared = api.record(&id).await;
    assert_eq!(
        (&cleared["value"], &cleared["weight"], &cleared["metadata"]),
        (&json!(3), &json!(1.0), &Value::Null)
    );
    assert!(
        api.get("/v1/feedback?user=u").await.ok().ids().is_empty(),
        "no longer indexed"
    );

    api.put(
        &path,
        json!({"value": 4, "weight": 0, "metadata": "{\"_user\":\"w\"}"}),
    )
    .await
    .ok();
    let set = api.record(&id).await;
    assert_eq!(
        (&set["weight"], &set["metadata"]),
        (&json!(0.0), &json!({"_user": "w"}))
    );
    assert_eq!(api.get("/v1/feedback?user=w").await.ok().ids(), [id]);
    assert_eq!(set["created_at"], kept["created_at"]);
}

#[tokio::test]
async fn an_id_may_be_spelt_either_way_and_in_any_case() {
    let api = Api::new().await;
    let id = api.vote(1, Value::Null).await;
    let simple = id.replace('-', "");
    for spelling in [&id, &simple, &id.to_uppercase(), &simple.to_uppercase()] {
        assert_eq!(
            api.put(&format!("{PORTKEY}/{spelling}"), json!({"value": 2}))
                .await
                .ok()
                .id(),
            id
        );
        assert_eq!(api.record(spelling).await["id"], id);
    }
    assert_eq!(api.delete(&format!("{PORTKEY}/{simple}")).await.ok().id(), id);
}

#[tokio::test]
async fn the_vendor_s_own_node_sample_updates_undefined() {
    let api = Api::new().await;
    let id = api.vote(1, Value::Null).await;
    api.put("/v1/feedback/undefined", json!({"feedback_id": id, "value": 7}))
        .await
        .ok();
    assert_eq!(api.record(&id).await["value"], 7);
    // Otherwise the id in the body is ignored.
    let other = api.vote(1, Value::Null).await;
    api.put(
        &format!("{PORTKEY}/{other}"),
        json!({"feedback_id": id, "value": 3}),
    )
    .await
    .ok();
    assert_eq!(api.record(&id).await["value"], 7);
    api.put("/v1/feedback/undefined", json!({"value": 7}))
        .await
        .refused(400, "id: expected a UUID, hyphenated or as 32 hex digits");
    api.put("/v1/feedback/undefined", json!({"value": 7, "feedback_id": "x"}))
        .await
        .refused(400, "feedback_id: expected a UUID");
}

#[tokio::test]
async fn an_update_names_every_fault_too() {
    let api = Api::new().await;
    let answer = api.put("/v1/feedback/nonsense", json!({"weight": 7})).await;
    for part in [
        "id: expected a UUID",
        "value: missing",
        "weight: expected a number from 0 to 1, got 7",
    ] {
        answer.clone().refused(400, part);
    }
}

#[tokio::test(start_paused = true)]
async fn deleted_records_are_not_found() {
    let api = Api::new().await;
    let id = api.vote(1, Value::Null).await;
    let path = format!("{PORTKEY}/{id}");
    let answer = api.delete(&path).await.ok();
    assert_eq!(
        answer.text,
        format!(
            r#"{{"status":"success","message":"Feedback successfully deleted","feedback_ids":["{id}"]}}"#
        )
    );
    for gone in [
        api.delete(&path).await,
        api.get(&path).await,
        api.put(&path, json!({"value": 1})).await,
    ] {
        assert_eq!(
            gone.refused(404, "no such feedback").json()["error"]["code"],
            "AB08"
        );
    }
    assert!(api.get("/v1/feedback?trace_id=t").await.ok().ids().is_empty());
    assert!(
        api.database.items("feedback").is_empty(),
        "an update does not bring it back"
    );
}

#[tokio::test]
async fn sizes_over_their_limit_are_413() {
    let api = Api::new().await;
    let metadata =
        |size: usize| json!({"trace_id": "t", "value": 1, "metadata": {"x": "y".repeat(size - 8)}});
    api.post(PORTKEY, metadata(65_536)).await.ok();
    let answer = api
        .post(PORTKEY, metadata(65_537))
        .await
        .refused(413, "metadata: expected at most 65536 bytes");
    assert_eq!(answer.json()["error"]["code"], "AB01");
    let huge = format!(
        "{{\"trace_id\":\"t\",\"value\":1,\"x\":\"{}\"}}",
        "y".repeat(1024 * 1024)
    );
    api.call(Method::POST, PORTKEY, &[], &huge)
        .await
        .refused(413, "body: expected at most 1048576 bytes");
}

#[tokio::test]
async fn metadata_comes_back_to_the_letter() {
    let api = Api::new().await;
    let nested = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    for metadata in [
        r#"{"n":1e300,"big":1234567890123456789012345678901234567890,"f":1.0,"z":-0.0,"e":1e400}"#.to_owned(),
        r#"{"":"","e":{},"a":[],"null":null,"\u0000":"\ud83d\ude00 é \u001f"}"#.to_owned(),
        format!("{{\"deep\":{nested}}}"),
        "{ \"spaced\" :\t1 }".to_owned(),
    ] {
        let body = format!(r#"{{"trace_id":"t","value":1,"metadata":{metadata}}}"#);
        let id = api.call(Method::POST, PORTKEY, &[], &body).await.ok().id();
        // Compared as text, because most parsers cannot hold a number such as 1e400.
        let text = api.get(&format!("{PORTKEY}/{id}")).await.text;
        assert!(text.contains(&format!(r#""metadata":{metadata},"#)), "{text}");
    }
    let deep = format!(
        r#"{{"trace_id":"t","value":1,"metadata":{{"x":{}1{}}}}}"#,
        "[".repeat(127),
        "]".repeat(127)
    );
    api.call(Method::POST, PORTKEY, &[], &deep)
        .await
        .refused(400, "body: expected at most 128 levels of nesting, got more");
    let deep = deep
        .replacen(&"[".repeat(27), "", 1)
        .replacen(&"]".repeat(27), "", 1);
    api.call(Method::POST, PORTKEY, &[], &deep)
        .await
        .refused(400, "metadata: expected at most 100 levels of nesting, got more");
}
