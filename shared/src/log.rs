//! The log: what a function prints, and what nothing it is built of may print.

use std::env;
use std::panic;

use lambda_http::tracing::subscriber::filter::{FilterExt as _, LevelFilter, Targets, filter_fn};
use lambda_http::tracing::subscriber::fmt::{self, MakeWriter};
use lambda_http::tracing::subscriber::{Layer as _, Registry, layer::SubscriberExt as _};
use lambda_http::tracing::{self, Dispatch, Level};

/// The crates whose lines hold no caller's text at any level. All others are dependencies, and
/// below INFO they print what passes through them: lambda_runtime the events, the AWS SDK requests
/// and responses, all of them with keys, comments and metadata.
const OURS: [&str; 7] = [
    "aggregate",
    "analytics",
    "create",
    "delete",
    "read",
    "shared",
    "update",
];

/// Sets up the log of a function, when it starts.
pub fn init() {
    // There is one already if this is called twice, and then that one stays.
    let _ = tracing::dispatcher::set_global_default(log(std::io::stdout, |name| env::var(name).ok()));
    // Rust's own hook prints a panic's words, and those of a failed slice or a failed `expect` hold
    // the text at fault. Where it happened is enough to find it.
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
}

/// A log to `writer`, as the environment asks for it: lines of text, or of JSON where
/// `AWS_LAMBDA_LOG_FORMAT` says so, down to the level that `AWS_LAMBDA_LOG_LEVEL` or else `RUST_LOG`
/// says, or INFO. Whatever they say, dependencies print nothing below INFO.
pub fn log<W>(writer: W, variable: impl Fn(&str) -> Option<String>) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let is_json = variable("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json"));
    // tracing reads an empty level as ERROR; here it is none, as in the other variables.
    let given = |name| variable(name).filter(|text| !text.is_empty());
    let asked = match given("AWS_LAMBDA_LOG_LEVEL") {
        Some(level) => Targets::new().with_default(lambda_level(&level)),
        None => rust_log(&given("RUST_LOG").unwrap_or_else(|| "info".to_owned())),
    };
    let allowed = filter_fn(|line| *line.level() <= Level::INFO || is_ours(line.target()));
    let lines = fmt::layer().with_target(false).without_time().with_writer(writer);
    let lines = if is_json {
        lines.json().boxed()
    } else {
        lines.boxed()
    };
    Dispatch::new(Registry::default().with(lines.with_filter(asked.and(allowed))))
}

/// One of the levels Lambda can be configured with.
fn lambda_level(level: &str) -> LevelFilter {
    if level.eq_ignore_ascii_case("fatal") {
        return LevelFilter::ERROR;
    }
    level.parse().unwrap_or(LevelFilter::INFO)
}

/// A level, or targets with a level each: `debug`, `shared=trace,aws_config=error`.
fn rust_log(directives: &str) -> Targets {
    let asked: Targets = directives.parse().unwrap_or_default();
    match asked.default_level() {
        Some(_) => asked,
        None => asked.with_default(LevelFilter::INFO),
    }
}

fn is_ours(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or_default();
    OURS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_lambda_and_rust_spell_them() {
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
    fn a_crate_is_ours_by_its_whole_name() {
        assert!(is_ours("shared"));
        assert!(is_ours("shared::http::answer"));
        assert!(!is_ours("readable"));
        assert!(!is_ours("aws_smithy_runtime::client::orchestrator"));
        assert!(!is_ours(""));
    }
}
