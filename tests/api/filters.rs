//! The filters of lists by score, reason and comment, in both dialects.

use proptest::prelude::*;
use serde_json::{Value, json};
use shared::query::MAX_LIMIT;

use crate::dynamodb::cases;
use crate::harness::{Api, PORTKEY, TRUEFOUNDRY};

/// A filter in Portkey's spelling as TrueFoundry's list spells it.
fn camel_case(query: &str) -> String {
    let mut spelled = query.to_owned();
    for (snake, camel) in [
        ("value_min", "valueMin"),
        ("value_max", "valueMax"),
        ("rating_min", "ratingMin"),
        ("rating_max", "ratingMax"),
        ("has_comment", "hasComment"),
    ] {
        spelled = spelled.replace(snake, camel);
    }
    spelled
}

/// The ids of a list of the trace `t` with this filter, newest first, in pages of `limit`.
async fn listed(api: &Api, path: &str, filter: &str, limit: usize) -> Vec<String> {
    let (filter, trace, cursor) = match path {
        PORTKEY => (filter.to_owned(), "trace_id", "cursor"),
        _ => (camel_case(filter), "traceId", "pageToken"),
    };
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("{path}?{trace}=t&{filter}&limit={limit}{after}");
        let page = api.get(&path).await.ok();
        ids.extend(page.ids().iter().map(|id| id.replace('-', "")));
        let json = page.json();
        let next = json["next_cursor"]
            .as_str()
            .or(json["pagination"]["nextPageToken"].as_str());
        match next {
            Some(next) => after = format!("&{cursor}={next}"),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn a_list_is_filtered_by_score_reason_and_comment() {
    let api = Api::new().await;
    let vote = async |value: i64, rest: Value| {
        let mut body = json!({"trace_id": "t", "value": value});
        body.as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        api.post(PORTKEY, body).await.ok().id().replace('-', "")
    };
    let rate = async |rating: i64, comment: Value| {
        let target = json!({"traceId": "t", "spanId": "s"});
        let body = json!({"target": target, "rating": rating, "comment": comment, "reasons": ["wrong"]});
        api.post(TRUEFOUNDRY, body).await.ok().id()
    };
    let lowest = vote(-10, json!({"comment": "no", "reasons": ["wrong", "too long"]})).await;
    // As in Portkey's sample.
    let sample = vote(0, json!({"metadata": {"text": "title was irrelevant"}})).await;
    let highest = vote(10, json!({"comment": "", "metadata": {"comment": " "}})).await;
    let poor = rate(1, Value::Null).await;
    let good = rate(5, json!("yes")).await;
    for (filter, expected) in [
        ("value_min=-10", vec![&highest, &sample, &lowest]),
        ("value_max=10", vec![&highest, &sample, &lowest]),
        ("value_min=0", vec![&highest, &sample]),
        ("value_max=0", vec![&sample, &lowest]),
        ("value_min=0&value_max=0", vec![&sample]),
        ("value_min=1&value_max=9", vec![]),
        ("value_min=-9.0&value_max=5e0", vec![&sample]),
        ("rating_min=1", vec![&good, &poor]),
        ("rating_max=4", vec![&poor]),
        ("rating_min=2&rating_max=5", vec![&good]),
        ("reason=wrong", vec![&good, &poor, &lowest]),
        ("reason=too+long", vec![&lowest]),
        ("has_comment=true", vec![&good, &sample, &lowest]),
        ("has_comment=false", vec![&poor, &highest]),
        ("has_comment=true&reason=wrong&rating_min=2", vec![&good]),
        ("has_comment=true&value_max=-1", vec![&lowest]),
    ] {
        for path in [PORTKEY, TRUEFOUNDRY] {
            let found = listed(&api, path, filter, 1).await;
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{path} {filter}");
        }
    }
    // The summary is the whole trace's, whatever the filter, and nothing of a record changes by being read.
    let list = api
        .get(&format!("{PORTKEY}?trace_id=t&has_comment=true&value_min=0"))
        .await
        .ok()
        .json();
    assert_eq!(list["summary"]["count"], 5);
    assert_eq!(list["data"][0]["comment"], Value::Null);
    assert_eq!(
        list["data"][0]["metadata"],
        json!({"text": "title was irrelevant"})
    );
}

#[tokio::test]
async fn ranges_and_flags_that_cannot_be_met_are_rejected() {
    let api = Api::new().await;
    for (query, says) in [
        (
            "value_min=11",
            "value_min: expected an integer from -10 to 10, got 11",
        ),
        (
            "value_min=-10.5",
            "value_min: expected an integer from -10 to 10, got -10.5",
        ),
        (
            "value_max=",
            "value_max: expected an integer from -10 to 10, got nothing",
        ),
        (
            "value_max=ten",
            "value_max: expected an integer from -10 to 10, got 3 bytes",
        ),
        ("value_max=%225%22", "value_max: expected an integer"),
        ("value_max=%205", "value_max: expected an integer"),
        ("value_max=%2B5", "value_max: expected an integer"),
        ("value_min=1&value_min=2", "value_min: expected once, got several"),
        (
            "rating_min=0",
            "rating_min: expected an integer from 1 to 5, got 0",
        ),
        (
            "rating_max=6",
            "rating_max: expected an integer from 1 to 5, got 6",
        ),
        (
            "value_min=3&value_max=2",
            "value_max: expected at least value_min, got less",
        ),
        (
            "rating_min=5&rating_max=1",
            "rating_max: expected at least rating_min, got less",
        ),
        (
            "value_min=1&rating_max=5",
            "value_min: expected a range of values or of ratings, got value_min and rating_max",
        ),
        (
            "rating_min=1&rating_max=5&value_max=1",
            "value_max: expected a range of values or of ratings, got value_max and rating_min",
        ),
        ("value_min=11&rating_max=9", "got value_min and rating_max"),
        ("has_comment=1", "has_comment: expected true or false, got 1"),
        (
            "has_comment=True",
            "has_comment: expected true or false, got 4 bytes",
        ),
        ("has_comment=", "has_comment: expected true or false, got nothing"),
        ("reason=", "reason: expected 1 to 64 bytes, got nothing"),
    ] {
        api.get(&format!("{PORTKEY}?{query}")).await.refused(400, says);
        api.get(&format!("{TRUEFOUNDRY}?traceId=t&{}", camel_case(query)))
            .await
            .refused(400, &camel_case(says));
        // Neither list knows the other's spelling.
        if query.contains('_') {
            api.get(&format!("{TRUEFOUNDRY}?traceId=t&{query}"))
                .await
                .refused(400, "query: unknown parameter");
            api.get(&format!("{PORTKEY}?{}", camel_case(query)))
                .await
                .refused(400, "query: unknown parameter");
        }
    }
}

/// A page ends where it has examined 1,000 records, and its cursor goes on to the ones that match.
#[tokio::test]
async fn a_filter_that_few_records_match_takes_several_pages() {
    let api = Api::new().await;
    let rare = json!({"trace_id": "t", "value": -1, "comment": "rare"});
    let id = api.post(PORTKEY, rare).await.ok().id();
    let bulk = Value::Array(vec![json!({"trace_id": "t", "value": 1}); 100]);
    for _ in 0..11 {
        api.post(PORTKEY, bulk.clone()).await.ok();
    }
    for filter in ["has_comment=true", "value_max=0"] {
        for path in [
            format!("{PORTKEY}?{filter}"),
            format!("{PORTKEY}?trace_id=t&{filter}"),
        ] {
            let first = api.get(&path).await.ok();
            assert!(first.ids().is_empty(), "{path}");
            let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
            let second = api.get(&format!("{path}&cursor={cursor}")).await.ok();
            assert_eq!(second.ids(), std::slice::from_ref(&id), "{path}");
            assert!(second.json()["next_cursor"].is_null());
        }
    }
}

/// The body of a create on the trace `t`, and whether it is Portkey's.
fn record() -> impl Strategy<Value = (bool, Value)> {
    let text = || {
        prop::sample::select(vec![
            Value::Null,
            json!(""),
            json!(" \n"),
            json!("fine"),
            json!(5),
            json!(["fine"]),
        ])
    };
    let comment = prop::sample::select(vec![Value::Null, json!(""), json!("\t"), json!("no")]);
    let reasons = prop::sample::subsequence(vec!["wrong", "too long"], 0..=2);
    let metadata = (text(), text(), text());
    (any::<bool>(), -3..=3_i64, 1..=5_i64, comment, reasons, metadata).prop_map(
        |(is_value, value, rating, comment, reasons, (a, b, c))| {
            let mut metadata = json!({"comment": a, "comments": b, "text": c});
            metadata.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            let body = match is_value {
                true => json!({
                    "trace_id": "t", "value": value, "comment": comment, "reasons": reasons, "metadata": metadata,
                }),
                false => json!({
                    "target": {"traceId": "t", "spanId": "s"},
                    "rating": rating, "comment": comment, "reasons": reasons, "metadata": metadata,
                }),
            };
            (is_value, body)
        },
    )
}

/// A filter: the range of scores and its scale, a reason, whether there is a comment.
#[derive(Clone, Debug)]
struct Asked {
    scale: &'static str,
    min: Option<i64>,
    max: Option<i64>,
    reason: Option<&'static str>,
    has_comment: Option<bool>,
}

impl Asked {
    fn query(&self) -> String {
        let Self { scale, min, max, .. } = self;
        let mut query = String::new();
        for (end, number) in [("min", min), ("max", max)] {
            if let Some(number) = number {
                query.push_str(&format!("{scale}_{end}={number}&"));
            }
        }
        if let Some(reason) = self.reason {
            query.push_str(&format!("reason={}&", reason.replace(' ', "%20")));
        }
        if let Some(has_comment) = self.has_comment {
            query.push_str(&format!("has_comment={has_comment}&"));
        }
        query
    }

    /// Whether a record, as Portkey's list shows it, passes.
    fn admits(&self, record: &Value) -> bool {
        let score = record[self.scale].as_i64();
        let is_within = |end: Option<i64>, fits: fn(i64, i64) -> bool| {
            end.is_none_or(|end| score.is_some_and(|score| fits(score, end)))
        };
        let metadata = &record["metadata"];
        let places = [
            &record["comment"],
            &metadata["comment"],
            &metadata["comments"],
            &metadata["text"],
        ];
        let says_something = |text: &&Value| text.as_str().is_some_and(|text| !text.trim().is_empty());
        let reasons = record["reasons"].as_array().unwrap();
        is_within(self.min, |score, min| score >= min)
            && is_within(self.max, |score, max| score <= max)
            && self.reason.is_none_or(|reason| reasons.contains(&json!(reason)))
            && self
                .has_comment
                .is_none_or(|asked| places.iter().any(says_something) == asked)
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let score = prop_oneof![
        (Just("value"), -3..=3_i64, -3..=3_i64),
        (Just("rating"), 1..=5_i64, 1..=5_i64),
    ];
    let reason = prop::option::of(prop::sample::select(vec!["wrong", "too long", "none"]));
    let ends = (any::<bool>(), any::<bool>());
    (score, ends, reason, any::<Option<bool>>()).prop_map(
        |((scale, one, other), (has_min, has_max), reason, has_comment)| Asked {
            scale,
            min: has_min.then_some(one.min(other)),
            max: has_max.then_some(one.max(other)),
            reason,
            has_comment,
        },
    )
}

#[test]
fn a_filtered_list_is_all_records_filtered() {
    let config = ProptestConfig {
        cases: cases(24),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let records = prop::collection::vec(record(), 1..24);
    let filters = prop::collection::vec((asked(), 1..=MAX_LIMIT), 8);
    proptest!(config, |(records in records, filters in filters)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let api = Api::new().await;
            for (is_value, body) in records {
                api.post(if is_value { PORTKEY } else { TRUEFOUNDRY }, body).await.ok();
            }
            let all = api.get(&format!("{PORTKEY}?trace_id=t&limit=100")).await.ok().json();
            let all = all["data"].as_array().unwrap();
            for (asked, limit) in &filters {
                let expected: Vec<String> = all
                    .iter()
                    .filter(|record| asked.admits(record))
                    .map(|record| record["id"].as_str().unwrap().replace('-', ""))
                    .collect();
                for path in [PORTKEY, TRUEFOUNDRY] {
                    let found = listed(&api, path, &asked.query(), *limit).await;
                    prop_assert_eq!(&found, &expected, "{} {}", path, asked.query());
                }
            }
            Ok(())
        })?;
    });
}
