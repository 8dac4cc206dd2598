//! A hundred thousand changes through the model of Lambda's stream: several shards that split, faults of
//! every kind, six hours without a database, and twenty changes that cannot be read. In the end analytics
//! are exact except for these twenty, which are listed, and fully exact once they can be read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aggregate::Aggregate;
use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use lambda_http::{Context, LambdaEvent};
use local::dynamodb::Engine;
use local::stream::clock::Clock;
use local::stream::faults::Faults;
use local::stream::mapping::{Mapping, Settings};
use serde_json::{Value, json};
use shared::dialect::portkey::{self, Create};
use shared::dialect::truefoundry;
use shared::dynamo::attributes::AttributeValue;
use shared::feedback::{Draft, Feedback};
use shared::id::{FeedbackId, Workspace};
use shared::stats::count::Counter;
use shared::store::item;
use shared::store::keys;
use shared::tables::STATS;
use shared::timestamp::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::counting::{become_newer, compared, verified};
use crate::harness::{Api, Fault};
use crate::stream_shards::Shards;

/// The number of changes, unless the environment variable `STREAM_CHANGES` is set.
const CHANGES: usize = 10_000;

/// The number of changes that cannot be read.
const UNREADABLE: usize = 20;

/// The number of changes written at a time.
const BURST: usize = 250;

/// When the database is unavailable, after the start.
const OUTAGE_FROM: Duration = Duration::from_secs(60 * 60);
const OUTAGE_TO: Duration = Duration::from_secs(7 * 60 * 60);

/// The duration of all writes, including the outage.
const LASTS: Duration = Duration::from_secs(9 * 60 * 60);

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_changes_are_counted_exactly_whatever_goes_wrong() {
    let told = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let changes = told("STREAM_CHANGES").map_or(CHANGES, |count| usize::try_from(count).unwrap());
    let seed = told("STREAM_SEED").unwrap_or_else(|| Timestamp::now().millis());
    println!("STREAM_SEED={seed} STREAM_CHANGES={changes}");

    let api = Api::new().await;
    // A fixed date, because records are counted by their own time.
    let clock = Clock::starting_at(Timestamp::parse("2026-11-20T20:30:00Z").unwrap());
    let stream = Shards::new(clock, 3);
    let away = Away::new(api.database.engine(), seed);
    let counter = Counter::new(away.client(), api.table(&STATS));
    let aggregate = Aggregate::new(counter);
    let oldest = Mutex::new(Duration::ZERO);
    let function = async |event: Value| {
        let payload = serde_json::from_value(event.clone()).map_err(|error| error.to_string())?;
        let answer = aggregate
            .answer(LambdaEvent::new(payload, Context::default()))
            .await;
        let answer = answer.map_err(|error| error.to_string())?;
        for record in event["Records"].as_array().unwrap() {
            let created = record["dynamodb"]["ApproximateCreationDateTime"]
                .as_f64()
                .unwrap();
            let mut oldest = oldest.lock().unwrap();
            *oldest = oldest.max(Timestamp::from_seconds(created).age(clock.now()));
        }
        serde_json::to_value(answer).map_err(|error| error.to_string())
    };
    let settings = Settings {
        // With a quarter of a second, polling for nine hours would dominate the test's duration.
        poll_interval: Duration::from_secs(2),
        ..Settings::deployed()
    };
    let mapping = Mapping::new(stream.clone(), function, settings)
        .with_clock(clock)
        .with_faults(Faults::seeded(seed));

    let mut records = Records::new(seed);
    let bursts = u32::try_from(changes.div_ceil(BURST)).unwrap();
    let writer = async {
        for burst in 0..bursts {
            for _ in 0..BURST {
                records.change(&stream, clock.now());
            }
            while records.newer.len() < UNREADABLE * usize::try_from(burst + 1).unwrap() / bursts as usize {
                records.change_unreadably(&stream, clock.now());
            }
            // At times when it is behind and at times when it is not.
            if burst % (bursts / 4).max(1) == 1 {
                let taking = stream.taking();
                stream.split(&taking[records.chance.below(taking.len())]);
            }
            sleep(LASTS / bursts).await;
        }
    };
    tokio::select! {
        () = mapping.run() => {}
        () = writer => {}
    }
    records.put(&api.database.engine());
    mapping.catch_up().await;

    let comparison = compared(&api).await;
    assert!(comparison.agrees(), "STREAM_SEED={seed}: {comparison:#?}");
    assert_eq!(comparison.parked.len(), UNREADABLE, "STREAM_SEED={seed}");
    assert_eq!(comparison.unreadable.len(), UNREADABLE, "STREAM_SEED={seed}");
    become_newer(&api);
    let counter = api.counter();
    let recounted = counter.count_parked().await.unwrap();
    assert_eq!(
        (recounted.counted, recounted.left),
        (UNREADABLE, vec![]),
        "STREAM_SEED={seed}"
    );
    assert_eq!(verified(&api).await, Ok(()), "STREAM_SEED={seed}");
    assert_eq!(mapping.take_failures(), Vec::<Value>::new(), "STREAM_SEED={seed}");
    // All planned faults occurred.
    let seen = mapping.faults().seen();
    println!("{seen:?}; refused {}, unheard {}", away.refused(), away.unheard());
    assert!(seen.len() >= 7, "STREAM_SEED={seed}: {seen:?}");
    assert!(away.refused() > 0 && away.unheard() > 0, "STREAM_SEED={seed}");
    assert!(stream.taking().len() > 4, "STREAM_SEED={seed}");
    let oldest = *oldest.lock().unwrap();
    assert!(
        oldest > OUTAGE_TO - OUTAGE_FROM - LASTS / bursts,
        "STREAM_SEED={seed}: {oldest:?}"
    );
    assert!(records.live.len() > changes / 100, "STREAM_SEED={seed}");
}

/// Records that are randomly created, updated and deleted, as the store writes them.
pub(crate) struct Records {
    chance: Chance,
    pub(crate) live: Vec<Feedback>,
    /// Records last written by a newer version, which nothing changes any more.
    pub(crate) newer: Vec<Feedback>,
}

impl Records {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            chance: Chance(seed),
            live: Vec::new(),
            newer: Vec::new(),
        }
    }

    /// Updates or creates a record like a newer version would.
    pub(crate) fn change_unreadably(&mut self, stream: &Shards, now: Timestamp) {
        if self.live.is_empty() || self.newer.len().is_multiple_of(2) {
            let created = self.create(now);
            stream.write(&key(&created), None, Some(&newer(&created)));
            self.newer.push(created);
            return;
        }
        let place = self.chance.below(self.live.len());
        let record = self.live.swap_remove(place);
        stream.write(&key(&record), Some(&image(&record)), Some(&newer(&record)));
        self.newer.push(record);
    }

    /// Makes a random change and adds it to the stream.
    pub(crate) fn change(&mut self, stream: &Shards, now: Timestamp) {
        let kind = self.chance.below(20);
        if self.live.is_empty() || kind < 5 {
            let created = self.create(now);
            stream.write(&key(&created), None, Some(&image(&created)));
            self.live.push(created);
            return;
        }
        let place = self.chance.below(self.live.len());
        if kind < 9 {
            let gone = self.live.swap_remove(place);
            stream.write(&key(&gone), Some(&image(&gone)), None);
            return;
        }
        let before = self.live[place].clone();
        let said = self.draft();
        let after = Feedback {
            draft: Draft {
                target: before.draft.target.clone(),
                ..said
            },
            updated_at: now,
            version: before.version + 1,
            ..before.clone()
        };
        stream.write(&key(&before), Some(&image(&before)), Some(&image(&after)));
        self.live[place] = after;
    }

    fn create(&mut self, now: Timestamp) -> Feedback {
        let entropy = [(); 10].map(|()| u8::try_from(self.chance.below(256)).unwrap());
        Feedback {
            workspace: Workspace::parse(["test", "other"][self.chance.below(2)]).unwrap(),
            id: FeedbackId::mint(now, 0, entropy),
            draft: self.draft(),
            written_by: None,
            updated_at: now,
            version: 1,
            expires_at: None,
        }
    }

    /// A random request body, in either dialect.
    fn draft(&mut self) -> Draft {
        let mut below = |end| self.chance.below(end);
        let trace = format!("trace {}", below(1_000));
        let metadata = match below(8) {
            0 => json!(null),
            _ => json!({
                "_user": format!("u{}", below(40)),
                "_model": format!("m{}", below(3)),
                "_prompt": format!("p{}", below(4)),
                "_environment": (["live", "test"][below(2)]),
            }),
        };
        if below(4) == 0 {
            let body = json!({
                "target": {"traceId": trace, "spanId": "span"},
                "rating": 1 + below(5),
                "metadata": metadata,
            });
            return truefoundry::parse_create(&body.to_string()).unwrap().value;
        }
        let body = json!({
            "trace_id": trace,
            "value": i64::try_from(below(21)).unwrap() - 10,
            "weight": below(11) as f64 / 10.0,
            "metadata": metadata,
        });
        match portkey::parse_create(&body.to_string()).unwrap().value {
            Create::One(draft) => *draft,
            Create::Bulk(_) => panic!("one record is not a bulk"),
        }
    }

    /// Writes the remaining records to the table.
    pub(crate) fn put(&self, engine: &Engine) {
        let newer = self.newer.iter().map(newer);
        for item in self.live.iter().map(image).chain(newer) {
            let put = json!({"TableName": "feedback", "Item": item});
            let (status, answer) = engine.call("PutItem", &put.to_string());
            assert_eq!(status, 200, "{answer}");
        }
    }
}

/// A record in the stream's format.
pub(crate) fn image(record: &Feedback) -> Value {
    let attribute = |value: &AttributeValue| match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        other => panic!("an attribute that no record has: {other:?}"),
    };
    let item = item::from_feedback(record);
    let attributes = item.iter().map(|(name, value)| (name.clone(), attribute(value)));
    Value::Object(attributes.collect())
}

/// The same with a schema version that this code does not support.
fn newer(record: &Feedback) -> Value {
    let mut image = image(record);
    image["schema"] = json!({"N": "9"});
    image
}

/// The key by which a record's changes are assigned to shards: its partition.
pub(crate) fn key(record: &Feedback) -> String {
    keys::partition(&record.draft.target)
}

/// A random generator that returns the same numbers for the same seed.
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// A database that is slow, sometimes fails, and is unavailable for hours. It executes requests even if
/// nobody waits for them any more, because a function that times out may have sent its request.
#[derive(Clone, Debug)]
struct Away {
    engine: Engine,
    began: Instant,
    state: Arc<Mutex<AwayState>>,
}

#[derive(Debug)]
struct AwayState {
    chance: Chance,
    /// The number of requests during the outage.
    refused: u64,
    /// The number of requests that were executed although nobody waited for them.
    unheard: u64,
}

impl Away {
    fn new(engine: Engine, seed: u64) -> Self {
        let state = AwayState {
            chance: Chance(!seed),
            refused: 0,
            unheard: 0,
        };
        Self {
            engine,
            began: Instant::now(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn client(&self) -> Client {
        shared::dynamo::embedded_client(self.clone(), "http://embedded")
    }

    fn refused(&self) -> u64 {
        self.state.lock().unwrap().refused
    }

    fn unheard(&self) -> u64 {
        self.state.lock().unwrap().unheard
    }

    /// The fault of a request that arrives now.
    fn fault(&self) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        let since = self.began.elapsed();
        if (OUTAGE_FROM..OUTAGE_TO).contains(&since) {
            state.refused += 1;
            // First connections fail, then requests, then a permission is missing.
            let third = (OUTAGE_TO - OUTAGE_FROM) / 3;
            return Some(match since - OUTAGE_FROM {
                past if past < third => Fault::Refused,
                past if past < third * 2 => Fault::ServerError,
                _ => Fault::AccessDenied,
            });
        }
        let faults = [
            Fault::Refused,
            Fault::ServerError,
            Fault::Throttle,
            Fault::LostAnswer,
        ];
        faults.get(state.chance.below(100)).copied()
    }
}

impl HttpClient for Away {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Away {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let database = self.clone();
        let operation = request.headers().get("x-amz-target").unwrap().to_owned();
        let body = String::from_utf8(request.body().bytes().unwrap().to_vec()).unwrap();
        let (answer, answered) = oneshot::channel();
        // A separate task, which continues if nobody waits for it.
        tokio::spawn(async move {
            let time = database.state.lock().unwrap().chance.below(40);
            sleep(Duration::from_millis(u64::try_from(time).unwrap())).await;
            let error = |status, kind: &str| {
                let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}")});
                Ok((status, body.to_string()))
            };
            let done = match database.fault() {
                Some(Fault::Refused) => Err(ConnectorError::io("connection refused".into())),
                Some(Fault::ServerError) => error(500, "InternalServerError"),
                Some(Fault::AccessDenied) => error(400, "AccessDeniedException"),
                Some(Fault::Throttle) => error(400, "ThrottlingException"),
                Some(_) => {
                    database.engine.call(&operation, &body);
                    Err(ConnectorError::io("connection reset".into()))
                }
                None => {
                    // It blocks, so that the clock stands still.
                    let done = database.engine.call(&operation, &body);
                    if answer.is_closed() {
                        database.state.lock().unwrap().unheard += 1;
                    }
                    Ok(done)
                }
            };
            let _ = answer.send(done);
        });
        HttpConnectorFuture::new(async move {
            let (status, body) = answered.await.unwrap()?;
            Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
        })
    }
}
