//! The writes and costs of a batch.

use super::*;

/// Makes the table begin its first generation, which counting does once.
async fn begin(api: &Api) {
    Generations::read_or_begin(&api.client, api.table(&STATS))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_batch_is_merged_before_it_is_written() {
    let api = Api::new().await;
    let bulk = |count| {
        Value::Array(vec![
            json!({"trace_id": "t", "value": 1, "metadata": {"_prompt": "p"}});
            count
        ])
    };
    api.post(PORTKEY, bulk(100)).await.ok();
    begin(&api).await;
    api.database.calls();
    api.count().await;
    let transactions = api
        .database
        .calls()
        .iter()
        .filter(|call| *call == "TransactWriteItems")
        .count();
    assert_eq!(transactions, 1, "a hundred votes, and one write of each roll-up");
    assert_eq!(verified(&api).await, Ok(()));
}

#[tokio::test]
async fn what_a_vote_costs_to_count_falls_with_the_batch() {
    let mut units = Vec::new();
    for size in [1, 10, 100, 1_000] {
        let api = Api::new().await;
        for hundred in 0..10 {
            let of = |n: usize| {
                json!({
                    "trace_id": "t",
                    "value": 1,
                    // A realistic distribution: a few users give most votes.
                    "metadata": {"_user": format!("u{}", (hundred * 100 + n).isqrt()), "_model": format!("m{}", n % 3)},
                })
            };
            api.post(PORTKEY, (0..100).map(of).collect()).await.ok();
        }
        let changes = api.changes().await;
        assert_eq!(changes.len(), 1_000);
        begin(&api).await;
        api.database.transaction_units();
        let counter = api.counter();
        for batch in changes.chunks(size) {
            counter.count("shard", records(batch)).await.unwrap();
        }
        units.push(api.database.transaction_units());
        assert_eq!(verified(&api).await, Ok(()));
    }
    // For a single vote: two series each for all feedback and the model, one for the user, and the
    // checkpoint.
    assert_eq!(units[0], 1_000 * 2 * 6);
    println!("write units per 1,000 votes in batches of 1, 10, 100, 1,000: {units:?}");
    assert!(units.is_sorted_by(|one, other| one > other), "{units:?}");
    assert!(units[3] < units[0] / 50, "{units:?}");
}
