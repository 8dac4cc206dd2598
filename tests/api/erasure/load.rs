//! A user with a tenth of all records is erased under load.

use std::time::Instant;

use super::*;
use crate::counting::{count_at_intervals, pass};

/// The number of records, unless the environment variable `ERASURE_RECORDS` is set.
const RECORDS: usize = 2_000;

#[tokio::test(start_paused = true)]
async fn a_user_is_erased_from_a_tenth_of_many_records_under_load() {
    let told = std::env::var("ERASURE_RECORDS").ok();
    let records = told.map_or(RECORDS, |count| count.parse().unwrap());
    let api = behind().await;
    for hundred in 0..records / 100 {
        let of = |place: usize| {
            let user = match place % 10 {
                0 => "erin-9f".to_owned(),
                _ => format!("u{}", (hundred * 100 + place) % 997),
            };
            json!({
                "trace_id": format!("t{}", hundred * 10 + place / 10), "value": place % 11,
                "metadata": {"_user": user, "_prompt": "p", "_session": format!("s{hundred}")},
            })
        };
        api.post(PORTKEY, (0..100).map(of).collect()).await.ok();
        if hundred % 50 == 0 {
            // Over several days.
            api.time.forward(Duration::from_secs(60));
            api.count().await;
        }
    }
    api.count().await;
    assert_eq!(verified(&api).await, Ok(()));
    let before = naming(&api, "erin-9f").len();
    let started = Instant::now();
    let (mut steps, mut written, mut last) = (0, 0, Value::Null);
    let caller = async {
        let mut cursor = Value::Null;
        while last["status"] != "done" {
            last = step(&api, "erin-9f", &cursor).await.ok().json();
            cursor = last["cursor"].clone();
            steps += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let load = async {
        loop {
            let user = format!("u{}", written % 997);
            let id = api.vote(1, json!({"_user": user})).await;
            if written % 3 == 0 {
                api.put(&format!("{PORTKEY}/{id}"), json!({"value": -1}))
                    .await
                    .ok();
            }
            written += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = caller => {}
        () = load => {}
        () = pass(&api) => {}
        () = count_at_intervals(&api) => {}
    }
    println!(
        "ERASURE_RECORDS={records}: {before} items named the user; {} in {steps} steps beside {written} votes, {:?}",
        last["deleted"],
        started.elapsed()
    );
    assert_eq!(last["deleted"]["records"], records / 10);
    assert!(written > 100);
    api.count().await;
    assert_unknown(&api, "erin-9f").await;
    assert_eq!(verified(&api).await, Ok(()));
    let left = compared(&api).await.records;
    assert_eq!(usize::try_from(left).unwrap(), records - records / 10 + written);
}
