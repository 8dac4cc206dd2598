//! Deleting all records of one user.

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::Select;
use futures_util::future::join_all;

use super::Store;
use super::read::paths::{Ids, Path, paths};
use crate::dynamo::attributes::{Item, string, text};
use crate::dynamo::retry::retry_conflicts;
use crate::dynamo::{self, Attempts};
use crate::id::{FeedbackId, Workspace};
use crate::indexed::{Field, Indexed};
use crate::problem::Problem;
use crate::query::{Filter, ListQuery, Order};
use crate::schema;
use crate::stats::image::Counted;
use crate::timestamp::Timestamp;

/// The number of records that are deleted in one step.
pub const PAGE: usize = 100;

/// The number of records that are deleted concurrently.
const CONCURRENCY: usize = 20;

/// The result of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// The number of deleted records whose deletion this code can count.
    pub counted: u64,
    /// The number of deleted records that this code cannot read: counting parks their deletion.
    pub unreadable: u64,
    /// The last record of the step if others may follow it; `None` at the end.
    pub next: Option<FeedbackId>,
}

/// The result of one delete.
enum Deleted {
    /// The record is deleted, and its deletion will be counted.
    Counted,
    /// The record is deleted, and its deletion will be parked.
    Unreadable,
    /// It is gone, or another user's, or a later record is in its place.
    Not,
}

/// Where the records of a user are, and the ids of those in a range of creation times that follow `after`.
fn of_user(
    workspace: &Workspace,
    user: &str,
    from: Option<Timestamp>,
    to: Timestamp,
    after: Option<FeedbackId>,
) -> Option<(Path, Ids)> {
    let mut indexed = Indexed::default();
    indexed.set(Field::User, user.to_owned());
    let query = ListQuery {
        filter: Filter {
            indexed,
            from,
            to: Some(to),
            ..Filter::default()
        },
        order: Order::Ascending,
        limit: PAGE,
        after,
    };
    let ids = Ids::of(&query);
    // A user's records are in one partition of the index.
    let path = paths(workspace, &query.filter).0.pop()?;
    (!ids.is_empty()).then_some((path, ids))
}

impl Store {
    /// Deletes the next records of a user that were created before `until`, those that follow `after` in the order
    /// of their ids. Each is deleted on the condition that it is still the user's. If some deletes fail, `next` is
    /// where this step began, so that the next one tries them again.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, if no record was deleted.
    pub async fn erase(
        &self,
        workspace: &Workspace,
        user: &str,
        until: Timestamp,
        after: Option<FeedbackId>,
    ) -> Result<Erased, Problem> {
        let mut erased = Erased::default();
        let Some((path, ids)) = of_user(workspace, user, None, until, after) else {
            return Ok(erased);
        };
        let page = self
            .query(&path, ids)
            .limit(i32::try_from(PAGE).unwrap_or(i32::MAX))
            .projection_expression("pk, sk, id, #schema, #value, weight, rating")
            .expression_attribute_names("#schema", schema::ATTRIBUTE)
            .expression_attribute_names("#value", "value")
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?;
        let mut failure = None;
        for chunk in page.items().chunks(CONCURRENCY) {
            for result in join_all(chunk.iter().map(|record| self.erase_record(record, &path.hash))).await {
                match result {
                    Ok(Deleted::Counted) => erased.counted += 1,
                    Ok(Deleted::Unreadable) => erased.unreadable += 1,
                    Ok(Deleted::Not) => {}
                    Err(problem) => failure = Some(problem),
                }
            }
        }
        erased.next = match failure {
            Some(problem) if erased.counted + erased.unreadable == 0 => return Err(problem),
            Some(_) => Some(after.unwrap_or(FeedbackId::from_u128(0))),
            None => page
                .last_evaluated_key()
                .and_then(|key| FeedbackId::parse(string(key, "id")?)),
        };
        Ok(erased)
    }

    /// Deletes one record if it is still the user's.
    async fn erase_record(&self, record: &Item, index_key: &str) -> Result<Deleted, Problem> {
        let key = |name: &str| Some((name.to_owned(), record.get(name)?.clone()));
        let request = self
            .client
            .delete_item()
            .table_name(&self.feedback)
            .set_key(Some(key("pk").into_iter().chain(key("sk")).collect()))
            // A later vote of the same person, in the place of one that was deleted meanwhile, has another id.
            .condition_expression("#user = :user AND id = :id")
            .expression_attribute_names("#user", Field::User.key())
            .expression_attribute_values(":user", text(index_key))
            .expression_attribute_values(":id", text(string(record, "id").unwrap_or_default()));
        let attempts = Attempts::default();
        let send = || request.clone().customize().interceptor(attempts.clone()).send();
        match retry_conflicts(send).await {
            Ok(_) => {}
            Err(error) => match error.as_service_error() {
                // An attempt whose response was lost may have deleted it.
                Some(DeleteItemError::ConditionalCheckFailedException(_)) if attempts.uncertain() => {}
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => return Ok(Deleted::Not),
                _ => return Err(dynamo::problem(&error, attempts.uncertain())),
            },
        }
        Ok(if Counted::from_item(record).is_ok() {
            Deleted::Counted
        } else {
            Deleted::Unreadable
        })
    }

    /// The number of records of a user that were created in a range of time and are there now.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn count_of_user(
        &self,
        workspace: &Workspace,
        user: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<u64, Problem> {
        let Some((path, ids)) = of_user(workspace, user, Some(from), to, None) else {
            return Ok(0);
        };
        let (mut count, mut start) = (0, None);
        loop {
            let page = self
                .query(&path, ids)
                .select(Select::Count)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            count += u64::try_from(page.count()).unwrap_or_default();
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(count);
            }
        }
    }
}
