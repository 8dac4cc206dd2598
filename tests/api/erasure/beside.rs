//! Erasures beside writes, counting and a rebuild.

use futures_util::future::join_all;
use proptest::prelude::*;
use shared::id::FeedbackId;

use super::*;
use crate::counting::{count_at_intervals, pass, rebuilt_beside};
use crate::dynamodb::cases;

/// A write beside the erasure.
#[derive(Clone, Debug)]
struct Write {
    /// When it begins, after the erasure.
    begins: Duration,
    /// Whose it is: the erased user's, or another's.
    is_ours: bool,
    /// What it does: a create, an upsert, an update of an old record, a change of its user, or a delete.
    kind: u8,
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let write = (0_u64..40_000, any::<bool>(), 0_u8..6).prop_map(|(begins, is_ours, kind)| Write {
        begins: Duration::from_millis(begins),
        is_ours,
        kind,
    });
    proptest::collection::vec(write, 5..40)
}

async fn perform(api: &Api, write: &Write, ids: &[String]) {
    tokio::time::sleep(write.begins).await;
    let place = usize::try_from(write.begins.as_millis()).unwrap();
    let user = if write.is_ours { "erin-9f" } else { "bob" };
    let metadata = json!({"_user": user, "_session": "s"});
    let trace = format!("t{}", place % 3);
    let body = json!({"trace_id": trace, "value": place % 11, "metadata": metadata}).to_string();
    let path = format!("{PORTKEY}/{}", ids[place % ids.len()]);
    match write.kind {
        0 | 1 => drop(api.call(Method::POST, PORTKEY, &[], &body).await.ok()),
        2 => {
            let headers = [("x-hindsight-upsert", "user")];
            api.call(Method::POST, PORTKEY, &headers, &body).await.ok();
        }
        // The record may be gone, and the user of an upserted one stays.
        3 => drop(api.put(&path, json!({"value": 2})).await),
        4 => drop(api.put(&path, json!({"value": 3, "metadata": metadata})).await),
        _ => drop(api.delete(&path).await),
    }
}

/// Erases like a caller, who is killed once and begins again.
async fn caller(api: &Api, killed_at: u32) {
    let (mut cursor, mut steps) = (Value::Null, 0);
    loop {
        let answer = step(api, "erin-9f", &cursor).await.ok().json();
        if answer["status"] == "done" {
            return;
        }
        cursor = answer["cursor"].clone();
        steps += 1;
        if steps == killed_at {
            cursor = Value::Null;
        }
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(12)))]

    #[test]
    fn an_erasure_is_exact_whatever_goes_on_beside_it(
        writes in writes(),
        killed_at in 1_u32..30,
        rebuilds in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let api = behind().await;
            let mut ids = Vec::new();
            for place in 0..12 {
                let user = ["erin-9f", "bob"][place % 2];
                let body = json!({"trace_id": format!("t{}", place % 3), "value": 1, "metadata": {"_user": user, "_session": "s"}});
                let headers = [("x-hindsight-upsert", "user")];
                let headers = &headers[..usize::from(place > 7)];
                ids.push(api.call(Method::POST, PORTKEY, headers, &body.to_string()).await.ok().id());
            }
            let began = api.time.now();
            let all = join_all(writes.iter().map(|one| perform(&api, one, &ids)));
            let rebuild = async {
                if rebuilds {
                    rebuilt_beside(&api).await;
                }
            };
            tokio::select! {
                _ = async { tokio::join!(caller(&api, killed_at), rebuild, all) } => {}
                () = pass(&api) => {}
                () = count_at_intervals(&api) => {}
            }
            api.count().await;
            assert_eq!(verified(&api).await, Ok(()));
            // Of the old records those are left that were another's when the erasure had passed.
            for record in api.get(&format!("{PORTKEY}?user=erin-9f&limit=100")).await.ok().ids() {
                let id = FeedbackId::parse(&record).unwrap();
                assert!(id.created_at() > began || ids.contains(&record));
            }
            assert_no_name_outlives_its_feedback(&api);
            // Whatever came later is erased in turn.
            erase(&api, "erin-9f").await;
            assert_unknown(&api, "erin-9f").await;
            assert_eq!(verified(&api).await, Ok(()));
        });
    }
}

/// Votes that come later are new: all of them are there when the erasure is done.
#[tokio::test(start_paused = true)]
async fn later_votes_stay() {
    let api = behind().await;
    for _ in 0..5 {
        api.vote(1, json!({"_user": "erin-9f"})).await;
    }
    api.count().await;
    let mut later = Vec::new();
    let votes = async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        for _ in 0..20 {
            later.push(api.vote(2, json!({"_user": "erin-9f"})).await);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        _ = async { tokio::join!(caller(&api, 0), votes) } => {}
        () = pass(&api) => {}
        () = count_at_intervals(&api) => {}
    }
    api.count().await;
    let mut left = api
        .get(&format!("{PORTKEY}?user=erin-9f&order=asc"))
        .await
        .ok()
        .ids();
    left.sort();
    assert_eq!(left, later);
    assert_eq!(verified(&api).await, Ok(()));
}
