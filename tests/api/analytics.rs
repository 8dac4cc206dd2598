//! Analytics: every route, filter and grouping.

use std::time::Duration;

use serde_json::{Value, json};
use shared::timestamp::Timestamp;

use crate::counting::verified;
use crate::harness::{Api, Fault, PORTKEY, TRUEFOUNDRY, Time};

/// A range that includes everything a test writes.
pub(crate) fn wide() -> String {
    let start = Time::start().now();
    let from = Timestamp::from_millis(start.millis() - 3_600_000);
    // A function's own process has a real clock, which runs ahead of the test's.
    range(from, start + Duration::from_secs(3 * 3600))
}

fn range(from: Timestamp, to: Timestamp) -> String {
    format!("time_of_generation_min={from}&time_of_generation_max={to}")
}

pub(crate) async fn ask(api: &Api, path: &str, query: &str) -> Value {
    api.get(&format!("/v1/analytics/{path}?{query}"))
        .await
        .ok()
        .json()
}

pub(crate) async fn vote(api: &Api, value: i64, weight: f64, metadata: Value) -> String {
    let body = json!({"trace_id": "t", "value": value, "weight": weight, "metadata": metadata});
    api.post(PORTKEY, body).await.ok().id()
}

/// A few votes and ratings that differ in every counted dimension.
async fn voted() -> Api {
    let api = Api::new().await;
    vote(
        &api,
        5,
        1.0,
        json!({"_user": "ada", "_model": "m1", "_prompt": "p", "_environment": "prod"}),
    )
    .await;
    vote(
        &api,
        -1,
        0.5,
        json!({"_user": "ada", "ai_model": "m2", "_prompt": "p", "tier": "gold"}),
    )
    .await;
    vote(&api, 0, 0.0, json!({"_user": "bob", "_model": "m1", "tier": 7})).await;
    let rated = json!({
        "target": {"traceId": "t", "spanId": "s"}, "rating": 4, "metadata": {"_user": "eve", "_model": "m1"},
    });
    api.post(TRUEFOUNDRY, rated).await.ok();
    api.count().await;
    api
}

#[tokio::test]
async fn the_graphs_have_portkey_s_shapes() {
    let api = voted().await;
    let hour = {
        let now = api.time.now();
        Timestamp::from_millis(now.millis() - now.millis() % 3_600_000).to_string()
    };
    let total = ask(&api, "graphs/feedbacks", &wide()).await;
    assert_eq!(total["object"], "analytics-graph");
    assert_eq!(total["summary"], json!({"total": 3}));
    assert_eq!(total["data_points"], json!([{"timestamp": hour, "total": 3}]));
    assert_eq!(
        total["ratings"],
        json!({"total": 1, "mean": 4.0, "distribution": [{"rating": 4, "total": 1}]})
    );
    assert!(total["as_of"].is_string());

    for path in ["graphs/feedbacks/scores", "graphs/feedbacks/score"] {
        let scores = ask(&api, path, &wide()).await;
        assert_eq!(scores["summary"], json!({"total": 3}));
        let points = json!([{"score": -1, "total": 1}, {"score": 0, "total": 1}, {"score": 5, "total": 1}]);
        assert_eq!(scores["data_points"], points);
    }

    let weighted = ask(&api, "graphs/feedbacks/weighted", &wide()).await;
    assert_eq!(weighted["summary"]["avg"], json!(4.5 / 3.0));
    assert_eq!(weighted["summary"]["mean"], json!(4.5 / 1.5));
    assert_eq!(weighted["data_points"], json!([{"timestamp": hour, "avg": 1.5}]));
    let positive = &weighted["summary"]["positive"];
    assert_eq!(positive["share"], json!(1.0 / 3.0));
    // Wilson's interval for 1 in 3, from published tables.
    let near = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-4;
    assert!(
        near(&positive["low"], 0.0615) && near(&positive["high"], 0.7923),
        "{positive}"
    );

    let models = ask(&api, "graphs/feedbacks/ai-models", &wide()).await;
    assert_eq!(models["summary"], json!({}));
    let points = models["data_points"].as_array().unwrap();
    let of = |index: usize| {
        (
            &points[index]["ai_model"],
            &points[index]["total"],
            &points[index]["avg_weighted_feedback"],
        )
    };
    assert_eq!(of(0), (&json!("m1"), &json!(2), &json!(2.5)));
    assert_eq!(of(1), (&json!("m2"), &json!(1), &json!(-0.5)));
    assert_eq!(points[0]["ratings"]["total"], 1);
}

#[tokio::test]
async fn groups_work_by_any_metadata_field_and_in_pages() {
    let api = voted().await;
    let groups = ask(&api, "groups/metadata/_user", &wide()).await;
    assert_eq!((&groups["object"], &groups["total"]), (&json!("list"), &json!(3)));
    let first = &groups["data"][0];
    assert_eq!(
        (
            &first["metadata_value"],
            &first["requests_with_feedback"],
            &first["avg_weighted_feedback"]
        ),
        (&json!("ada"), &json!(2), &json!(2.25))
    );
    assert_eq!(first["object"], "analytics-group");
    assert!(first["last_seen"].is_string());
    let page = |page: usize| format!("{}&page_size=2&current_page={page}", wide());
    let names = |answer: &Value| -> Vec<String> {
        let data = answer["data"].as_array().unwrap();
        data.iter()
            .map(|group| group["metadata_value"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(&ask(&api, "groups/metadata/_user", &page(0)).await),
        ["ada", "bob"]
    );
    assert_eq!(
        names(&ask(&api, "groups/metadata/_user", &page(1)).await),
        ["eve"]
    );
    assert!(names(&ask(&api, "groups/metadata/_user", &page(2)).await).is_empty());
    // A field without roll-ups is read from the records.
    let tiers = ask(&api, "groups/metadata/tier", &wide()).await;
    assert_eq!(names(&tiers), ["7", "gold"]);
    assert_eq!(ask(&api, "groups/metadata/nothing", &wide()).await["total"], 0);
}

#[tokio::test]
async fn every_filter_works_with_and_without_roll_ups() {
    let api = voted().await;
    for (filter, total) in [
        ("", 3),
        ("&workspace_slug=test", 3),
        ("&prompt_slug=p", 2),
        ("&ai_org_model=m1", 2),
        ("&ai_org_model=m1,m2", 3),
        ("&ai_org_model=m3", 0),
        ("&metadata=%7B%22_environment%22:%22prod%22%7D", 1),
        ("&metadata=%7B%22_user%22:%22ada%22%7D", 2),
        ("&metadata=%7B%22tier%22:7%7D", 1),
        ("&metadata=%7B%22tier%22:%22gold%22,%22_prompt%22:%22p%22%7D", 1),
        ("&metadata=%7B%7D", 3),
        // The exact value of `_model`, without falling back to `ai_model`.
        ("&metadata=%7B%22_model%22:%22m2%22%7D", 0),
        ("&metadata=%7B%22ai_model%22:%22m2%22%7D", 1),
        ("&metadata=%7B%22_model%22:%22unknown%22%7D", 0),
        ("&trace_id=t", 3),
        ("&trace_id=t&span_id=s", 0),
        ("&trace_id=u", 0),
        ("&weighted_feedback_min=0", 2),
        ("&weighted_feedback_max=-0.5", 1),
        ("&prompt_slug=p&ai_org_model=m2", 1),
    ] {
        let query = format!("{}{filter}", wide());
        assert_eq!(
            ask(&api, "graphs/feedbacks", &query).await["summary"]["total"],
            total,
            "{filter}"
        );
        let groups = ask(&api, "groups/metadata/_model", &query).await;
        let votes: i64 = groups["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| {
                let rated = group["ratings"]["total"].as_i64().unwrap();
                group["requests_with_feedback"].as_i64().unwrap() - rated
            })
            .sum();
        assert_eq!(votes, total, "{filter}");
    }
}

#[tokio::test]
async fn unsupported_queries_are_rejected_with_a_reason() {
    let api = Api::new().await;
    let bad = async |query: &str, status, says: &str| {
        api.get(&format!("/v1/analytics/graphs/feedbacks?{query}"))
            .await
            .refused(status, says);
    };
    bad("", 400, "time_of_generation_min: missing").await;
    bad(
        "time_of_generation_min=x&time_of_generation_max=y",
        400,
        "expected an ISO 8601 date",
    )
    .await;
    bad(&format!("{}&cost_min=1", wide()), 400, "cost_min: not supported").await;
    bad(&format!("{}&cost=1", wide()), 400, "unknown parameter cost").await;
    bad(
        &format!("{}&metadata=x", wide()),
        400,
        "metadata: expected a JSON object",
    )
    .await;
    bad(
        &format!("{}&span_id=s", wide()),
        400,
        "trace_id: missing, expected with span_id",
    )
    .await;
    bad(&format!("{}&page_size=1001", wide()), 400, "page_size: expected").await;
    bad(
        &format!("{}&workspace_slug=other", wide()),
        403,
        "another workspace",
    )
    .await;
    let now = Timestamp::now();
    let backwards = range(now + Duration::from_secs(1), now);
    bad(&backwards, 400, "time_of_generation_max: expected at or after").await;
}

#[tokio::test]
async fn empty_ranges_and_utc_offsets_are_valid() {
    let api = Api::new().await;
    for query in [
        "time_of_generation_min=2020-01-01T00:00:00Z&time_of_generation_max=2020-12-31T00:00:00Z",
        "time_of_generation_min=2020-01-01T05:30:00%2B05:30&time_of_generation_max=2020-01-02T00:00:00-08:00",
        "time_of_generation_min=2020-01-01T00:00:00Z&time_of_generation_max=2020-01-01T00:00:00Z",
    ] {
        let total = ask(&api, "graphs/feedbacks", query).await;
        assert_eq!(
            (&total["summary"]["total"], &total["data_points"]),
            (&json!(0), &json!([]))
        );
        assert_eq!(total["as_of"], Value::Null, "nothing has been counted yet");
        assert_eq!(
            ask(&api, "graphs/feedbacks/weighted", query).await["summary"]["avg"],
            0.0
        );
    }
}

#[tokio::test]
async fn range_ends_are_exact_to_the_millisecond() {
    let api = Api::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(vote(&api, 1, 1.0, json!({"_model": "m"})).await);
    }
    api.count().await;
    let created = |id: &String| shared::id::FeedbackId::parse(id).unwrap().created_at();
    let (second, fourth) = (created(&ids[1]), created(&ids[3]));
    for path in ["graphs/feedbacks", "graphs/feedbacks/ai-models"] {
        let answer = ask(&api, path, &range(second, fourth)).await;
        let points = answer["data_points"].as_array().unwrap();
        assert_eq!(
            points[0]["total"], 2,
            "from the first moment on, to the last one without it"
        );
    }
}

#[tokio::test]
async fn updates_deletes_and_changes_of_scale_adjust_the_counts() {
    let api = Api::new().await;
    let id = vote(&api, 5, 0.1, json!({"_prompt": "p", "_model": "m"})).await;
    api.count().await;
    let numbers = async || {
        api.count().await;
        let all = ask(&api, "graphs/feedbacks/weighted", &wide()).await;
        let prompt = ask(&api, "graphs/feedbacks", &format!("{}&prompt_slug=p", wide())).await;
        (
            all["summary"]["avg"].clone(),
            prompt["summary"]["total"].clone(),
            all["ratings"]["total"].clone(),
        )
    };
    assert_eq!(numbers().await, (json!(0.5), json!(1), json!(0)));
    let path = format!("{PORTKEY}/{id}");
    api.put(&path, json!({"value": -3, "weight": 0.3})).await.ok();
    assert_eq!(numbers().await, (json!(-0.9), json!(1), json!(0)));
    api.put(&path, json!({"value": -3, "metadata": null})).await.ok();
    assert_eq!(numbers().await, (json!(-0.9), json!(0), json!(0)));
    api.put(&format!("{TRUEFOUNDRY}/{id}"), json!({"rating": 2}))
        .await
        .ok();
    assert_eq!(numbers().await, (json!(0.0), json!(0), json!(1)));
    api.delete(&path).await.ok();
    assert_eq!(numbers().await, (json!(0.0), json!(0), json!(0)));
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn roll_ups_that_dynamodb_leaves_out_of_a_batch_are_requested_again() {
    let api = Api::new().await;
    for value in 1..=8 {
        vote(&api, value, 1.0, json!({"_prompt": "p"})).await;
        api.time.forward(Duration::from_secs(20 * 60));
    }
    api.count().await;
    let query = format!("{}&prompt_slug=p", wide());
    api.database.calls();
    let whole = ask(&api, "graphs/feedbacks", &query).await;
    let batches = |api: &Api| {
        let calls = api.database.calls();
        calls.iter().filter(|call| *call == "BatchGetItem").count()
    };
    assert_eq!((batches(&api), &whole["summary"]["total"]), (1, &json!(8)));
    for count in [1, 3] {
        api.database
            .fail_on("BatchGetItem", [Fault::HalfOfTheKeys].repeat(count));
        assert_eq!(ask(&api, "graphs/feedbacks", &query).await, whole);
        assert_eq!(batches(&api), 1 + count);
    }
    // However often: half of one key is all of it.
    api.database
        .fail_on("BatchGetItem", [Fault::HalfOfTheKeys].repeat(50));
    assert_eq!(ask(&api, "graphs/feedbacks", &query).await, whole);
}

#[tokio::test]
async fn a_workspace_has_its_own_analytics() {
    let api = voted().await;
    let other = api.as_key(&api.key_for("other", &[shared::access::Scope::Admin]).await);
    vote(&other, 9, 1.0, json!({"_user": "ada"})).await;
    api.count().await;
    assert_eq!(
        ask(&api, "graphs/feedbacks", &wide()).await["summary"]["total"],
        3
    );
    assert_eq!(
        ask(&other, "graphs/feedbacks", &wide()).await["summary"]["total"],
        1
    );
    assert_eq!(ask(&other, "groups/metadata/_user", &wide()).await["total"], 1);
}
