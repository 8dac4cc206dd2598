//! Workspaces are isolated: another workspace's record is indistinguishable from a missing one, in the
//! bytes of the response and in the number of database calls, however it is addressed.

use std::time::Duration;

use lambda_http::http::Method;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::id::FeedbackId;
use shared::query::{Order, decode_cursor};
use tokio::time::Instant;

use crate::analytics::{ask, wide};
use crate::dynamodb::cases;
use crate::harness::{Answer, Api, PORTKEY, TRUEFOUNDRY};

const OLD: &str = "019ab2a9-8fc6-7804-83ea-e496e2dd611d";

/// What a caller can observe of a call: the response, and its duration, measured by the clock and by the
/// database calls that take most of it.
#[derive(Debug, PartialEq)]
struct Seen {
    answer: Answer,
    took: Duration,
    calls: Vec<String>,
}

async fn see(api: &Api, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Seen {
    api.database.calls();
    let started = Instant::now();
    let answer = api.call(method, path, headers, body).await;
    Seen {
        answer,
        took: started.elapsed(),
        calls: api.database.calls(),
    }
}

/// Two workspaces of one deployment. Both keys are cached, so neither costs a look-up.
async fn neighbors() -> (Api, Api) {
    let api = Api::new().await;
    let ours = api.as_key(&api.key_for("ours", &[Scope::Admin]).await);
    let theirs = api.as_key(&api.key_for("theirs", &[Scope::Admin]).await);
    for api in [&ours, &theirs] {
        api.get(PORTKEY).await.ok();
    }
    (ours, theirs)
}

#[tokio::test(start_paused = true)]
async fn another_workspace_s_record_is_no_different_from_a_missing_one() {
    let (ours, theirs) = neighbors().await;
    let target = json!({"traceId": "t", "spanId": "s"});
    let rated = json!({"target": target, "rating": 3, "comment": "c", "metadata": {"_user": "u"}});
    // Both workspaces have feedback on the same span, so the target does not distinguish them.
    ours.post(TRUEFOUNDRY, rated.clone()).await.ok();
    let foreign = theirs.post(TRUEFOUNDRY, rated.clone()).await.ok().id();
    let young = FeedbackId::mint(ours.time.now(), 0, [7; 10]).simple();
    let before = ours.database.items("feedback");
    let wrong = json!({"target": {"traceId": "t", "spanId": "other"}, "rating": 1});
    let undefined = |id: &str| json!({"feedback_id": id, "value": 1}).to_string();
    for headers in [
        &[][..],
        &[("if-match", "\"1\"")],
        &[("if-match", "\"2\"")],
        &[("if-match", "*")],
        &[("idempotency-key", "k")],
        &[("idempotency-key", "k"), ("if-match", "\"1\"")],
        &[("idempotency-key", "k"), ("if-match", "\"2\"")],
    ] {
        for (method, base, body) in [
            (Method::GET, PORTKEY, String::new()),
            (Method::GET, TRUEFOUNDRY, String::new()),
            (Method::PUT, PORTKEY, json!({"value": 1}).to_string()),
            (Method::PUT, TRUEFOUNDRY, json!({"rating": 1}).to_string()),
            (Method::PUT, TRUEFOUNDRY, rated.to_string()),
            (Method::PUT, TRUEFOUNDRY, wrong.to_string()),
            (Method::DELETE, PORTKEY, String::new()),
            (Method::DELETE, TRUEFOUNDRY, String::new()),
            (Method::DELETE, TRUEFOUNDRY, json!({"target": target}).to_string()),
            (Method::DELETE, TRUEFOUNDRY, wrong.to_string()),
        ] {
            let mut seen = Vec::new();
            for id in [&foreign, &young] {
                seen.push(see(&ours, method.clone(), &format!("{base}/{id}"), headers, &body).await);
            }
            assert_eq!(seen[0].answer.status, 404, "{method} {base} {headers:?}");
            assert_eq!(seen[0], seen[1], "{method} {base} {headers:?}");
        }
        let mut seen = Vec::new();
        for id in [&foreign, &young] {
            let path = format!("{PORTKEY}/undefined");
            seen.push(see(&ours, Method::PUT, &path, headers, &undefined(id)).await);
        }
        assert_eq!(seen[0].answer.status, 404);
        assert_eq!(seen[0], seen[1]);
    }
    assert_eq!(ours.database.items("feedback"), before);
    assert!(ours.database.items("idempotency").is_empty());
}

#[tokio::test]
async fn the_same_span_in_two_workspaces_is_separate() {
    let (ours, theirs) = neighbors().await;
    let metadata = json!({"_user": "u", "_organisation": "o", "_prompt": "p", "_environment": "e"});
    let mut ids = Vec::new();
    for (api, rating) in [(&ours, 1), (&theirs, 5)] {
        let target = json!({"traceId": "t", "spanId": "s"});
        let rated = json!({"target": target, "rating": rating, "metadata": metadata});
        let valued = json!({"trace_id": "t", "value": rating, "metadata": metadata});
        let rated = api.post(TRUEFOUNDRY, rated).await.ok().id();
        // Also in a bulk, because transactions must be restricted to the workspace too.
        let valued = api.post(PORTKEY, json!([valued])).await.ok().id();
        ids.push([FeedbackId::parse(&valued), FeedbackId::parse(&rated)].map(|id| id.unwrap().simple()));
    }
    for (api, [valued, rated], rating) in [(&ours, &ids[0], 1), (&theirs, &ids[1], 5)] {
        for (query, expected) in [
            ("", vec![valued, rated]),
            ("trace_id=t", vec![valued, rated]),
            ("trace_id=t&span_id=s", vec![rated]),
            ("user=u", vec![valued, rated]),
            ("organisation=o", vec![valued, rated]),
            ("prompt=p", vec![valued, rated]),
            ("environment=e", vec![valued, rated]),
        ] {
            let list = api.get(&format!("{PORTKEY}?{query}")).await.ok();
            let mut found: Vec<String> = list.ids().iter().map(|id| id.replace('-', "")).collect();
            let mut expected: Vec<String> = expected.into_iter().cloned().collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{query}");
            if query.starts_with("trace_id") {
                let summary =
                    json!({"count": 2, "pairs": [{"value": rating, "weight": 1.0}], "ratings": [rating]});
                assert_eq!(list.json()["summary"], summary, "{query}");
            }
        }
        let span = api.get(&format!("{TRUEFOUNDRY}?traceId=t&spanId=s")).await.ok();
        assert_eq!(span.ids(), std::slice::from_ref(rated));
    }
}

#[tokio::test]
async fn idempotency_keys_are_separate_per_workspace() {
    let (ours, theirs) = neighbors().await;
    let body = json!({"trace_id": "t", "value": 1}).to_string();
    let other = json!({"trace_id": "t", "value": 2}).to_string();
    let key = [("idempotency-key", "k")];
    let first = ours.call(Method::POST, PORTKEY, &key, &body).await.ok();
    // Neither the same request nor another one is affected by the neighbor's use of the key.
    let second = theirs.call(Method::POST, PORTKEY, &key, &body).await.ok();
    assert_ne!(first.id(), second.id());
    let (ours_again, _) = neighbors_of(&ours).await;
    ours_again.call(Method::POST, PORTKEY, &key, &other).await.ok();
    assert_eq!(ours.call(Method::POST, PORTKEY, &key, &body).await, first);
    assert_eq!(theirs.call(Method::POST, PORTKEY, &key, &body).await, second);
    theirs
        .call(Method::POST, PORTKEY, &key, &other)
        .await
        .refused(409, "different request");
}

/// Two more workspaces of the same deployment.
async fn neighbors_of(api: &Api) -> (Api, Api) {
    let one = api.as_key(&api.key_for("third", &[Scope::Admin]).await);
    let other = api.as_key(&api.key_for("fourth", &[Scope::Admin]).await);
    (one, other)
}

/// A workspace name that is a prefix of another's, and text that looks like parts of a key, give no access.
#[tokio::test]
async fn no_text_reaches_another_workspace() {
    let api = Api::new().await;
    let a = api.as_key(&api.key_for("a", &[Scope::Admin]).await);
    for other in ["a-b", "aa", "b"] {
        let theirs = api.as_key(&api.key_for(other, &[Scope::Admin]).await);
        let metadata = json!({"_user": "u", "_organisation": "o", "_prompt": "p", "_environment": "e"});
        for trace in ["t", "#t", "b#t"] {
            theirs
                .post(
                    PORTKEY,
                    json!({"trace_id": trace, "value": 1, "metadata": metadata}),
                )
                .await
                .ok();
        }
    }
    for text in [
        "t", "#t", "b#t", "-b#t", "a-b#t", "u", "-b#u", "0#o", "b#0#o", "o", "p", "e",
    ] {
        let text = text.replace('#', "%23");
        for name in ["trace_id", "user", "organisation", "prompt", "environment"] {
            assert!(
                a.get(&format!("{PORTKEY}?{name}={text}"))
                    .await
                    .ok()
                    .ids()
                    .is_empty(),
                "{name}={text}"
            );
        }
        assert!(
            a.get(&format!("{PORTKEY}?trace_id={text}&span_id={text}"))
                .await
                .ok()
                .ids()
                .is_empty()
        );
    }
}

/// One call by one of two workspaces. It refers to ids and cursors of earlier calls by their index,
/// whichever workspace they belong to.
#[derive(Clone, Debug)]
enum Step {
    Create {
        form: u8,
        trace: u8,
        user: u8,
        key: Option<u8>,
    },
    Update {
        id: Index,
        form: u8,
        trace: u8,
        if_match: Option<u8>,
        key: Option<u8>,
    },
    Delete {
        id: Index,
        form: u8,
        trace: u8,
        if_match: Option<u8>,
        key: Option<u8>,
    },
    Get {
        id: Index,
        form: u8,
    },
    List {
        form: u8,
        trace: u8,
        ascending: bool,
        limit: u8,
        cursor: Option<Index>,
    },
}

fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
    // Few different values, so that steps affect each other.
    let form = || 0..4_u8;
    let trace = || 0..2_u8;
    let key = || prop::option::weighted(0.3, 0..2_u8);
    let if_match = || prop::option::weighted(0.3, 1..3_u8);
    let id = any::<Index>;
    let step = prop_oneof![
        4 => (form(), trace(), 0..2_u8, key())
            .prop_map(|(form, trace, user, key)| Step::Create { form, trace, user, key }),
        3 => (id(), form(), trace(), if_match(), key())
            .prop_map(|(id, form, trace, if_match, key)| Step::Update { id, form, trace, if_match, key }),
        2 => (id(), form(), trace(), if_match(), key())
            .prop_map(|(id, form, trace, if_match, key)| Step::Delete { id, form, trace, if_match, key }),
        2 => (id(), form()).prop_map(|(id, form)| Step::Get { id, form }),
        3 => (0..6_u8, trace(), any::<bool>(), 1..4_u8, prop::option::of(id()))
            .prop_map(|(form, trace, ascending, limit, cursor)| Step::List { form, trace, ascending, limit, cursor }),
    ];
    prop::collection::vec((any::<bool>(), step), 1..30)
}

/// Two workspaces, in one deployment or in two, and the ids and cursors they have received.
struct World {
    apis: [Api; 2],
    ids: Vec<String>,
    cursors: Vec<(String, bool)>,
}

impl World {
    async fn shared() -> Self {
        let api = Api::new().await;
        let ours = api.as_key(&api.key_for("ours", &[Scope::Admin]).await);
        let theirs = api.as_key(&api.key_for("theirs", &[Scope::Admin]).await);
        Self::of([ours, theirs])
    }

    async fn apart() -> Self {
        let (one, other) = (Self::shared().await, Self::shared().await);
        let ([ours, _], [_, mut theirs]) = (one.apis, other.apis);
        // Both have the same clock, as in one deployment, because a cursor of one may be used in the other.
        theirs.time = ours.time.clone();
        Self::of([ours, theirs])
    }

    fn of(apis: [Api; 2]) -> Self {
        Self {
            apis,
            ids: vec![OLD.replace('-', "")],
            cursors: Vec::new(),
        }
    }

    async fn take(&mut self, second: bool, step: &Step) -> Seen {
        let api = self.apis[usize::from(second)].clone();
        let (method, path, body) = self.request(step);
        let (key, if_match) = match step {
            Step::Create { key, .. } => (*key, None),
            Step::Update { key, if_match, .. } | Step::Delete { key, if_match, .. } => (*key, *if_match),
            Step::Get { .. } | Step::List { .. } => (None, None),
        };
        let key = key.map(|key| format!("key {key}"));
        let if_match = if_match.map(|version| format!("\"{version}\""));
        let headers: Vec<(&str, &str)> = [("idempotency-key", &key), ("if-match", &if_match)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
            .collect();
        let mut seen = see(&api, method, &path, &headers, &body).await;
        if matches!(step, Step::List { .. }) {
            // Ids are spread over a list's shards by chance, which changes how often each is read.
            seen.calls.dedup();
        }
        self.name(step, &mut seen.answer);
        // Another key's id stays, and differs between the worlds.
        seen.answer.text = seen.answer.text.replace(api.key_id(), "<own key>");
        seen
    }

    fn request(&self, step: &Step) -> (Method, String, String) {
        let base = |form: u8| {
            if form.is_multiple_of(2) {
                PORTKEY
            } else {
                TRUEFOUNDRY
            }
        };
        let one = |form: u8, id: &Index| format!("{}/{}", base(form), id.get(&self.ids));
        let target = |trace: u8| json!({"traceId": format!("t{trace}"), "spanId": "s"});
        match step {
            Step::Create {
                form, trace, user, ..
            } => {
                let metadata = json!({"_user": format!("u{user}"), "_prompt": "p"});
                let valued = json!({"trace_id": format!("t{trace}"), "value": user, "metadata": metadata});
                let body = match form {
                    0 => valued,
                    2 => json!([valued, valued]),
                    _ => json!({"target": target(*trace), "rating": 1 + user, "metadata": metadata}),
                };
                (Method::POST, base(*form).to_owned(), body.to_string())
            }
            Step::Update { id, form, trace, .. } => {
                let body = match form {
                    0 => json!({"value": 7, "metadata": {"_user": "u0"}}),
                    1 => json!({"rating": 4, "comment": "c"}),
                    2 => json!({"value": 8}),
                    _ => json!({"rating": 4, "target": target(*trace)}),
                };
                (Method::PUT, one(*form, id), body.to_string())
            }
            Step::Delete { id, form, trace, .. } => {
                let body = match form {
                    3 => json!({"target": target(*trace)}).to_string(),
                    _ => String::new(),
                };
                (Method::DELETE, one(*form, id), body)
            }
            Step::Get { id, form } => (Method::GET, one(*form, id), String::new()),
            Step::List {
                form,
                trace,
                ascending,
                limit,
                cursor,
            } => {
                let filter = match form {
                    0 => String::new(),
                    1 => format!("trace_id=t{trace}&"),
                    2 => format!("trace_id=t{trace}&span_id=s&"),
                    3 => format!("user=u{trace}&"),
                    4 => "prompt=p&".to_owned(),
                    _ => format!("traceId=t{trace}&"),
                };
                let cursor = cursor
                    .as_ref()
                    .filter(|_| !self.cursors.is_empty())
                    .map(|cursor| {
                        let (text, _) = cursor.get(&self.cursors);
                        format!("&{}={text}", if *form == 5 { "pageToken" } else { "cursor" })
                    });
                let order = match (form, ascending) {
                    (5, _) => "",
                    (_, true) => "&order=asc",
                    (_, false) => "&order=desc",
                };
                let cursor = cursor.unwrap_or_default();
                let base = if *form == 5 { TRUEFOUNDRY } else { PORTKEY };
                (
                    Method::GET,
                    format!("{base}?{filter}limit={limit}{order}{cursor}"),
                    String::new(),
                )
            }
        }
    }

    /// Replaces ids and cursors in a response with the order in which they appeared, and removes times. The
    /// rest must be the same in both worlds.
    fn name(&mut self, step: &Step, answer: &mut Answer) {
        if answer.status == 200 && matches!(step, Step::Create { .. }) {
            let made = match answer.json()["data"]["id"].as_str() {
                Some(id) => vec![id.to_owned()],
                None => answer.ids(),
            };
            for id in made.iter().map(|id| id.replace('-', "")) {
                if !self.ids.contains(&id) {
                    self.ids.push(id);
                }
            }
        }
        if answer.status == 200
            && let Step::List { form, ascending, .. } = step
        {
            let json = answer.json();
            let next = json["next_cursor"]
                .as_str()
                .or(json["pagination"]["nextPageToken"].as_str());
            if let Some(next) = next {
                let ascending = *ascending && *form != 5;
                let order = if ascending {
                    Order::Ascending
                } else {
                    Order::Descending
                };
                let place = decode_cursor(next, order)
                    .expect("a cursor that was given out")
                    .simple();
                answer.text = answer.text.replace(next, &format!("after {place}"));
                self.cursors.push((next.to_owned(), ascending));
            }
        }
        for (number, id) in self.ids.iter().enumerate() {
            let hyphenated = FeedbackId::parse(id).unwrap().hyphenated();
            let name = format!("<{number}>");
            answer.text = answer.text.replace(id, &name).replace(&hyphenated, &name);
        }
        for field in ["created_at", "updated_at", "createdAt", "updatedAt"] {
            let before = format!("\"{field}\":\"");
            let parts: Vec<&str> = answer.text.split(&before).collect();
            let (first, rest) = parts.split_first().unwrap();
            let rest = rest.iter().map(|part| &part["2026-01-31T12:00:00.000Z".len()..]);
            answer.text = std::iter::once(*first)
                .chain(rest)
                .collect::<Vec<_>>()
                .join(&before);
        }
    }
}

/// What a workspace sees in analytics after everything is counted: the votes, and whether it has an
/// `as_of`. The exact time comes from the machine's clock.
async fn analytics(api: &Api) -> (Value, Value, bool) {
    api.count().await;
    let mut graph = ask(api, "graphs/feedbacks", &wide()).await;
    let as_of = graph["as_of"].take();
    (graph["summary"].take(), graph["ratings"].take(), as_of.is_null())
}

/// No sequence of calls can distinguish two workspaces of one service from one workspace each in two
/// services.
#[test]
fn two_workspaces_behave_like_two_services() {
    let config = ProptestConfig {
        cases: cases(20),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in steps())| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut shared, mut apart) = (World::shared().await, World::apart().await);
            for (second, step) in &steps {
                let (one, other) = (shared.take(*second, step).await, apart.take(*second, step).await);
                prop_assert!(one.answer.status < 500, "{:?} {}", step, one.answer.text);
                prop_assert_eq!(one, other, "{:?}", step);
            }
            for second in [0, 1] {
                let (one, other) = (analytics(&shared.apis[second]).await, analytics(&apart.apis[second]).await);
                prop_assert_eq!(one, other);
            }
            Ok(())
        })?;
    });
}
