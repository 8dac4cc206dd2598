//! Thousands of changes through the model of Lambda's stream: shards that split, faults of every kind, a bus that is
//! away for three hours, refuses entries for now and loses answers, and changes that cannot be read. In the end
//! the fold of the events is what is there.

use std::time::Duration;

use lambda_http::{Context, LambdaEvent};
use local::stream::clock::Clock;
use local::stream::faults::Faults;
use local::stream::mapping::{Mapping, Settings};
use publish::Publish;
use shared::dialect::portkey;
use shared::feedback::Feedback;
use shared::stats::parked::{self, Consumer};
use shared::store::Store;
use shared::timestamp::Timestamp;
use tokio::time::sleep;

use super::*;
use crate::counting::{become_newer, compared};
use crate::stream_load::{Chance, Records, image, key};
use crate::stream_shards::Shards;

/// The number of changes, unless the environment variable `STREAM_CHANGES` is set.
const CHANGES: usize = 3_000;

/// How many of them cannot be read.
const UNREADABLE: usize = 20;

/// The number of changes written at a time.
const BURST: usize = 100;

/// The duration of all writes.
const LASTS: Duration = Duration::from_secs(9 * 60 * 60);

fn rendered<'r>(records: impl IntoIterator<Item = &'r Feedback>) -> BTreeMap<String, Value> {
    let json = |record: &Feedback| serde_json::from_str(&portkey::render_one(record)).unwrap();
    let records = records.into_iter();
    records
        .map(|record| (record.id.hyphenated(), json(record)))
        .collect()
}

/// Ends a record as an upsert does that meets an expired one: another takes its place, in one change.
fn replace(records: &mut Records, stream: &Shards, now: Timestamp, chance: &mut Chance) {
    let place = chance.below(records.live.len());
    let old = records.live[place].clone();
    let mut entropy = [0; 10];
    for byte in &mut entropy {
        *byte = u8::try_from(chance.below(256)).unwrap();
    }
    let new = Feedback {
        id: shared::id::FeedbackId::mint(now, 0, entropy),
        updated_at: now,
        version: 1,
        ..old.clone()
    };
    let mut expired = image(&old);
    expired["expires_at"] = json!({"N": (now.seconds() - 1).to_string()});
    stream.write(&key(&old), Some(&expired), Some(&image(&new)));
    records.live[place] = new;
}

/// Touches a record as a rebuild does.
fn touch(records: &Records, stream: &Shards, chance: &mut Chance) {
    let record = &records.live[chance.below(records.live.len())];
    let mut touched = image(record);
    touched["generation"] = json!({"N": "2"});
    stream.write(&key(record), Some(&image(record)), Some(&touched));
}

#[tokio::test(start_paused = true)]
async fn the_fold_of_the_events_is_what_is_there_whatever_goes_wrong() {
    let told = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let changes = told("STREAM_CHANGES").map_or(CHANGES, |count| usize::try_from(count).unwrap());
    let seed = told("STREAM_SEED").unwrap_or_else(|| Timestamp::now().millis());
    println!("STREAM_SEED={seed} STREAM_CHANGES={changes}");

    let api = Api::new().await;
    let bridge = Bridge::default();
    let clock = Clock::starting_at(Timestamp::parse("2026-11-20T20:30:00Z").unwrap());
    let stream = Shards::new(clock, 3);
    let publish = Publish::new(publisher(&api, &bridge));
    let function = async |event: Value| {
        let payload = serde_json::from_value(event).map_err(|error| error.to_string())?;
        let answer = publish
            .answer(LambdaEvent::new(payload, Context::default()))
            .await;
        let answer = answer.map_err(|error| error.to_string())?;
        serde_json::to_value(answer).map_err(|error| error.to_string())
    };
    let settings = Settings {
        poll_interval: Duration::from_secs(2),
        ..Settings::deployed_events()
    };
    let mapping = Mapping::new(stream.clone(), function, settings)
        .with_clock(clock)
        .with_faults(Faults::seeded(seed));

    let mut records = Records::new(seed);
    let mut chance = Chance(!seed);
    let bursts = u32::try_from(changes.div_ceil(BURST)).unwrap();
    let writer = async {
        for burst in 0..bursts {
            for _ in 0..BURST {
                records.change(&stream, clock.now());
                match chance.below(20) {
                    _ if records.live.is_empty() => {}
                    0 => replace(&mut records, &stream, clock.now(), &mut chance),
                    1 => touch(&records, &stream, &mut chance),
                    _ => {}
                }
            }
            while records.newer.len() < UNREADABLE * usize::try_from(burst + 1).unwrap() / bursts as usize {
                records.change_unreadably(&stream, clock.now());
            }
            if burst % (bursts / 4).max(1) == 1 {
                let taking = stream.taking();
                stream.split(&taking[chance.below(taking.len())]);
            }
            if chance.below(2) == 0 {
                let codes = ["ThrottlingException", "InternalFailure"];
                bridge.fail([
                    Trouble::Entries(chance.below(3), codes[chance.below(2)]),
                    [Trouble::LostAnswer, Trouble::Unreachable][chance.below(2)],
                    Trouble::Refused(400, "ThrottlingException"),
                ]);
            }
            bridge.leave((bursts / 3..bursts * 2 / 3).contains(&burst));
            sleep(LASTS / bursts).await;
        }
    };
    tokio::select! {
        () = mapping.run() => {}
        () = writer => {}
    }
    mapping.catch_up().await;
    records.put(&api.database.engine());
    // Of those that cannot be read, the events say what they were before.
    let mut events = bridge.events();
    let newer = rendered(&records.newer);
    let mut folded = fold(&events);
    folded.retain(|id, _| !newer.contains_key(id));
    assert!(folded == rendered(&records.live), "STREAM_SEED={seed}");
    let listed = parked::list(&api.client, "stats", Consumer::Events)
        .await
        .unwrap();
    assert_eq!(listed.len(), UNREADABLE, "STREAM_SEED={seed}");
    assert!(compared(&api).await.parked.is_empty());

    become_newer(&api);
    let store = Store::new(api.client.clone(), &api.config).unwrap();
    let resent = publisher(&api, &bridge)
        .send_parked(&store, clock.now())
        .await
        .unwrap();
    assert_eq!(
        (resent.changes, resent.left),
        (UNREADABLE, vec![]),
        "STREAM_SEED={seed}"
    );
    // Those that the newer version did not create it did not change either, but for their schema version.
    assert!((1..UNREADABLE).contains(&resent.events), "STREAM_SEED={seed}");
    events.extend(bridge.events());
    let all = rendered(records.live.iter().chain(&records.newer));
    assert!(fold(&events) == all, "STREAM_SEED={seed}");
    assert!(
        all.len() > changes / 100 && events.len() > changes,
        "STREAM_SEED={seed}"
    );

    // In any order, and with repetitions.
    let mut shuffled: Vec<Value> = events
        .iter()
        .chain(events.iter().rev().take(500))
        .cloned()
        .collect();
    for place in (1..shuffled.len()).rev() {
        shuffled.swap(place, chance.below(place + 1));
    }
    assert!(fold(&shuffled) == all, "STREAM_SEED={seed}");
    // All planned faults occurred, and what an upsert replaced has expired.
    assert_eq!(mapping.take_failures(), Vec::<Value>::new(), "STREAM_SEED={seed}");
    let seen = mapping.faults().seen();
    println!("{seen:?}, {} events", events.len());
    assert!(seen.len() >= 7, "STREAM_SEED={seed}: {seen:?}");
    let expired = events
        .iter()
        .filter(|event| event["detail"]["reason"] == "expired");
    assert!(expired.count() > changes / 100, "STREAM_SEED={seed}");
}
