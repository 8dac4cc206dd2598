//! The query parameters of analytics requests.

use crate::dialect::parameters::Parameters;
use crate::dialect::portkey::SPAN_WITHOUT_TRACE;
use crate::fields::Object;
use crate::id::Workspace;
use crate::indexed::{Field, Indexed, MAX_INDEXED};
use crate::metadata::member;
use crate::problem::Problem;
use crate::query::Filter;
use crate::stats::question::Question;
use crate::stats::read::Range;
use crate::target::{SpanId, TraceId};
use crate::timestamp::Granularity;

/// The longest range, in hours, that a graph shows by hour. Longer ranges are shown by day.
const MAX_HOURS_BY_HOUR: u64 = 48;

/// The maximum number of combinations of traces, spans and prompts that one request may filter by.
const MAX_FILTERS: usize = 100;

/// The maximum number of groups or models on a page. Their values take up to 512 bytes, which become 3,584
/// as JSON within JSON, so the response stays below Lambda's limit of 6 MB.
pub(super) const MAX_PAGE: usize = 1_000;

/// The parameters that are supported.
const SUPPORTED: [&str; 12] = [
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

/// Parameters that Portkey documents and that filter by request data, which Hindsight does not store.
const UNSUPPORTED: [&str; 19] = [
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

/// A parsed analytics request.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalyticsQuery {
    /// Which records are counted.
    pub question: Question,
    /// The page of groups or models, counted from 0.
    pub page: usize,
    /// The page size, if given; 0 returns only the totals.
    pub page_size: Option<usize>,
}

impl AnalyticsQuery {
    /// Parses the parameters of a query string.
    ///
    /// # Errors
    ///
    /// [`Problem::Invalid`] with every parameter that is missing, unknown or invalid.
    /// [`Problem::ForeignWorkspace`] if the slug names another workspace than the key's.
    pub fn parse(pairs: &[(String, String)], workspace: &Workspace) -> Result<Self, Problem> {
        let known: Vec<&str> = SUPPORTED.into_iter().chain(UNSUPPORTED).collect();
        let mut parameters = Parameters::new(pairs, &known);
        for name in UNSUPPORTED {
            if parameters.has(name) {
                parameters.fault(name, "not supported: Hindsight stores feedback, not request data");
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
                "expected at or after time_of_generation_min",
            );
        }
        let metadata = parameters
            .take(
                "metadata",
                "a JSON object of texts, numbers and booleans",
                equalities,
            )
            .unwrap_or_default();
        let prompts = parameters.take("prompt_slug", "prompts with commas between them", values);
        let models = parameters.take("ai_org_model", "models with commas between them", values);
        let traces = parameters.take(
            "trace_id",
            "1 to 512 bytes, or several with commas between",
            |text| list(text, TraceId::parse),
        );
        let spans = parameters.take(
            "span_id",
            "1 to 128 bytes, or several with commas between",
            |text| list(text, SpanId::parse),
        );
        if parameters.has("span_id") && !parameters.has("trace_id") {
            parameters.fault("trace_id", SPAN_WITHOUT_TRACE);
        }
        let indexed = Indexed::from_fn(|field| {
            let found = metadata.iter().find(|(name, _)| name == field.metadata());
            found
                .map(|(_, text)| text.clone())
                .filter(|text| !text.is_empty())
        });
        let has_prompt = indexed.get(Field::Prompt).is_some();
        let filter = Filter {
            indexed,
            from,
            to,
            ..Filter::default()
        };
        let mut filters = each(vec![filter], traces.as_deref(), |filter, trace| {
            filter.trace = Some(trace.clone());
        });
        filters = each(filters, spans.as_deref(), |filter, span| {
            filter.span = Some(span.clone());
        });
        // Metadata can ask for one prompt only, and a trace narrows the list further than any prompt.
        if !has_prompt && traces.is_none() {
            filters = each(filters, prompts.as_deref(), |filter, prompt| {
                filter.indexed.set(Field::Prompt, prompt.clone());
            });
        }
        if filters.len() > MAX_FILTERS {
            let most = format!(
                "expected at most {MAX_FILTERS} pairs with span_id, got {}",
                filters.len()
            );
            let most_prompts = format!("expected at most {MAX_FILTERS} prompts, got {}", filters.len());
            match traces {
                Some(_) => parameters.fault("trace_id", &most),
                None => parameters.fault("prompt_slug", &most_prompts),
            }
        }
        let whole = |text: &str| {
            text.parse::<u32>()
                .ok()
                .and_then(|whole| usize::try_from(whole).ok())
        };
        let query = from.zip(to).map(|(from, to)| Self {
            question: Question {
                range: Range { from, to },
                filters,
                metadata,
                prompts,
                models,
                weighted_min: parameters.take("weighted_feedback_min", "a number", finite),
                weighted_max: parameters.take("weighted_feedback_max", "a number", finite),
            },
            page: parameters
                .take("current_page", "an integer from 0 to 4294967295", whole)
                .unwrap_or_default(),
            page_size: parameters.take("page_size", "an integer from 0 to 1000", |text| {
                whole(text).filter(|size| *size <= MAX_PAGE)
            }),
        });
        parameters.finish(query)
    }

    /// The bucket size of a graph over this range.
    pub fn buckets(&self) -> Granularity {
        let Range { from, to } = self.question.range;
        let hours = (to.millis() - from.millis()).div_ceil(60 * 60 * 1000);
        if hours <= MAX_HOURS_BY_HOUR {
            Granularity::Hour
        } else {
            Granularity::Day
        }
    }
}

/// Parses a comma-separated list and removes duplicates. Returns `None` if any element is invalid.
fn list<T: PartialEq>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut elements = Vec::new();
    for element in text.split(',') {
        let element = parse(element)?;
        if !elements.contains(&element) {
            elements.push(element);
        }
    }
    Some(elements)
}

/// Parses comma-separated values of an indexed field and drops those that are too long to exist. Returns
/// `None` if any is empty.
fn values(text: &str) -> Option<Vec<String>> {
    let mut values = list(text, |value| (!value.is_empty()).then(|| value.to_owned()))?;
    values.retain(|value| value.len() <= MAX_INDEXED);
    Some(values)
}

/// Copies each filter for each value of a list. Returns the filters unchanged if there is no list.
fn each<T>(filters: Vec<Filter>, values: Option<&[T]>, set: impl Fn(&mut Filter, &T)) -> Vec<Filter> {
    let Some(values) = values else {
        return filters;
    };
    let with = |filter: &Filter, value: &T| {
        let mut filter = filter.clone();
        set(&mut filter, value);
        filter
    };
    let pairs = filters
        .iter()
        .flat_map(|filter| values.iter().map(move |value| (filter, value)));
    pairs.map(|(filter, value)| with(filter, value)).collect()
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Parses a JSON object into its members, each value as text.
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
