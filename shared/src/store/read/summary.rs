//! The summary of a trace's feedback.

use super::paths::{Ids, Path};
use super::readable;
use crate::dynamo;
use crate::id::Workspace;
use crate::problem::Problem;
use crate::query::{MAX_SUMMARY, Summary};
use crate::schema;
use crate::store::item::{self, Scored};
use crate::store::{Store, keys};
use crate::target::{SpanId, Target, TraceId};
use crate::timestamp::Timestamp;

impl Store {
    /// Summarizes the scores of a trace and all its spans. Scores of `span`, if given, are read
    /// consistently, the others from the index.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn summary(
        &self,
        workspace: &Workspace,
        trace: &TraceId,
        span: Option<&SpanId>,
        now: Timestamp,
    ) -> Result<Summary, Problem> {
        let (mut scores, mut complete) = self.scores(Path::trace(workspace, trace), now).await?;
        if let Some(span) = span {
            let target = Target::Span(trace.clone(), span.clone());
            let partition = keys::partition(&target);
            scores.retain(|scored| scored.partition != partition);
            for path in [Path::target, Path::upserted] {
                let (consistent, all) = self.scores(path(workspace, &target), now).await?;
                complete &= all;
                scores.extend(consistent);
            }
            scores.sort_by_key(|scored| scored.id);
        }
        let mut summary = Summary {
            truncated: !complete || scores.len() > MAX_SUMMARY,
            ..Summary::default()
        };
        for scored in scores.iter().take(MAX_SUMMARY) {
            summary.add(scored.score);
        }
        Ok(summary)
    }

    /// Reads the scores of one path, oldest first. Stops after more than a summary can hold, and returns
    /// whether it read all of them.
    async fn scores(&self, path: Path, now: Timestamp) -> Result<(Vec<Scored>, bool), Problem> {
        let (mut scores, mut start) = (Vec::new(), None);
        loop {
            let page = self
                .query(&path, Ids::ALL)
                .projection_expression("pk, sk, id, #schema, #value, weight, rating, expires_at")
                .expression_attribute_names("#schema", schema::ATTRIBUTE)
                .expression_attribute_names("#value", "value")
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            for item in page.items().iter().filter(|item| !item::is_expired(item, now)) {
                scores.extend(readable(item::to_scored(item)));
            }
            start = page.last_evaluated_key;
            if start.is_none() || scores.len() > MAX_SUMMARY {
                return Ok((scores, start.is_none()));
            }
        }
    }
}
