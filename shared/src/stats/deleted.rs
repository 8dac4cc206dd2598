//! Markers of deleted records, so that no import brings a record back.
//!
//! Whoever folds the changes of a record by its version takes a deletion for final. So a record that is imported again
//! under its old id would be missing there. Counting leaves a marker of each deletion, in whatever way it happened: the
//! stream has them all. A marker has the workspace and the id, and nothing that the record said.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{KeysAndAttributes, Put, TransactWriteItem};

use super::change::StreamRecord;
use super::rollup::key_item;
use crate::dynamo::attributes::{number, string};
use crate::dynamo::batch::items_of_keys;
use crate::dynamo::incomplete;
use crate::dynamo::retry::back_off;
use crate::dynamo::transaction::{Cancelled, transact};
use crate::erasure::{BACKUP_RETENTION, STREAM_RETENTION};
use crate::id::{FeedbackId, Workspace};
use crate::problem::Problem;
use crate::schema;
use crate::store::item;
use crate::timestamp::Timestamp;

/// How long a marker is kept: as long as a backup may hold the record. Streams and queues forget earlier.
pub const LIFETIME: Duration = Duration::from_secs(STREAM_RETENTION.as_secs() + BACKUP_RETENTION.as_secs());

/// The start of a marker's partition key, and its sort key.
const DELETED: &str = "deleted";

/// Each marker has a partition of its own: deletions come in thousands.
fn partition(workspace: &Workspace, id: FeedbackId) -> String {
    format!("{DELETED}#{workspace}#{}", id.hyphenated())
}

/// Whether an item of the table `stats` with this primary key is a marker.
pub fn is_marker(pk: &str, sk: &str) -> bool {
    sk == DELETED && pk.strip_prefix(DELETED).is_some_and(|rest| rest.starts_with('#'))
}

/// Marks the records that these changes deleted. It can be repeated.
pub(super) async fn mark(
    client: &Client,
    stats: &str,
    changes: impl Iterator<Item = &StreamRecord>,
    at_once: usize,
) -> Result<(), Problem> {
    let deleted: BTreeMap<String, u64> = changes
        .filter_map(|change| Some((change.deleted()?, change.happened_at)))
        .map(|((workspace, id), at)| (partition(&workspace, id), (at + LIFETIME).seconds()))
        .collect();
    let put = |(pk, end): &(String, u64)| {
        let mut marker = key_item(pk, DELETED);
        marker.insert("expires_at".to_owned(), number(end));
        marker.insert(schema::ATTRIBUTE.to_owned(), number(1));
        let put = Put::builder().table_name(stats).set_item(Some(marker));
        Ok(TransactWriteItem::builder()
            .put(put.build().map_err(incomplete)?)
            .build())
    };
    for chunk in deleted.into_iter().collect::<Vec<_>>().chunks(at_once) {
        let actions: Vec<_> = chunk.iter().map(put).collect::<Result<_, Problem>>()?;
        let mut conflicts = 0;
        loop {
            match transact(client, actions.clone()).await {
                Ok(()) => break,
                Err(Cancelled::Problem(problem)) => return Err(problem),
                // Another delivery of the same changes marks them too.
                Err(Cancelled::Conflict | Cancelled::Conditions(_)) => {
                    if back_off(conflicts).await.is_none() {
                        return Err(Problem::unavailable(
                            "the markers of deleted records are too busy",
                        ));
                    }
                    conflicts += 1;
                }
            }
        }
    }
    Ok(())
}

/// Returns which of these records, at most [`MAX_KEYS`](crate::dynamo::batch::MAX_KEYS) different ones, were deleted
/// within [`LIFETIME`], as far as deletions are counted.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn among(
    client: &Client,
    stats: &str,
    workspace: &Workspace,
    ids: impl IntoIterator<Item = FeedbackId>,
    now: Timestamp,
) -> Result<HashSet<FeedbackId>, Problem> {
    let keys = ids
        .into_iter()
        .map(|id| key_item(&partition(workspace, id), DELETED))
        .collect();
    let consistent = KeysAndAttributes::builder().consistent_read(true);
    let markers = items_of_keys(client, stats, keys, &consistent).await?;
    Ok(markers
        .iter()
        .filter(|marker| !item::is_expired(marker, now))
        .filter_map(|marker| FeedbackId::parse(string(marker, "pk")?.rsplit('#').next()?))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rollup::Rollup;

    #[test]
    fn a_marker_is_no_roll_up() {
        for name in ["all", "model", "deleted"] {
            let workspace = Workspace::parse(name).unwrap();
            let pk = partition(&workspace, FeedbackId::from_bytes([7; 16]));
            assert!(is_marker(&pk, DELETED));
            assert_eq!(Rollup::from_key(&pk, DELETED), None);
        }
        // A workspace of that name has roll-ups.
        assert!(!is_marker("deleted#all#day", "001795219200000#"));
        assert!(!is_marker("checkpoint", "shard"));
    }
}
