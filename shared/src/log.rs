//! The log: the format of its lines, and which lines of dependencies are suppressed.

use std::env;
use std::fmt::{Debug, Error};
use std::panic;
use std::time::Duration;

use lambda_http::tracing::field::{Field, Visit};
use lambda_http::tracing::subscriber::filter::{FilterExt as _, LevelFilter, Targets, filter_fn};
use lambda_http::tracing::subscriber::fmt::format::Writer;
use lambda_http::tracing::subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields, MakeWriter};
use lambda_http::tracing::subscriber::registry::LookupSpan;
use lambda_http::tracing::subscriber::{Layer as _, Registry, layer::SubscriberExt as _};
use lambda_http::tracing::{self, Dispatch, Event, Level, Metadata, Subscriber};
use serde::Serializer as _;
use serde_json::{Value, json};

use crate::invocation::Invocation;
use crate::metrics::{self, NAMESPACE_VARIABLE};
use crate::timestamp::Timestamp;

/// The crates whose log lines contain no caller's text at any level. All other crates are dependencies.
/// Below INFO they print the data that passes through them: lambda_runtime prints events, and the AWS SDK
/// prints requests and responses, including keys, comments and metadata.
const OWN_CRATES: [&str; 9] = [
    "aggregate",
    "analytics",
    "create",
    "delete",
    "langfuse",
    "publish",
    "read",
    "shared",
    "update",
];

/// Targets whose lines repeat a line of this service. lambda_runtime logs errors and panics of handlers
/// again. The SDK logs after every failed attempt that a custom transport reports no connection.
const REDUNDANT_TARGETS: [&str; 2] = [
    "lambda_runtime::layers::panic",
    "aws_smithy_runtime::client::http::connection_poisoning",
];

/// Sets up the log of a function at its start.
pub fn init() {
    // A second call keeps the existing log.
    let _ = tracing::dispatcher::set_global_default(log(std::io::stdout, |name| env::var(name).ok()));
    // Rust's own hook prints the panic message, which may contain callers' text, for example in a failed
    // slice or `expect`. The location is enough to find the cause.
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
}

/// Creates a log that writes to `writer`, configured by environment variables: lines of text, or of JSON if
/// `AWS_LAMBDA_LOG_FORMAT` says so, at the level in `AWS_LAMBDA_LOG_LEVEL` or else `RUST_LOG`, by default
/// INFO. Dependencies never log below INFO. JSON lines contain metrics if [`NAMESPACE_VARIABLE`] is set.
pub fn log<W>(writer: W, variable: impl Fn(&str) -> Option<String>) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let is_json = variable("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json"));
    // tracing takes an empty level for ERROR. Here it counts as unset, as in the other variables.
    let given = |name| variable(name).filter(|text| !text.is_empty());
    let asked = match given("AWS_LAMBDA_LOG_LEVEL") {
        Some(level) => Targets::new().with_default(lambda_level(&level)),
        None => rust_log(&given("RUST_LOG").unwrap_or_else(|| "info".to_owned())),
    };
    let lines = fmt::layer().with_target(false).without_time().with_writer(writer);
    let lines = if is_json {
        let namespace = given(NAMESPACE_VARIABLE);
        lines.event_format(Json { namespace }).boxed()
    } else {
        lines.boxed()
    };
    Dispatch::new(Registry::default().with(lines.with_filter(asked.and(filter_fn(is_allowed)))))
}

/// Formats JSON lines: one flat object each. Lambda passes such a line on unchanged and reads its `level`
/// and `timestamp`. (Without a timestamp it assumes level INFO: docs.aws.amazon.com/lambda, "Log-level
/// filtering".) CloudWatch reads `_aws`.
struct Json {
    namespace: Option<String>,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> Result<(), Error> {
        let (now, level) = (Timestamp::now(), event.metadata().level());
        let mut fields = Fields(vec![
            ("timestamp", json!(now.to_string())),
            ("level", json!(level.as_str())),
        ]);
        if let Some(id) = Invocation::current().as_ref().and_then(Invocation::id) {
            fields.put("request_id", json!(id));
        }
        event.record(&mut fields);
        let Fields(mut fields) = fields;
        let namespace = self.namespace.as_ref();
        if let Some(namespace) = namespace.filter(|_| is_own(event.metadata().target())) {
            let directives = metrics::directives(namespace, &fields, now);
            fields.extend(directives.map(|directives| ("_aws", directives)));
        }
        let mut line = Vec::new();
        serde_json::Serializer::new(&mut line)
            .collect_map(fields)
            .map_err(|_| Error)?;
        writeln!(writer, "{}", std::str::from_utf8(&line).map_err(|_| Error)?)
    }
}

/// The members of a line, in order.
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Adds a member unless its name is already present.
    fn put(&mut self, name: &'static str, value: Value) {
        if self.0.iter().all(|(there, _)| *there != name) {
            self.0.push((name, value));
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), json!(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field.name(), json!(format!("{value:?}")));
    }
}

/// Converts a duration into milliseconds for the log, with two decimal places.
pub fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 100_000.0).round() / 100.0
}

/// Parses one of Lambda's log levels.
fn lambda_level(level: &str) -> LevelFilter {
    if level.eq_ignore_ascii_case("fatal") {
        return LevelFilter::ERROR;
    }
    level.parse().unwrap_or(LevelFilter::INFO)
}

/// Parses a level, or a list of targets with levels: `debug`, `shared=trace,aws_config=error`.
fn rust_log(directives: &str) -> Targets {
    let asked: Targets = directives.parse().unwrap_or_default();
    match asked.default_level() {
        Some(_) => asked,
        None => asked.with_default(LevelFilter::INFO),
    }
}

/// Whether a line may be printed, provided that its level is enabled.
fn is_allowed(line: &Metadata<'_>) -> bool {
    is_own(line.target()) || (*line.level() <= Level::INFO && !REDUNDANT_TARGETS.contains(&line.target()))
}

fn is_own(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or_default();
    OWN_CRATES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_levels_follow_lambda_or_rust_log() {
        for (level, filter) in [
            ("TRACE", LevelFilter::TRACE),
            ("debug", LevelFilter::DEBUG),
            ("FATAL", LevelFilter::ERROR),
            ("loud", LevelFilter::INFO),
        ] {
            assert_eq!(lambda_level(level), filter, "{level}");
        }
        for (directives, shared, others) in [
            ("warn", Level::WARN, Level::WARN),
            ("shared=trace", Level::TRACE, Level::INFO),
            ("error,shared=debug", Level::DEBUG, Level::ERROR),
            ("shared=loud", Level::INFO, Level::INFO),
        ] {
            let targets = rust_log(directives);
            for (target, level) in [("shared::http", shared), ("hyper", others)] {
                let most = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE]
                    .into_iter()
                    .rfind(|level| targets.would_enable(target, level));
                assert_eq!(most, Some(level), "{directives} {target}");
            }
        }
    }

    #[test]
    fn own_crates_are_matched_by_their_whole_name() {
        assert!(is_own("shared"));
        assert!(is_own("shared::http::answer"));
        assert!(!is_own("readable"));
        assert!(!is_own("aws_smithy_runtime::client::orchestrator"));
        assert!(!is_own(""));
    }
}
