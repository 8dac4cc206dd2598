//! Reading the counted parts of records, for analytics that roll-ups cannot provide.
//!
//! Reads are limited in records and bytes, and fetch only attributes that are counted or filtered by. Each
//! page is processed before the path's next one is read. So a query takes the same memory, whatever the
//! records contain.

use std::fmt;

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::item;
use super::read::paths::{Ids, Path, paths};
use super::read::readable;
use super::{Store, keys};
use crate::dynamo;
use crate::dynamo::attributes::{Item, string};
use crate::id::{FeedbackId, Workspace};
use crate::indexed::{Field, Indexed};
use crate::metadata::{Metadata, name};
use crate::problem::Problem;
use crate::query::{Filter, ListQuery, MAX_LIMIT, Order};
use crate::reasons::Reasons;
use crate::schema;
use crate::score::Score;
use crate::timestamp::Timestamp;

/// The maximum metadata that one query reads, in bytes. A function with 128 MB processes it within its
/// deadline, and holds up to four pages of 1 MB at a time.
pub const MAX_METADATA_READ: usize = 32 * 1024 * 1024;

/// The number of paths that are read concurrently. Pages with metadata take 1 MB each, others little.
const AT_ONCE: usize = 8;
const AT_ONCE_WITH_METADATA: usize = 3;

/// The parts of a record that are read besides its id and score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The indexed fields, from the keys of the indexes.
    pub indexed: bool,
    /// The metadata, as text.
    pub metadata: bool,
}

/// The counted parts of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Vote {
    /// The id, which contains the creation time.
    pub id: FeedbackId,
    /// The score.
    pub score: Score,
    /// The indexed fields, if requested.
    pub indexed: Indexed,
    /// The metadata, if requested and present.
    pub metadata: Option<Metadata>,
    /// The reasons.
    pub reasons: Reasons,
    /// The question of an upserted record.
    question: Option<String>,
}

impl Vote {
    /// Which question was asked; the empty name where none is told. Needs the metadata.
    pub fn name(&self) -> String {
        let question = self.question.clone();
        question.unwrap_or_else(|| name(self.metadata.as_ref()))
    }
}

/// The limit that a query would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The number of records.
    Records(usize),
    /// The bytes of metadata.
    Metadata(usize),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(most) => write!(f, "{most} records"),
            Self::Metadata(most) => write!(f, "{} MiB of metadata", most / 1024 / 1024),
        }
    }
}

impl Store {
    /// Visits every unexpired record that matches a filter, in no particular order. No record may match two
    /// filters. Of a filter only the target, the indexed fields and the times count. Stops and returns the limit if it would read more than `most` records or
    /// [`MAX_METADATA_READ`] bytes.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn each_vote(
        &self,
        workspace: &Workspace,
        filters: &[Filter],
        columns: Columns,
        most: usize,
        now: Timestamp,
        mut visit: impl FnMut(&Vote),
    ) -> Result<Result<(), Limit>, Problem> {
        let at_once = if columns.metadata {
            AT_ONCE_WITH_METADATA
        } else {
            AT_ONCE
        };
        let mut lanes = Vec::new();
        for (place, filter) in filters.iter().enumerate() {
            let ids = of_filter(filter);
            if ids.is_empty() {
                continue;
            }
            let (paths, covered) = paths(workspace, filter);
            let needs = Columns {
                indexed: columns.indexed || filter.fields() > covered,
                ..columns
            };
            lanes.extend(paths.iter().map(|path| self.pages(place, path, ids, needs)));
        }
        let mut pages = stream::iter(lanes).flatten_unordered(at_once);
        let (mut examined, mut bytes) = (0, 0);
        while let Some((place, needs, page)) = pages.try_next().await? {
            examined += page.len();
            if examined > most {
                return Ok(Err(Limit::Records(most)));
            }
            let Some(filter) = filters.get(place) else {
                continue;
            };
            for item in &page {
                // A path without order brings those of all times.
                if !item::id(item).is_some_and(|id| of_filter(filter).contains(id)) {
                    continue;
                }
                bytes += string(item, "metadata").map_or(0, str::len);
                if bytes > MAX_METADATA_READ {
                    return Ok(Err(Limit::Metadata(MAX_METADATA_READ)));
                }
                if item::is_expired(item, now) {
                    continue;
                }
                if let Some(vote) = readable(to_vote(item, filter, needs)).flatten() {
                    visit(&vote);
                }
            }
            // Lets the request's deadline take effect between pages.
            tokio::task::yield_now().await;
        }
        Ok(Ok(()))
    }

    /// Reads the pages of a path, each with the index of its filter.
    fn pages(&self, place: usize, path: &Path, ids: Ids, columns: Columns) -> Pages {
        let mut names = vec![
            "pk",
            "sk",
            "id",
            "question",
            schema::ATTRIBUTE,
            "value",
            "weight",
            "rating",
            "reasons",
            "expires_at",
        ];
        if columns.indexed {
            names.extend(Field::ALL.map(Field::key));
        }
        if columns.metadata {
            names.push("metadata");
        }
        let placeholders: Vec<String> = (0..names.len()).map(|index| format!("#p{index}")).collect();
        let mut query = self
            .query(path, ids)
            .projection_expression(placeholders.join(", "));
        for (placeholder, name) in placeholders.into_iter().zip(names) {
            query = query.expression_attribute_names(placeholder, name);
        }
        let pages = stream::try_unfold(Some((query, None)), move |next| async move {
            let Some((query, start)) = next else {
                return Ok(None);
            };
            let page = query
                .clone()
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| dynamo::problem(&error, false))?;
            let rest = page.last_evaluated_key.map(|key| (query, Some(key)));
            Ok(Some(((place, columns, page.items.unwrap_or_default()), rest)))
        });
        pages.boxed()
    }
}

/// The ids in a filter's time range.
fn of_filter(filter: &Filter) -> Ids {
    Ids::of(&ListQuery {
        filter: filter.clone(),
        order: Order::Ascending,
        limit: MAX_LIMIT,
        after: None,
    })
}

/// Pages of items, each with the index of its filter and the parts that were read.
type Pages = BoxStream<'static, Result<(usize, Columns, Vec<Item>), Problem>>;

/// Converts an item to a vote, if it matches the filter.
fn to_vote(item: &Item, filter: &Filter, columns: Columns) -> Result<Option<Vote>, Problem> {
    let scored = item::to_scored(item)?;
    let indexed = Indexed::from_fn(|field| {
        let key = string(item, field.key())?;
        keys::indexed_text(field, key).map(str::to_owned)
    });
    // If the index keys were not read, the path alone has decided.
    let admits = !columns.indexed || filter.admits_indexed(&indexed);
    let is_about = || keys::target(&scored.partition).is_some_and(|target| filter.is_about(&target));
    if !admits || (filter.trace.is_some() && !is_about()) {
        return Ok(None);
    }
    Ok(Some(Vote {
        id: scored.id,
        score: scored.score,
        indexed,
        reasons: item::reasons(item),
        question: string(item, "question").map(str::to_owned),
        metadata: string(item, "metadata").map(|json| Metadata::from_stored(json.to_owned())),
    }))
}
