//! Removing a user from the parked changes. Those of events hold nothing of a user's.
//!
//! A parked change holds a record as it was before and after. If this code can read both, it is counted like by
//! `stats count-parked`. If not, the states that it can read are counted, and those of the user that it cannot are
//! dropped. These come in pairs, as what one change made and the next one replaced, and once the record is deleted
//! both are parked, so that they add up to nothing. A state of somebody else that cannot be read stays parked.

use serde_json::Value;

use super::{Batch, Counter};
use crate::dynamo::retry::back_off;
use crate::dynamo::transaction::{Cancelled, transact};
use crate::id::Workspace;
use crate::indexed::Field;
use crate::metadata::Metadata;
use crate::problem::Problem;
use crate::stats::change::{Difference, StreamRecord};
use crate::stats::generation::Generations;
use crate::stats::image::Counted;
use crate::stats::parked::{self, Consumer, Parked};
use crate::store::keys;
use crate::timestamp::Timestamp;

/// The states of a change.
const IMAGES: [&str; 2] = ["NewImage", "OldImage"];

/// The result of [`Counter::erase_parked`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// The number of changes that no longer hold a state of the user.
    pub changes: u64,
    /// When each deletion of a record that this code cannot read happened, among these changes.
    pub deletions: Vec<Timestamp>,
}

/// A user of a workspace.
struct User<'a> {
    workspace: &'a Workspace,
    name: &'a str,
}

impl User<'_> {
    /// Whether a state of a change is of one of the user's records, also if this code cannot read it.
    fn has(&self, image: &Value) -> bool {
        let text = |name: &str| image[name]["S"].as_str();
        if text(Field::User.key()) == Some(&keys::spread(self.workspace, self.name)) {
            return true;
        }
        let is_here = text("sk")
            .and_then(|sk| sk.split_once('#'))
            .is_some_and(|(workspace, _)| workspace == self.workspace.as_str());
        let in_metadata = || {
            let metadata = Metadata::from_stored(text("metadata")?.to_owned());
            metadata.indexed().get(Field::User).map(str::to_owned)
        };
        is_here && (text("person") == Some(self.name) || in_metadata().as_deref() == Some(self.name))
    }
}

/// What becomes of a parked change.
struct Split {
    /// The change without the states that were counted or dropped; `None` if none is left.
    rest: Option<Value>,
    /// Whether it is the deletion of a record of the user that this code cannot read.
    is_deletion: bool,
}

/// Takes a change apart. Returns `None` if no state is of the user.
fn split(record: &StreamRecord, user: &User<'_>) -> Result<Option<Split>, Problem> {
    let mut rest: Value = serde_json::from_str(record.json())
        .map_err(|_| Problem::internal("a parked change cannot be read"))?;
    let change = &mut rest["dynamodb"];
    if !IMAGES.iter().any(|name| user.has(&change[*name])) {
        return Ok(None);
    }
    let is_readable = |name: &str| {
        let change = record.change.as_ref().ok()?;
        let image = match name {
            "NewImage" => change.new_image.as_ref(),
            _ => change.old_image.as_ref(),
        };
        Some(Counted::from_image(image?).is_ok())
    };
    let is_deletion = change["NewImage"].is_null() && is_readable("OldImage") != Some(true);
    let (mut left, change) = (false, change.as_object_mut());
    if let Some(change) = change {
        for name in IMAGES {
            let goes = change
                .get(name)
                .is_some_and(|image| user.has(image) || is_readable(name) == Some(true));
            if goes {
                change.remove(name);
            }
            left |= change.contains_key(name);
        }
    }
    Ok(Some(Split {
        rest: left.then_some(rest),
        is_deletion,
    }))
}

impl Counter {
    /// Removes the states of a user from the parked changes.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB. Another call continues.
    pub async fn erase_parked(&self, workspace: &Workspace, user: &str) -> Result<Erased, Problem> {
        let user = User {
            workspace,
            name: user,
        };
        let mut erased = Erased::default();
        for parked in parked::list(&self.client, &self.stats, Consumer::Counting).await? {
            if let Some((is_deletion, happened_at)) = self.erase_one_parked(&parked, &user).await? {
                erased.changes += 1;
                erased.deletions.extend(is_deletion.then_some(happened_at));
            }
        }
        Ok(erased)
    }

    /// Removes the states of a user from one parked change. Returns whether it was the deletion of a record that
    /// cannot be read, and when it happened; `None` if it has no state of the user.
    async fn erase_one_parked(
        &self,
        parked: &Parked,
        user: &User<'_>,
    ) -> Result<Option<(bool, Timestamp)>, Problem> {
        let mut conflicts = 0;
        loop {
            let stored = parked::load(&self.client, &self.stats, Consumer::Counting, parked).await?;
            let Some(stored) = stored else {
                return Ok(None);
            };
            let Some(split) = split(&stored.record, user)? else {
                return Ok(None);
            };
            // Read after the change, so that no generation can have begun that the change is missing in.
            let generations = Generations::read(&self.client, &self.stats).await?;
            let done = (split.is_deletion, stored.record.happened_at);
            let Ok(_) = stored.record.difference(generations) else {
                let mut difference = Difference::new();
                for generation in generations.counted() {
                    difference.extend(stored.record.readable_difference(generation));
                }
                let part = stored.counted_part()?;
                let mut batch = Batch::new(generations, self.max_items.saturating_sub(stored.chunks).max(1));
                if !batch.add(&stored.record, difference, part.as_ref()) {
                    return Err(Problem::internal(
                        "a parked change does not fit into a transaction",
                    ));
                }
                let mut actions = self.writes(&batch, |_| true).await?;
                actions.extend(match &split.rest {
                    Some(rest) => parked::rewrite(&self.stats, &stored, &rest.to_string())?,
                    None => parked::remove(&self.stats, &stored)?,
                });
                match transact(&self.client, actions).await {
                    Ok(()) => return Ok(Some(done)),
                    Err(Cancelled::Problem(problem)) => return Err(problem),
                    Err(Cancelled::Conflict | Cancelled::Conditions(_)) => {}
                }
                if back_off(conflicts).await.is_none() {
                    return Err(Problem::unavailable("the roll-ups are too busy"));
                }
                conflicts += 1;
                continue;
            };
            return match self.count_one_parked(parked).await? {
                None => Ok(Some(done)),
                // It can be read.
                Some(reason) => Err(Problem::internal(reason.to_string())),
            };
        }
    }
}
