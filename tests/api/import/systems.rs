//! Files of other systems, in the forms that they publish. docs/import.md says where.

use super::*;

/// A score as `GET /api/public/v2/scores` returns it: `NumericScore` and `GetScoresResponseTraceData` in
/// fern/apis/server/definition/ of langfuse/langfuse.
fn score() -> Value {
    json!({
        "id": "score-1", "traceId": "trace-1", "sessionId": null, "observationId": "obs-1", "datasetRunId": null,
        "name": "helpful", "source": "API", "timestamp": "2026-10-01T10:00:00.123Z",
        "createdAt": "2026-10-01T10:00:01.000Z", "updatedAt": "2026-10-02T10:00:00.000Z", "authorUserId": null,
        "comment": "good", "metadata": {"a": 1.50, "_prompt": "greeting"}, "configId": "c-1", "queueId": null,
        "environment": "production", "dataType": "NUMERIC", "value": 1,
        "trace": {"userId": "ada", "tags": ["beta"], "environment": "production", "sessionId": "s-1"},
    })
}

/// A score with other members.
fn with(members: &Value) -> Value {
    let mut score = score();
    for (name, value) in members.as_object().unwrap() {
        score[name] = value.clone();
    }
    score
}

/// The only record after an import that brought one.
async fn the_record(api: &Api, request: &Request, file: &str) -> Value {
    assert_eq!(import(api, request, file).await, imported(1), "{file}");
    let list = api.get(&format!("{PORTKEY}?limit=2")).await.ok().json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    list["data"][0].clone()
}

#[tokio::test(start_paused = true)]
async fn a_score_of_langfuse_has_its_places() {
    let api = Api::new().await;
    let page = json!({"data": [score()], "meta": {"page": 1, "limit": 50, "totalItems": 1, "totalPages": 1}});
    let record = the_record(&api, &request(System::Langfuse), &page.to_string()).await;
    let expected = json!({
        "id": record["id"], "trace_id": "trace-1", "span_id": "obs-1", "tracing_project_fqn": null,
        "feedback_target_id": record["feedback_target_id"], "scale": "value", "value": 1, "weight": 1.0, "rating": null,
        "comment": "good", "reasons": [],
        "metadata": {
            "a": 1.5, "_prompt": "greeting", "_name": "helpful", "_user": "ada", "_session": "s-1",
            "_environment": "production",
            "langfuse": {
                "source": "API", "createdAt": "2026-10-01T10:00:01.000Z", "configId": "c-1", "dataType": "NUMERIC",
                "traceTags": ["beta"],
            },
        },
        "created_at": "2026-10-01T10:00:00.123Z", "updated_at": "2026-10-02T10:00:00.000Z", "version": 1,
    });
    assert_eq!(record, expected);
    // The same score in the forms of other versions and of the export is the same record.
    let of_version_3 = json!({
        "id": "score-1", "projectId": "p", "name": "helpful", "value": true, "dataType": "BOOLEAN", "source": "API",
        "timestamp": "2026-10-01T10:00:00.123Z", "environment": "default", "createdAt": "2026-10-01T10:00:01.000Z",
        "updatedAt": "2026-10-01T10:00:01.000Z", "comment": null, "configId": null, "metadata": {},
        "subject": {"kind": "observation", "id": "obs-1", "traceId": "trace-1"},
    });
    let csv = "\"id\",\"traceId\",\"sessionId\",\"datasetRunId\",\"timestamp\",\"source\",\"name\",\"dataType\",\
               \"value\",\"stringValue\",\"comment\",\"metadata\",\"observationId\",\"traceName\",\"userId\",\
               \"traceTags\",\"environment\",\"authorUserName\"\n\
               \"score-1\",\"trace-1\",\"\",\"\",\"\"\"2026-10-01T10:00:00.123Z\"\"\",\"API\",\"helpful\",\
               \"BOOLEAN\",\"1\",\"True\",\"good, \"\"very\"\"\",\"{\"\"k\"\":[1]}\",\"obs-1\",\"chat\",\"ada\",\
               \"[\"\"beta\"\"]\",\"default\",\"\"\n";
    let exported = json!([with(
        &json!({"userId": "ada", "traceName": "chat", "trace": null})
    )]);
    for file in [of_version_3.to_string(), csv.to_owned(), exported.to_string()] {
        let (done, told) = import(&api, &request(System::Langfuse), &file).await;
        assert_eq!((done.unwrap().there, told), (1, vec![]), "{file}");
    }
    let other = Api::new().await;
    let record = the_record(&other, &request(System::Langfuse), csv).await;
    assert_eq!(
        record["metadata"],
        json!({
            "k": [1], "_name": "helpful", "_user": "ada", "_environment": "default",
            "langfuse": {
                "source": "API", "dataType": "BOOLEAN", "stringValue": "True", "traceName": "chat",
                "traceTags": ["beta"],
            },
        })
    );
    assert_eq!(
        (&record["value"], &record["comment"]),
        (&json!(1), &json!("good, \"very\""))
    );
}

#[tokio::test(start_paused = true)]
async fn numbers_of_langfuse_are_read_as_it_is_said() {
    for (numeric, number, scale, value) in [
        (Numeric::Value, json!(-10), "value", json!(-10)),
        (Numeric::Value, json!(0.0), "value", json!(0)),
        (Numeric::Rating, json!(4), "rating", json!(4)),
        (Numeric::Thumbs, json!(1.0), "value", json!(1)),
        (Numeric::Thumbs, json!(0), "value", json!(-1)),
        (Numeric::Thumbs, json!(-1), "value", json!(-1)),
    ] {
        let api = Api::new().await;
        let request = Request {
            numeric,
            ..request(System::Langfuse)
        };
        let file = with(&json!({"value": number})).to_string();
        let record = the_record(&api, &request, &file).await;
        assert_eq!(
            (&record["scale"], &record[scale]),
            (&json!(scale), &value),
            "{numeric:?} {number}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_score_of_a_trace_is_refused_by_its_field() {
    let api = Api::new().await;
    let refused = [
        (
            json!({"value": 0.85}),
            "value: expected an integer from -10 to 10, got 0.85",
        ),
        (
            json!({"dataType": "CATEGORICAL", "value": 0}),
            "dataType: expected NUMERIC or BOOLEAN, got CATEGORICAL",
        ),
        (
            json!({"dataType": "BOOLEAN", "value": 2}),
            "value: expected 1 or true, or 0, -1 or false, got 2",
        ),
        (
            json!({"traceId": null}),
            "traceId: expected a string of 1 to 512 bytes, got null",
        ),
        (
            json!({"subject": {"kind": "session", "id": "s"}}),
            "subject.kind: expected trace or observation, got something else",
        ),
        (
            json!({"metadata": {"source": "hindsight", "feedback_id": "01a1"}}),
            "metadata.source: expected a score that was not forwarded from here, got hindsight",
        ),
        (
            json!({"timestamp": "soon"}),
            "timestamp: expected an ISO 8601 date and time, got a string of 4 bytes",
        ),
        (
            json!({"timestamp": "2100-01-01"}),
            "timestamp: expected a time before now, got 2100-01-01T00:00:00.000Z",
        ),
        (
            json!({"id": 7.5, "metadata": {"_user": ["x"]}}),
            "metadata._user: expected a string, number or boolean of at most 512 bytes, got an array",
        ),
    ];
    let mut file: String = refused
        .iter()
        .map(|(members, _)| with(members).to_string() + "\n")
        .collect();
    file.push_str("{\"id\"\n[1]\n");
    let (done, told) = import(&api, &request(System::Langfuse), &file).await;
    assert_eq!(done.unwrap().refused, 11);
    let mut expected: Vec<String> = refused
        .iter()
        .enumerate()
        .map(|(place, (_, says))| format!("line {}: {says}", place + 1))
        .collect();
    expected.push("line 10: record: invalid JSON: EOF while parsing an object at line 1 column 5".to_owned());
    expected.push("line 11: record: expected a JSON object, got an array".to_owned());
    assert_eq!(told, expected);
    // A record that is refused is not quoted, and only the first hundred are told of.
    let many = with(&json!({"value": "a secret of some length"})).to_string() + "\n";
    let (done, told) = import(&api, &request(System::Langfuse), &many.repeat(150)).await;
    assert_eq!((done.unwrap().refused, told.len()), (150, 101));
    assert!(!told.concat().contains("secret"));
    assert_eq!(told[100], "more records are refused, and only counted");
    assert!(api.database.items("feedback").is_empty());
}

/// Feedback as `GET /api/v1/evaluations/feedbacks/all/export` returns it: `FeedbackModel` in
/// backend/open_webui/models/feedbacks.py of open-webui/open-webui, with what
/// src/lib/components/chat/Messages/ResponseMessage.svelte puts into `data` and `meta`.
fn feedback() -> Value {
    json!({
        "id": "0f0c8d9e-2c5e-4a3f-9a39-0c8f6d7e1b2a", "user_id": "user-1", "version": 0, "type": "rating",
        "data": {
            "rating": 1, "model_id": "llama3", "sibling_model_ids": ["qwen"], "reason": "accurate_information",
            "comment": "good", "tags": ["Technology"], "details": {"rating": 9},
        },
        "meta": {
            "arena": false, "model_id": "llama3", "message_id": "m-1", "message_index": 2, "chat_id": "c-1",
            "base_models": {"llama3": null},
        },
        "snapshot": {"chat": {"title": "a secret]}"}}, "created_at": 1_790_848_800, "updated_at": 1_790_848_900,
        "user": {"id": "user-1", "name": "Ada", "email": "ada@example.com"},
    })
}

#[tokio::test(start_paused = true)]
async fn feedback_of_open_webui_has_its_places() {
    let api = Api::new().await;
    let file = json!([feedback()]).to_string();
    let record = the_record(&api, &request(System::OpenWebui), &file).await;
    let expected = json!({
        "id": record["id"], "trace_id": "c-1:m-1", "span_id": null, "tracing_project_fqn": null, "scale": "value",
        "value": 1, "weight": 1.0, "rating": null, "comment": "good", "reasons": ["accurate_information"],
        "metadata": {
            "_user": "user-1", "_session": "c-1", "_model": "llama3",
            "open_webui": {
                "data": {"sibling_model_ids": ["qwen"], "tags": ["Technology"], "details": {"rating": 9}},
                "meta": {
                    "arena": false, "model_id": "llama3", "message_index": 2, "base_models": {"llama3": null},
                },
            },
        },
        "created_at": "2026-10-01T10:00:00.000Z", "updated_at": "2026-10-01T10:01:40.000Z", "version": 1,
    });
    assert_eq!(record, expected);
    // A form that was not filled in, in an older version: numbers as text.
    let mut older = feedback();
    older["id"] = json!("2");
    older["data"] = json!({"rating": "-1", "model_id": "llama3", "reason": "", "comment": ""});
    let (done, told) = import(
        &api,
        &request(System::OpenWebui),
        &json!([feedback(), older]).to_string(),
    )
    .await;
    let summary = done.unwrap();
    assert_eq!((summary.imported, summary.there), (1, 1), "{told:?}");
    let list = api.get(&format!("{PORTKEY}?value_max=-1")).await.ok().json();
    assert_eq!(
        (
            &list["data"][0]["value"],
            &list["data"][0]["comment"],
            &list["data"][0]["reasons"]
        ),
        (&json!(-1), &Value::Null, &json!([]))
    );
}

#[tokio::test(start_paused = true)]
async fn what_open_webui_does_not_say_is_refused_by_its_field() {
    let api = Api::new().await;
    let without = |path: &str, value: Value| {
        let mut one = feedback();
        *one.pointer_mut(path).unwrap() = value;
        one
    };
    let cases = [
        (
            without("/data/rating", Value::Null),
            "data.rating: expected an integer from -10 to 10, got null",
        ),
        (
            without("/type", json!("other")),
            "type: expected \"rating\", got a string of 5 bytes",
        ),
        (without("/meta", Value::Null), "meta: missing, expected an object"),
        (
            without("/meta/chat_id", json!("")),
            "meta.chat_id: expected a string of 1 to 512 bytes, got an empty string",
        ),
        (
            without("/data/reason", json!("r".repeat(65))),
            "data.reason: expected a string of at most 64 bytes, got a string of 65 bytes",
        ),
        (
            without("/created_at", json!("2026-10-01")),
            "created_at: expected a Unix time in whole seconds, got a string of 10 bytes",
        ),
    ];
    let file: Vec<&Value> = cases.iter().map(|(one, _)| one).collect();
    let (done, told) = import(&api, &request(System::OpenWebui), &json!(file).to_string()).await;
    assert_eq!(done.unwrap().refused, 6);
    let expected: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(place, (_, says))| format!("record {}: {says}", place + 1))
        .collect();
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn a_csv_file_is_read_by_a_map() {
    let api = Api::new().await;
    let pairs = [
        ("trace_id", "conversation"),
        ("rating", "stars"),
        ("created_at", "when"),
        ("reasons", "why"),
        ("user", "who"),
        ("metadata.tier", "plan"),
    ];
    let request = Request {
        map: pairs
            .map(|(field, column)| (field.to_owned(), column.to_owned()))
            .to_vec(),
        ..request(System::Csv)
    };
    let file = "conversation,stars,when,why,who,plan,comment,colour\r\n\
                c-1,5,2026-10-01 12:00:00+02:00,too long,ada,pro,\"fine, \"\"really\"\"\",\r\n\
                c-2,1,2026-10-01,\"[\"\"wrong\"\",\"\"too long\"\"]\",,,,red\r\n\
                c-2,1,2026-10-01,\"[\"\"wrong\"\",\"\"too long\"\"]\",,,,red\r\n\
                c-3,6,2026-10-01,,,,,\r\n\
                ,5,2026-10-01,,,,,\r\n";
    let (done, told) = import(&api, &request, file).await;
    let summary = done.unwrap();
    // Two rows that say the same are one, since nothing tells them apart.
    assert_eq!((summary.imported, summary.there, summary.refused), (2, 1, 2));
    assert_eq!(
        told,
        [
            "line 5: rating: expected an integer from 1 to 5, got the string \"6\"",
            "line 6: trace_id: missing, expected a string of 1 to 512 bytes",
        ]
    );
    let list = api.get(&format!("{PORTKEY}?order=desc")).await.ok().json();
    let [first, second] = [&list["data"][0], &list["data"][1]];
    assert_eq!(
        (
            &first["trace_id"],
            &first["rating"],
            &first["created_at"],
            &first["comment"],
            &first["reasons"]
        ),
        (
            &json!("c-1"),
            &json!(5),
            &json!("2026-10-01T10:00:00.000Z"),
            &json!("fine, \"really\""),
            &json!(["too long"])
        )
    );
    assert_eq!(first["metadata"], json!({"_user": "ada", "tier": "pro"}));
    assert_eq!(
        (&second["reasons"], &second["metadata"]),
        (&json!(["wrong", "too long"]), &json!({"colour": "red"}))
    );
    let wrong = Request {
        map: vec![],
        ..request
    };
    let (done, _) = import(&api, &wrong, file).await;
    let error = done.unwrap_err();
    assert!(
        error.starts_with("no column for trace_id: name it with --map trace_id=COLUMN"),
        "{error}"
    );
}

/// A record of an export that was edited, or that newer code wrote.
#[tokio::test(start_paused = true)]
async fn a_line_of_an_export_is_whole_or_refused() {
    let api = Api::new().await;
    let id = api.vote(1, json!({"_user": "ada"})).await;
    let line = exported(&api, Format::Jsonl).await;
    let created = api.record(&id).await["created_at"].as_str().unwrap().to_owned();
    let edited = [
        (
            line.replace("\"weight\":1.0", "\"wieght\":1.0"),
            "wieght: unknown field",
        ),
        (
            line.replace("\"version\":1", "\"version\":0"),
            "version: expected an integer from 1, got 0",
        ),
        (
            line.replace("\"value\":1", "\"value\":null"),
            "value: expected either value or rating",
        ),
        (
            line.replace(&id, "01a1"),
            "id: expected a UUID, hyphenated or as 32 hex digits, got a string of 4 bytes",
        ),
        (
            line.replacen(
                &format!("\"created_at\":\"{created}\""),
                "\"created_at\":\"2026-01-01T00:00:00Z\"",
                1,
            ),
            &format!("created_at: expected {created}, the time in the id, got 2026-01-01T00:00:00.000Z"),
        ),
        (
            line.replace("\"written_by\":\"hsk_", "\"written_by\":\"key_"),
            "written_by: expected hsk_ and 16 hex digits, got a string of 20 bytes",
        ),
    ];
    let file: String = edited.iter().map(|(line, _)| line.as_str()).collect();
    let other = Api::new().await;
    let (done, told) = import(&other, &request(System::Hindsight), &file).await;
    assert_eq!(done.unwrap().refused, 6);
    for (place, (_, says)) in edited.iter().enumerate() {
        assert_eq!(told[place], format!("line {}: {says}", place + 1));
    }
}
