//! Reading both tables whole: what the numbers are checked against.

use aws_sdk_dynamodb::Client;

use super::count::CHECKPOINTS;
use super::generation::{GENERATIONS, Generations};
use super::rollup::{Rollup, from_item};
use super::tally::Tally;
use crate::dynamo;
use crate::feedback::Feedback;
use crate::problem::Problem;
use crate::store::item::{Item, string, to_feedback};

/// The feedback of all workspaces, and the roll-ups of all of it.
#[derive(Clone, Debug)]
pub struct Tables {
    client: Client,
    feedback: String,
    stats: String,
}

impl Tables {
    /// The tables of these names.
    pub fn new(client: Client, feedback: impl Into<String>, stats: impl Into<String>) -> Self {
        Self {
            client,
            feedback: feedback.into(),
            stats: stats.into(),
        }
    }

    /// Every record there is, expired ones that are not swept yet among them: they are counted
    /// until their deletion is.
    pub async fn each_record(&self, mut visit: impl FnMut(Feedback)) -> Result<(), Problem> {
        self.each(&self.feedback, |item| {
            visit(to_feedback(item)?);
            Ok(())
        })
        .await
    }

    /// The generation of roll-ups that is read.
    pub async fn generation(&self) -> Result<u32, Problem> {
        Ok(Generations::read(&self.client, &self.stats).await?.current.number)
    }

    /// Every roll-up of a generation.
    pub async fn each_rollup(
        &self,
        generation: u32,
        mut visit: impl FnMut(Rollup, Tally),
    ) -> Result<(), Problem> {
        self.each(&self.stats, |item| {
            if matches!(string(item, "pk"), Some(CHECKPOINTS | GENERATIONS)) {
                return Ok(());
            }
            let (rollup, tally) = from_item(item)?;
            if rollup.generation == generation {
                visit(rollup, tally);
            }
            Ok(())
        })
        .await
    }

    async fn each(
        &self,
        table: &str,
        mut visit: impl FnMut(&Item) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let mut start = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(table)
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            page.items().iter().try_for_each(&mut visit)?;
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
        }
    }
}
