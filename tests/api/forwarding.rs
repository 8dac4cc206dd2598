//! Forwarding to Langfuse: whatever the order of changes and whatever fails, the project's scores become what the
//! records are.

mod process;
mod project;
mod queues;
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use lambda_http::http::Method;
use lambda_http::tracing::Dispatch;
use lambda_http::{Context, LambdaEvent};
use langfuse::Forward;
use langfuse::client::Client;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use shared::events;
use shared::events::entry::Entry;
use shared::id::FeedbackId;
use shared::stats::change::StreamRecord;

use crate::capture::{Captured, listen};
use crate::dynamodb::cases;
use crate::harness::{Api, PORTKEY, TRUEFOUNDRY};
use project::{Fault, Kind, Langfuse};
use queues::Queues;
use random::Random;

/// A deployment with its queues and its Langfuse project.
#[derive(Clone)]
pub struct World {
    pub api: Api,
    langfuse: Langfuse,
    queues: Queues,
    forward: Arc<Forward>,
    /// The changes whose events were sent.
    sent: Arc<Mutex<BTreeSet<String>>>,
    /// The ids of the records there were, in the order of their creates.
    ids: Arc<Mutex<Vec<String>>>,
    /// The questions of the upserted ones, which outlast their metadata.
    questions: Arc<Mutex<BTreeMap<String, String>>>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Kind::default(), 1).await
    }

    async fn with(kind: Kind, seed: u64) -> Self {
        Self::of(Api::new().await, kind, seed)
    }

    /// The queues and the project of a deployment.
    pub fn beside(api: &Api) -> Self {
        Self::of(api.clone(), Kind::default(), 1)
    }

    fn of(api: Api, kind: Kind, seed: u64) -> Self {
        let langfuse = Langfuse::new(api.time.clone(), kind, seed);
        let queues = Queues::new(api.time.clone());
        let client = Client::new(langfuse.clone(), &Langfuse::project());
        let forward = Forward::new(api.store(), client, queues.queue(), api.time.clock());
        Self {
            forward: Arc::new(forward),
            sent: Arc::default(),
            ids: Arc::default(),
            questions: Arc::default(),
            api,
            langfuse,
            queues,
        }
    }

    /// Sends the events of all changes that have none yet: each after some time, and some twice.
    pub async fn publish(&self, random: &mut Random) {
        for change in self.api.changes().await {
            let id = change["eventID"].as_str().unwrap().to_owned();
            if !self.sent.lock().unwrap().insert(id) {
                continue;
            }
            let record: StreamRecord = serde_json::from_value(change).unwrap();
            for event in events::of(&record).unwrap() {
                let detail = Entry::of(&event).detail;
                for _ in 0..1 + random.below(10) / 9 {
                    self.queues.send(&detail, Duration::from_secs(random.below(60)));
                }
            }
        }
    }

    /// Sends the events of the last changes, and forgets the others.
    pub async fn publish_last(&self, count: usize) {
        let changes = self.api.changes().await;
        for change in &changes[..changes.len() - count] {
            let id = change["eventID"].as_str().unwrap().to_owned();
            self.sent.lock().unwrap().insert(id);
        }
        self.publish(&mut Random(7)).await;
    }

    /// Has the function take all there is to come.
    pub async fn deliver_all(&self) {
        self.settle(&mut Random(7)).await;
    }

    /// Has the function take a batch, unless there is none. Returns the response, unless its process ended.
    pub async fn deliver(&self, random: &mut Random) -> Option<Value> {
        let batch = self.queues.receive(random, 3)?;
        let payload: Box<RawValue> = serde_json::from_value(batch.clone()).unwrap();
        let answer = self.forward.answer(LambdaEvent::new(payload, Context::default()));
        let answer = tokio::select! {
            answer = answer => Some(json!(answer.unwrap())),
            () = self.langfuse.crash.notified() => None,
        };
        if let Some(answer) = &answer {
            self.queues.settle(&batch, answer);
        }
        answer
    }

    /// Has everything happen that is still to come.
    async fn settle(&self, random: &mut Random) {
        loop {
            self.langfuse.work();
            if self.deliver(random).await.is_some() {
                continue;
            }
            let next = [self.queues.next(), self.langfuse.next_job()]
                .into_iter()
                .flatten()
                .min();
            match next {
                Some(next) => self.api.time.set(next.max(self.api.time.now())),
                None => return,
            }
        }
    }

    /// Makes a write, if only an attempt at one.
    async fn write(&self, random: &mut Random) {
        let api = &self.api;
        let known = {
            let ids = self.ids.lock().unwrap();
            (!ids.is_empty()).then(|| ids[random.place(ids.len())].clone())
        };
        let comment = ["a comment", "", "\"quoted\"\nand more"][random.place(3)];
        let reasons = [&[][..], &["wrong"], &["too long", "wrong"]][random.place(3)];
        let name = ["", "helpful"][random.place(2)];
        let value = i64::try_from(random.below(21)).unwrap() - 10;
        let metadata =
            json!({"_user": format!("u{}", random.below(2)), "_name": name, "_environment": "Prod"});
        let mut body = json!({"trace_id": "t", "value": value, "reasons": reasons, "metadata": metadata});
        match random.below(3) {
            0 => body["comment"] = comment.into(),
            1 => body["metadata"]["comment"] = comment.into(),
            _ => {}
        }
        let answer = match (random.below(9), known) {
            (0, _) | (_, None) => api.post(PORTKEY, body).await,
            (1, _) => {
                let target = json!({"traceId": "t", "spanId": "s"});
                api.post(
                    TRUEFOUNDRY,
                    json!({"target": target, "rating": 1 + random.below(5)}),
                )
                .await
            }
            (2, _) => {
                let headers = [("x-hindsight-upsert", "user")];
                api.call(Method::POST, PORTKEY, &headers, &body.to_string()).await
            }
            (3, Some(id)) => api.delete(&format!("{PORTKEY}/{id}")).await,
            (4 | 5, Some(id)) => {
                let rating = json!({"rating": 1 + random.below(5), "comment": comment, "reasons": reasons});
                api.put(&format!("{TRUEFOUNDRY}/{id}"), rating).await
            }
            (6, Some(id)) => {
                body["metadata"] = Value::Null;
                body["comment"] = Value::Null;
                api.put(&format!("{PORTKEY}/{id}"), body).await
            }
            (_, Some(id)) => {
                body.as_object_mut().unwrap().remove("metadata");
                api.put(&format!("{PORTKEY}/{id}"), body).await
            }
        };
        if answer.status == 200 {
            let body = answer.json();
            let id = body["feedback_ids"][0]
                .as_str()
                .or_else(|| body["data"]["id"].as_str())
                .unwrap();
            let id = FeedbackId::parse(id).unwrap();
            if id.is_upserted() {
                let mut questions = self.questions.lock().unwrap();
                questions
                    .entry(id.hyphenated())
                    .or_insert_with(|| name.to_owned());
            }
            let id = id.hyphenated();
            let mut ids = self.ids.lock().unwrap();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        self.publish(random).await;
    }

    /// What the scores must be: of each record there is, what docs/forwarding.md says.
    async fn expected(&self) -> BTreeMap<String, Value> {
        let mut expected = BTreeMap::new();
        let ids = self.ids.lock().unwrap().clone();
        for id in ids {
            let answer = self.api.get(&format!("{PORTKEY}/{id}")).await;
            if answer.status == 404 {
                continue;
            }
            let record = answer.ok().json();
            let text = |value: &Value| {
                value
                    .as_str()
                    .filter(|text| !text.trim().is_empty())
                    .map(str::to_owned)
            };
            let stays = self.questions.lock().unwrap().get(&id).cloned();
            let asked = stays.clone().or_else(|| text(&record["metadata"]["_name"]));
            let name = stays.filter(|name| !name.is_empty());
            let name = name.unwrap_or_else(|| "user-feedback".to_owned());
            let scale = record["scale"].as_str().unwrap();
            let (name, value) = match scale {
                "value" => (name, &record["value"]),
                _ => (format!("{name}-rating"), &record["rating"]),
            };
            let score = json!({
                "id": format!("{id}-{scale}"),
                "date": record["created_at"].as_str().unwrap()[..10],
                "name": name,
                "traceId": record["trace_id"],
                "observationId": record["span_id"],
                "value": value,
                "comment": text(&record["comment"]).or_else(|| text(&record["metadata"]["comment"])),
                "reasons": record["reasons"],
                "version": record["version"].to_string(),
                "weight": record["weight"].as_f64().map(|weight| weight.to_string()).unwrap_or_default(),
                "question": asked.unwrap_or_default(),
            });
            assert!(expected.insert(id.clone(), score).is_none());
        }
        expected
    }

    /// The scores of the project in the same form. A record with two of them fails.
    fn found(&self) -> Result<BTreeMap<String, Value>, String> {
        let mut found = BTreeMap::new();
        for score in self.langfuse.scores() {
            let metadata = &score["metadata"];
            let reasons: Value = serde_json::from_str(metadata["reasons"].as_str().unwrap()).unwrap();
            let seen = json!({
                "id": score["id"],
                "date": score["timestamp"].as_str().unwrap()[..10],
                "name": score["name"],
                "traceId": score["traceId"],
                "observationId": score["observationId"],
                "value": score["value"],
                "comment": score["comment"],
                "reasons": reasons,
                "version": metadata["version"],
                "weight": metadata["weight"],
                "question": metadata["name"],
            });
            let id = metadata["feedback_id"].as_str().unwrap().to_owned();
            if let Some(other) = found.insert(id, seen) {
                return Err(format!("two scores of a record: {other} and {score}"));
            }
        }
        Ok(found)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(16)))]

    #[test]
    fn the_scores_become_the_records_whatever_the_order_and_the_faults(
        seed in 1_u64..u64::MAX,
        trouble in 0_u64..40,
        forgets_events in any::<bool>(),
        reads_rows in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::with(Kind { forgets_events, reads_rows }, seed).await;
            let mut random = Random(seed);
            // Writes between any two steps of the function.
            let (beside, chances) = (world.clone(), Arc::new(Mutex::new(Random(seed ^ 1))));
            world.langfuse.meddle(Some(Arc::new(move || {
                let (world, chances) = (beside.clone(), Arc::clone(&chances));
                async move {
                    let mut random = chances.lock().unwrap().clone();
                    if random.below(6) == 0 {
                        world.write(&mut random).await;
                    }
                    *chances.lock().unwrap() = random;
                }
                .boxed()
            })));
            world.langfuse.trouble(trouble);
            for _ in 0..24 {
                world.write(&mut random).await;
                for _ in 0..random.below(4) {
                    world.deliver(&mut random).await;
                    world.langfuse.work();
                }
                let pause = match random.below(30) {
                    0 => 40 * 24 * 60 * 60,
                    1 => 24 * 60 * 60,
                    _ => random.below(40),
                };
                world.api.time.forward(Duration::from_secs(pause));
            }
            world.langfuse.meddle(None);
            world.langfuse.trouble(0);
            // A process that ended may have had a write beside it, whose event was not sent.
            world.publish(&mut random).await;
            world.settle(&mut random).await;
            assert_eq!(world.queues.dead(), Vec::<String>::new());
            let expected = world.expected().await;
            assert_eq!(world.found(), Ok(expected));
        });
    }
}

/// Runs until nothing is left to do, and returns the requests to Langfuse: method, path and body.
async fn settled(world: &World) -> Vec<(String, String, Value)> {
    let mut random = Random(7);
    world.publish(&mut random).await;
    world.settle(&mut random).await;
    world.langfuse.requests()
}

#[tokio::test(start_paused = true)]
async fn a_vote_a_rating_and_a_comment_become_scores_as_the_guide_says() {
    let world = World::new().await;
    let api = &world.api;
    let body = json!({
        "trace_id": "1729", "value": -1, "weight": 0.5, "reasons": ["wrong", "too long"],
        "metadata": {"_user": "erin-9f", "_name": "helpful", "_environment": "Production", "text": "No. \"Never\""},
    });
    let headers = [("x-hindsight-upsert", "user")];
    let vote = api
        .call(Method::POST, PORTKEY, &headers, &body.to_string())
        .await
        .ok()
        .id();
    let rated = json!({"target": {"traceId": "t", "spanId": "s"}, "rating": 4, "comment": "Fine."});
    let rating = api.post(TRUEFOUNDRY, rated).await.ok().id();
    let mut bodies = BTreeMap::new();
    for (method, path, mut body) in settled(&world).await {
        assert_eq!(
            (method.as_str(), path.as_str()),
            ("POST", "/api/public/ingestion")
        );
        let event = body["batch"][0].take();
        bodies.insert(event["body"]["value"].to_string(), event);
    }
    let hyphenated = |id: &str| FeedbackId::parse(id).unwrap().hyphenated();
    let (vote, rating) = (hyphenated(&vote), hyphenated(&rating));
    let (voted, rated) = (api.record(&vote).await, api.record(&rating).await);
    assert_eq!(bodies["-1"]["timestamp"], voted["created_at"]);
    assert_eq!(
        bodies["-1"]["body"],
        json!({
            "id": format!("{vote}-value"), "traceId": "1729", "name": "helpful", "value": -1, "dataType": "NUMERIC",
            "environment": "production", "comment": "No. \"Never\"",
            "metadata": {
                "source": "hindsight", "workspace": "test", "feedback_id": vote, "version": "1", "scale": "value",
                "weight": "0.5", "reasons": "[\"wrong\",\"too long\"]", "name": "helpful",
                "updated_at": voted["updated_at"],
            },
        })
    );
    assert_eq!(bodies["4"]["timestamp"], rated["created_at"]);
    assert_eq!(
        bodies["4"]["body"],
        json!({
            "id": format!("{rating}-rating"), "traceId": "t", "observationId": "s", "name": "user-feedback-rating",
            "value": 4, "dataType": "NUMERIC", "comment": "Fine.",
            "metadata": {
                "source": "hindsight", "workspace": "test", "feedback_id": rating, "version": "1", "scale": "rating",
                "weight": "", "reasons": "[]", "name": "", "updated_at": rated["updated_at"],
            },
        })
    );
    // No user, and nothing else of the metadata.
    assert!(!format!("{bodies:?}").contains("erin-9f"));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_scale_deletes_the_old_score_and_deletes_are_repeated() {
    let world = World::new().await;
    let id = world.api.vote(1, json!({})).await;
    settled(&world).await;
    let id = FeedbackId::parse(&id).unwrap().hyphenated();
    let deletes = |requests: Vec<(String, String, Value)>| -> Vec<String> {
        let deletes = requests.into_iter().filter(|(method, ..)| method == "DELETE");
        deletes
            .map(|(_, path, _)| path.rsplit_once('/').unwrap().1.to_owned())
            .collect()
    };
    // The same scale: nothing to delete.
    world
        .api
        .put(&format!("{PORTKEY}/{id}"), json!({"value": -1}))
        .await
        .ok();
    assert_eq!(deletes(settled(&world).await), Vec::<String>::new());

    world
        .api
        .put(&format!("{TRUEFOUNDRY}/{id}"), json!({"rating": 2}))
        .await
        .ok();
    let began = world.api.time.now();
    assert_eq!(deletes(settled(&world).await), vec![format!("{id}-value"); 3]);
    assert!(began.age(world.api.time.now()) >= Duration::from_secs(16 * 60));

    world.api.delete(&format!("{PORTKEY}/{id}")).await.ok();
    let both = [format!("{id}-value"), format!("{id}-rating")];
    let deleted = deletes(settled(&world).await);
    assert_eq!(deleted, [&both[..], &both, &both].concat());
    assert_eq!(world.langfuse.scores(), Vec::<Value>::new());
}

/// The scores in the requests, in their order: what was sent or deleted.
fn said(requests: &[(String, String, Value)]) -> Vec<String> {
    let event = |body: &Value| {
        let score = &body["batch"][0]["body"];
        format!(
            "{} of version {}",
            score["value"],
            score["metadata"]["version"].as_str().unwrap()
        )
    };
    requests
        .iter()
        .map(|(method, path, body)| match method.as_str() {
            "DELETE" => format!("no {}", path.rsplit('-').next().unwrap()),
            _ => event(body),
        })
        .collect()
}

/// The change's own event comes later, or has come before.
#[tokio::test(start_paused = true)]
async fn what_changes_while_a_score_is_sent_is_sent_too() {
    for (change, expected) in [
        (
            Some(json!({"value": -1})),
            vec!["1 of version 1", "-1 of version 2"],
        ),
        (
            Some(json!({"rating": 2})),
            vec!["1 of version 1", "2 of version 2", "no value"],
        ),
        (None, vec!["1 of version 1", "no value", "no rating"]),
    ] {
        let world = World::new().await;
        let id = world.api.vote(1, json!({})).await;
        world.publish(&mut Random(7)).await;
        world.api.time.forward(Duration::from_secs(60));
        let (api, changes) = (world.api.clone(), Arc::new(Mutex::new(vec![change])));
        world.langfuse.meddle(Some(Arc::new(move || {
            let (api, id) = (api.clone(), id.clone());
            let change = changes.lock().unwrap().pop();
            async move {
                match change {
                    Some(Some(body)) => {
                        let route = if body["rating"].is_null() {
                            PORTKEY
                        } else {
                            TRUEFOUNDRY
                        };
                        api.put(&format!("{route}/{id}"), body).await.ok();
                    }
                    Some(None) => drop(api.delete(&format!("{PORTKEY}/{id}")).await.ok()),
                    None => {}
                }
            }
            .boxed()
        })));
        world.deliver(&mut Random(7)).await;
        assert_eq!(said(&world.langfuse.requests()), expected);
    }
}

/// An attempt that ended after it sent a score leaves no score that nobody knows of.
#[tokio::test(start_paused = true)]
async fn another_attempt_deletes_what_an_earlier_one_may_have_sent() {
    let world = World::new().await;
    let id = world.api.rate(4, json!({})).await;
    world.publish(&mut Random(7)).await;
    world.api.time.forward(Duration::from_secs(60));
    world
        .api
        .put(&format!("{PORTKEY}/{id}"), json!({"value": 1}))
        .await
        .ok();
    world.langfuse.fail([Fault::Crash(true)]);
    assert_eq!(world.deliver(&mut Random(7)).await, None);
    assert_eq!(said(&world.langfuse.requests()), ["1 of version 2"]);
    world
        .api
        .put(&format!("{TRUEFOUNDRY}/{id}"), json!({"rating": 5}))
        .await
        .ok();
    world.api.time.forward(Duration::from_secs(360));
    world.deliver(&mut Random(7)).await.unwrap();
    assert_eq!(said(&world.langfuse.requests()), ["5 of version 3", "no value"]);
}

/// The log as it is deployed.
fn deployed(captured: &Captured) -> Dispatch {
    shared::log::log(captured.clone(), |name| {
        (name == "AWS_LAMBDA_LOG_FORMAT").then(|| "JSON".to_owned())
    })
}

#[tokio::test(start_paused = true)]
async fn what_langfuse_refuses_is_set_aside_at_once_without_its_content() {
    for (fault, says) in [
        (
            Fault::Status(401, None),
            "Langfuse answered 401 to a score: are the keys valid",
        ),
        (
            Fault::Status(403, None),
            "Langfuse answered 403 to a score: are the keys valid",
        ),
        (
            Fault::Status(302, None),
            "Langfuse answered 302 to a score: is LangfuseUrl the address",
        ),
        (Fault::Status(413, None), "Langfuse answered 413 to a score"),
        (Fault::EventError(400), "Langfuse answered 400 to a score"),
    ] {
        let captured = Captured::default();
        let _log = listen(deployed(&captured));
        let world = World::new().await;
        let body =
            json!({"trace_id": "t-canary", "value": 1, "comment": "canary", "metadata": {"_user": "canary"}});
        let id = world.api.post(PORTKEY, body).await.ok().id();
        captured.take();
        world.langfuse.fail([fault.clone()]);
        assert_eq!(settled(&world).await.len(), 1, "{fault:?}");
        let dead = world.queues.dead();
        let target = json!({"trace_id": "t-canary"});
        let id = FeedbackId::parse(&id).unwrap().hyphenated();
        let expected = json!({"workspace": "test", "id": id, "target": target, "repeats": 0});
        assert_eq!(
            dead.iter()
                .map(|body| serde_json::from_str(body).unwrap())
                .collect::<Vec<Value>>(),
            [expected]
        );
        let said = captured.take();
        assert!(
            said.contains(says) && said.contains("a change is refused"),
            "{said}"
        );
        assert!(
            !said.contains("canary") && !said.contains("sk-lf-secret"),
            "{said}"
        );

        // Sent back to the queue, it is forwarded as the record is then.
        world.queues.send(&dead[0], Duration::ZERO);
        settled(&world).await;
        assert_eq!(world.langfuse.scores().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_repeated_and_not_before_langfuse_asks_for_it() {
    for (fault, wait) in [
        (Fault::Status(429, Some("300")), 300),
        (Fault::Status(503, Some("7")), 30),
        (Fault::Status(500, None), 30),
        (Fault::Status(429, Some("999999")), 12 * 60 * 60 - 60),
        (Fault::EventError(500), 30),
        (Fault::Refused, 30),
        (Fault::Hang, 30),
        (Fault::Garbled, 30),
    ] {
        let captured = Captured::default();
        let _log = listen(deployed(&captured));
        let world = World::new().await;
        let body = json!({"trace_id": "t-canary", "value": 1, "comment": "canary"});
        world.api.post(PORTKEY, body).await.ok();
        captured.take();
        world.langfuse.fail([fault.clone()]);
        let requests = settled(&world).await;
        assert_eq!(
            requests.iter().filter(|(method, ..)| method == "POST").count(),
            2,
            "{fault:?}"
        );
        let calls = world.queues.calls();
        let hidden = calls
            .iter()
            .find(|(operation, _)| operation == "ChangeMessageVisibility");
        assert_eq!(hidden.unwrap().1["VisibilityTimeout"], wait, "{fault:?}");
        assert_eq!(world.langfuse.scores().len(), 1);
        assert_eq!(world.queues.dead(), Vec::<String>::new());
        let said = captured.take();
        assert!(
            said.contains("a change is retried") && !said.contains("canary"),
            "{said}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_a_day_loses_nothing() {
    let world = World::new().await;
    world.api.vote(1, json!({})).await;
    let mut random = Random(7);
    world.publish(&mut random).await;
    let began = world.api.time.now();
    world.langfuse.fail(std::iter::repeat_n(Fault::Refused, 60));
    world.queues.fail(3);
    world.settle(&mut random).await;
    assert_eq!(world.langfuse.scores().len(), 1);
    assert!(began.age(world.api.time.now()) > Duration::from_secs(12 * 60 * 60));
    // And one for ever ends in the dead-letter queue after a day.
    world.api.vote(1, json!({})).await;
    let began = world.api.time.now();
    world.publish(&mut random).await;
    world.langfuse.fail(std::iter::repeat_n(Fault::Refused, 1_000));
    world.settle(&mut random).await;
    // Its event may have come twice.
    let dead: BTreeSet<String> = world.queues.dead().into_iter().collect();
    assert_eq!(dead.len(), 1, "{dead:?}");
    let took = began.age(world.api.time.now()).as_secs() / 3600;
    assert!((20..48).contains(&took), "{took} hours");
}

#[tokio::test(start_paused = true)]
async fn a_message_of_another_is_set_aside_as_it_is_and_holds_nothing_up() {
    let world = World::new().await;
    world.api.vote(1, json!({})).await;
    let foreign = [
        "canary",
        "{}",
        r#"{"workspace":"A B","id":"x","target":{"trace_id":"t"}}"#,
    ];
    for body in foreign {
        world.queues.send(body, Duration::ZERO);
    }
    let captured = Captured::default();
    let _log = listen(deployed(&captured));
    settled(&world).await;
    assert_eq!(world.langfuse.scores().len(), 1);
    let dead: BTreeSet<String> = world.queues.dead().into_iter().collect();
    assert_eq!(dead, foreign.map(str::to_owned).into());
    assert!(!captured.take().contains("canary"));
    // A batch of something else fails as a whole, without a quote.
    let payload: Box<RawValue> = serde_json::from_str(r#"{"canary":1}"#).unwrap();
    let error = world
        .forward
        .answer(LambdaEvent::new(payload, Context::default()))
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("event: expected a batch of SQS"),
        "{error}"
    );
    assert!(!error.to_string().contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn an_expired_record_leaves_langfuse_when_it_is_deleted() {
    let world = World::new().await;
    world.api.vote(1, json!({})).await;
    settled(&world).await;
    assert_eq!(world.langfuse.scores().len(), 1);
    let item = world.api.database.items("feedback").remove(0);
    world.api.database.expire("feedback", &item);
    assert_eq!(world.api.database.sweep(), 1);
    settled(&world).await;
    assert_eq!(world.langfuse.scores(), Vec::<Value>::new());
}
