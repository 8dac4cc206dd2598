//! What an analytics call asks for.

use crate::feedback::Feedback;
use crate::fields::{Kind, Object, string};
use crate::id::Workspace;
use crate::metadata::MAX_INDEXED;
use crate::problem::Problem;
use crate::query::{Filter, Parameters};
use crate::score::Score;
use crate::stats::image::model;
use crate::stats::read::Range;
use crate::stats::rollup::Dimension;
use crate::target::{SpanId, TraceId};
use crate::timestamp::Granularity;

/// Up to this many hours a graph is by the hour, beyond it by the day.
const HOURLY: u64 = 48;

/// The most groups or models of a page: with values of 512 bytes, which JSON within JSON makes 3,584, an
/// answer stays below Lambda's 6 MB.
pub(super) const MAX_PAGE: usize = 1_000;

/// The parameters that are honoured.
const KNOWN: [&str; 12] = [
    "time_of_generation_min",
    "time_of_generation_max",
    "workspace_slug",
    "trace_id",
    "span_id",
    "prompt_slug",
    "ai_org_model",
    "metadata",
    "weighted_feedback_min",
    "weighted_feedback_max",
    "current_page",
    "page_size",
];

/// Parameters that Portkey documents and that are about requests, of which feedback knows nothing.
const UNKNOWABLE: [&str; 19] = [
    "api_key_ids",
    "cache_status",
    "columns",
    "completion_token_max",
    "completion_token_min",
    "configs",
    "cost_max",
    "cost_min",
    "include_total",
    "order_by",
    "order_by_type",
    "prompt_token_max",
    "prompt_token_min",
    "status_code",
    "total_tokens_max",
    "total_tokens_min",
    "total_units_max",
    "total_units_min",
    "virtual_keys",
];

/// What an analytics call asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Of which time.
    pub range: Range,
    /// Which records, as far as the store's indexes know them.
    pub filter: Filter,
    /// Metadata that must be there with this text, the indexed fields among it.
    pub metadata: Vec<(String, String)>,
    /// Any of these models, if any are named.
    pub models: Option<Vec<String>>,
    /// The least value × weight.
    pub weighted_min: Option<f64>,
    /// The most value × weight.
    pub weighted_max: Option<f64>,
    /// Which page of groups or models, from 0.
    pub page: usize,
    /// How many of them a page holds, if it says; 0 is for the totals alone.
    pub page_size: Option<usize>,
}

impl Question {
    /// Reads a query string's parameters. [`Problem::ForeignWorkspace`] for the slug of another
    /// workspace than the key's.
    pub fn parse(pairs: &[(String, String)], workspace: &Workspace) -> Result<Self, Problem> {
        let known: Vec<&str> = KNOWN.into_iter().chain(UNKNOWABLE).collect();
        let mut parameters = Parameters::new(pairs, &known);
        for name in UNKNOWABLE {
            if pairs.iter().any(|(pair, _)| pair == name) {
                parameters.fault(
                    name,
                    "cannot be honoured: it is about requests, and only feedback is known",
                );
            }
        }
        if let Some(slug) = parameters.take("workspace_slug", "a workspace", |text| Some(text.to_owned()))
            && slug != workspace.as_str()
        {
            return Err(Problem::ForeignWorkspace);
        }
        let from = parameters.required("time_of_generation_min", Parameters::moment);
        let to = parameters.required("time_of_generation_max", Parameters::moment);
        if from.zip(to).is_some_and(|(from, to)| to < from) {
            parameters.fault(
                "time_of_generation_max",
                "must not be before time_of_generation_min",
            );
        }
        let mut metadata = parameters
            .take(
                "metadata",
                "a JSON object of texts, numbers and booleans",
                equalities,
            )
            .unwrap_or_default();
        metadata.extend(
            parameters
                .take("prompt_slug", "a prompt", |slug| {
                    (!slug.is_empty()).then(|| slug.to_owned())
                })
                .map(|slug| ("_prompt".to_owned(), slug)),
        );
        let models = parameters.take("ai_org_model", "models with commas between them", |text| {
            let models: Vec<String> = text.split(',').map(str::to_owned).collect();
            models.iter().all(|model| !model.is_empty()).then_some(models)
        });
        let trace = parameters.take("trace_id", TraceId::EXPECTED, TraceId::parse);
        let span = parameters.take("span_id", SpanId::EXPECTED, SpanId::parse);
        if span.is_some() && trace.is_none() {
            parameters.fault(
                "trace_id",
                "is required beside span_id: a span is named within its trace",
            );
        }
        let field = |name: &str| {
            let found = metadata.iter().find(|(field, _)| field == name);
            found
                .map(|(_, text)| text.clone())
                .filter(|text| !text.is_empty())
        };
        let filter = Filter {
            trace,
            span,
            user: field("_user"),
            organisation: field("_organisation"),
            prompt: field("_prompt"),
            environment: field("_environment"),
            from,
            to,
        };
        let whole = |text: &str| {
            text.parse::<u32>()
                .ok()
                .and_then(|whole| usize::try_from(whole).ok())
        };
        let question = from.zip(to).map(|(from, to)| Self {
            range: Range { from, to },
            filter,
            metadata,
            models,
            weighted_min: parameters.take("weighted_feedback_min", "a number", finite),
            weighted_max: parameters.take("weighted_feedback_max", "a number", finite),
            page: parameters
                .take("current_page", "an integer from 0 to 4294967295", whole)
                .unwrap_or_default(),
            page_size: parameters.take("page_size", "an integer from 0 to 1000", |text| {
                whole(text).filter(|size| *size <= MAX_PAGE)
            }),
        });
        parameters.finish(question)
    }

    /// How finely a graph of this range is drawn.
    pub fn buckets(&self) -> Granularity {
        let hours = (self.range.to.millis() - self.range.from.millis()).div_ceil(60 * 60 * 1000);
        if hours <= HOURLY {
            Granularity::Hour
        } else {
            Granularity::Day
        }
    }

    /// The one dimension that all of the filter is about, and the values it lets through, if
    /// roll-ups by it can answer: [`Dimension::All`] where there is no filter. `None` where only
    /// the records can.
    pub fn dimension(&self) -> Option<(Dimension, Option<Vec<String>>)> {
        if self.filter.trace.is_some() || self.weighted_min.is_some() || self.weighted_max.is_some() {
            return None;
        }
        match (self.metadata.as_slice(), &self.models) {
            ([], None) => Some((Dimension::All, None)),
            ([], Some(models)) => Some((Dimension::Model, Some(models.clone()))),
            ([(field, text)], None) => match Dimension::of_field(field)? {
                // A day has as many user roll-ups as users; one user has few records. And the roll-ups
                // by model are also of what said `ai_model`, or nothing.
                Dimension::User | Dimension::Model => None,
                _ if text.is_empty() => None,
                dimension => Some((dimension, Some(vec![text.clone()]))),
            },
            _ => None,
        }
    }

    /// Whether it asks for an indexed field or a model by a longer value than one can have. Then there is
    /// nothing to read, and DynamoDB would refuse the key.
    pub fn matches_nothing(&self) -> bool {
        let indexed = |field: &str| Dimension::of_field(field).is_some_and(|by| by != Dimension::Model);
        let is_long = |text: &String| text.len() > MAX_INDEXED;
        let long_field = |(field, text): &(String, String)| indexed(field) && is_long(text);
        self.metadata.iter().any(long_field)
            || self
                .models
                .as_ref()
                .is_some_and(|models| models.iter().all(is_long))
    }

    /// Whether a record passes.
    pub fn admits(&self, feedback: &Feedback) -> bool {
        let metadata = feedback.draft.metadata.as_ref();
        let texts = self.metadata.iter();
        let same = |(field, text): &(String, String)| {
            metadata
                .and_then(|metadata| member(metadata.json(), field))
                .as_ref()
                == Some(text)
        };
        let weighted = match feedback.draft.score {
            Score::Value(value, weight) => Some(f64::from(value.get()) * weight.get()),
            Score::Rating(_) => None,
        };
        texts.into_iter().all(same)
            && self
                .models
                .as_ref()
                .is_none_or(|models| models.contains(&model(metadata)))
            && self
                .weighted_min
                .is_none_or(|least| weighted.is_some_and(|weighted| weighted >= least))
            && self
                .weighted_max
                .is_none_or(|most| weighted.is_some_and(|weighted| weighted <= most))
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The members of a JSON object by their text.
fn equalities(json: &str) -> Option<Vec<(String, String)>> {
    let object = Object::parse(json).ok()?;
    if object.has_lone_surrogates() || object.has_repeated_names() {
        return None;
    }
    let members = object.members().iter();
    members
        .map(|(name, _)| Some((name.clone(), member(json, name)?)))
        .collect()
}

/// A member of a metadata object as text: a string itself, a number or boolean by its JSON text. Of several
/// of the name the last counts.
pub fn member(json: &str, name: &str) -> Option<String> {
    let object = Object::parse(json).ok()?;
    let value = object.get(name)?;
    match Kind::of(value) {
        Kind::String => string(value).ok(),
        Kind::Number | Kind::Bool => Some(value.get().to_owned()),
        Kind::Null | Kind::Array | Kind::Object => None,
    }
}
