//! Rebuilds, with concurrent writes, counting and reads.

use shared::person::Person;

use super::*;

/// A rebuild of this deployment.
pub(super) fn rebuild(api: &Api) -> Rebuild {
    Rebuild::new(api.client.clone(), "feedback", "stats")
}

/// Begins a generation, and waits until every earlier write has landed.
pub(super) async fn settled(api: &Api, rebuild: &Rebuild) -> Generation {
    // DynamoDB's date is rounded down to the second.
    api.time.forward(Duration::from_secs(1));
    let generation = rebuild.begin(Duration::ZERO).await.unwrap();
    api.time.forward(WRITE_TIME + CLOCK_SKEW + Duration::from_secs(1));
    rebuild.wait_for_writes(generation).await.unwrap();
    generation
}

#[tokio::test]
async fn a_rebuild_restores_what_the_stream_lost() {
    let (api, _) = recorded(7).await;
    api.forget_the_stream().await;
    assert!(verified(&api).await.is_err(), "the numbers are off");
    let rebuild = rebuild(&api);
    let generation = settled(&api, &rebuild).await;
    let mut seen = 0;
    rebuild
        .touch(generation, |records| seen += records)
        .await
        .unwrap();
    assert_eq!(seen, api.database.items("feedback").len());
    let touched = u64::try_from(seen).unwrap();
    let progress = async || rebuild.progress(generation).await.unwrap();
    assert_eq!(progress().await, Progress { touched, counted: 0 });
    api.count().await;
    let counted = touched;
    assert_eq!(progress().await, Progress { touched, counted });
    rebuild.finish(generation).await.unwrap();
    assert_eq!(verified(&api).await, Ok(()));
    assert!(rebuild.clear(generation).await.unwrap() > 0);
    assert_eq!(progress().await, Progress { touched: 0, counted });
    assert_eq!(verified(&api).await, Ok(()));
    // Callers see the records unchanged.
    let list = api.get("/v1/feedback?trace_id=t&limit=100").await.ok().json();
    assert!(
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|record| record.get("generation").is_none())
    );
    // The next rebuild follows this one.
    let next = rebuild.begin(Duration::ZERO).await.unwrap();
    assert_eq!(next.number, generation.number + 1);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_rebuild_knows_which_touches_are_not_counted_yet() {
    let (api, _) = recorded(8).await;
    let rebuild = rebuild(&api);
    let generation = settled(&api, &rebuild).await;
    let records = u64::try_from(api.database.items("feedback").len()).unwrap();
    api.database.fail_on("UpdateItem", [Fault::AccessDenied]);
    assert!(rebuild.touch(generation, |_| {}).await.is_err());
    api.database.recover();
    api.count().await;
    let first = rebuild.progress(generation).await.unwrap();
    assert!(first.touched < records, "{first:?}");
    rebuild.touch(generation, |_| {}).await.unwrap();
    let second = rebuild.progress(generation).await.unwrap();
    assert!(second.counted < second.touched && second.counted == first.counted);
    // Records that are updated or deleted now were touched before; their changes follow the touches in the
    // stream.
    let ids = api.get("/v1/feedback?trace_id=t&limit=2").await.ok().ids();
    api.put(&format!("{PORTKEY}/{}", ids[0]), json!({"value": 3}))
        .await
        .ok();
    api.delete(&format!("{PORTKEY}/{}", ids[1])).await.ok();
    api.count().await;
    let last = rebuild.progress(generation).await.unwrap();
    assert_eq!(last.counted, records);
    assert!(
        last.counted >= last.touched,
        "it would be waited for in vain: {last:?}"
    );
}

/// A create, update or delete during the rebuild.
#[derive(Clone, Debug)]
struct Write {
    /// When it begins, relative to the rebuild's start.
    begins: Duration,
    /// The error of the writer's clock, in milliseconds.
    skew: i64,
    /// The time until it lands, up to the longest that a request may take.
    takes: Duration,
    /// The operation: create, update or delete.
    kind: u8,
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let (skew, takes) = (CLOCK_SKEW.as_millis() as i64, WRITE_TIME.as_millis() as u64);
    let write = (0_u64..40_000, -skew..=skew, 0..takes, 0_u8..5);
    let write = write.prop_map(|(begins, skew, takes, kind)| Write {
        begins: Duration::from_millis(begins),
        skew,
        takes: Duration::from_millis(takes),
        kind,
    });
    proptest::collection::vec(write, 5..40)
}

/// Performs a write like a request does: it takes its time first, and lands later.
async fn write(api: &Api, write: &Write, ids: &[String]) {
    tokio::time::sleep(write.begins).await;
    let now = api.time.now().millis().saturating_add_signed(write.skew);
    let now = Timestamp::from_millis(now);
    tokio::time::sleep(write.takes).await;
    let (store, by) = (api.store(), api.writer());
    let id = &ids[usize::try_from(write.begins.as_millis()).unwrap() % ids.len()];
    match write.kind {
        0 | 1 => {
            let body = json!({"trace_id": "t", "value": 2, "weight": 0.3, "metadata": {"_user": "new", "_session": "new"}});
            let Create::One(draft) = portkey::parse_create(&body.to_string()).unwrap().value else {
                panic!("one record");
            };
            store.create(&by, vec![*draft], now).await.unwrap();
        }
        // An upsert of one of three people, whose votes replace each other.
        4 => {
            let metadata =
                json!({"_user": format!("person-{}", write.takes.as_millis() % 3), "_session": "s"});
            let body = json!({"trace_id": "t", "value": write.skew % 10, "metadata": metadata});
            let Create::One(mut draft) = portkey::parse_create(&body.to_string()).unwrap().value else {
                panic!("one record");
            };
            draft.person = draft
                .metadata
                .as_ref()
                .and_then(|metadata| metadata.user(None))
                .map(|user| Person {
                    user,
                    name: String::new(),
                });
            store.create(&by, vec![*draft], now).await.unwrap();
        }
        // The record may be deleted by now.
        2 => {
            api.put(
                &format!("{PORTKEY}/{id}"),
                json!({"value": 3, "metadata": {"_model": "m9", "_session": "moved"}}),
            )
            .await;
        }
        _ => {
            api.delete(&format!("{PORTKEY}/{id}")).await;
        }
    }
}

/// Advances the deployment's time together with the test's virtual time.
pub(crate) async fn pass(api: &Api) {
    const STEP: Duration = Duration::from_millis(250);
    loop {
        tokio::time::sleep(STEP).await;
        api.time.forward(STEP);
    }
}

/// Counts at intervals.
pub(crate) async fn count_at_intervals(api: &Api) {
    loop {
        api.count().await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

/// Runs a rebuild while time passes and counting continues.
pub(crate) async fn rebuilt(api: &Api) {
    tokio::select! {
        () = run_rebuild(api) => {}
        () = pass(api) => {}
        () = count_at_intervals(api) => {}
    }
}

/// Runs every step of a rebuild like `stats rebuild`. Steps that allow it are interrupted and repeated.
pub(crate) async fn run_rebuild(api: &Api) {
    let rebuild = rebuild(api);
    let generation = rebuild.begin(CLOCK_SKEW + Duration::from_secs(2)).await.unwrap();
    assert_eq!(rebuild.begin(Duration::ZERO).await.unwrap(), generation);
    rebuild.wait_for_writes(generation).await.unwrap();
    api.database.fail_on("UpdateItem", [Fault::AccessDenied; 2]);
    let _ = rebuild.touch(generation, |_| {}).await;
    api.database.recover();
    rebuild.touch(generation, |_| {}).await.unwrap();
    loop {
        let Progress { touched, counted } = rebuild.progress(generation).await.unwrap();
        if counted >= touched {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rebuild.finish(generation).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    rebuild.clear(generation).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(12)))]

    /// Late writes, writers with wrong clocks, counting, and a rebuild that is interrupted and repeated,
    /// all at the same time.
    #[test]
    fn a_rebuild_is_exact_whatever_goes_on_beside_it(
        seed in any::<u64>(),
        writes in writes(),
        lost in any::<bool>(),
        schema in 1..=schema::STATS,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (api, _) = recorded_in(seed, schema).await;
            if schema < Field::Session.counted_since() {
                unindex(&api, Field::Session);
            }
            if lost {
                api.forget_the_stream().await;
            }
            let ids = api.get("/v1/feedback?trace_id=t&limit=100").await.ok().ids();
            let all = join_all(writes.iter().map(|one| write(&api, one, &ids)));
            tokio::select! {
                _ = async { tokio::join!(run_rebuild(&api), all) } => {}
                () = pass(&api) => {}
                () = count_at_intervals(&api) => {}
            }
            api.count().await;
            assert_eq!(verified(&api).await, Ok(()));
            assert_index_keys(&api);
            vote(&api, 2, 1.0, json!({})).await;
            api.put(&format!("{PORTKEY}/{}", ids[0]), json!({"value": -5})).await;
            api.count().await;
            assert_eq!(verified(&api).await, Ok(()));
        });
    }
}
