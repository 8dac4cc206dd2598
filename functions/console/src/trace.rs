//! All feedback of a trace, by span, and a span's feedback as JSON.

use askama::Template;
use lambda_http::http::StatusCode;
use shared::dialect::truefoundry;
use shared::feedback::Feedback;
use shared::http::Reply;
use shared::http::visit::Visit;
use shared::metadata::MAX_COMMENT;
use shared::problem::Problem;
use shared::query::{Filter, ListQuery, MAX_LIMIT};
use shared::target::{SpanId, TraceId};

use crate::App;
use crate::list::{ORDER, cursor, cursor_text, parameter};
use crate::page::{self, Shell, Tab};
use crate::record::{Names, OthersView, RecordView};
use crate::selection::query_string;
use crate::session::Session;

/// How many records are on a page.
const PAGE: usize = 25;

/// The largest JSON of a span that a page shows, in bytes. The whole is at `/console/span.json`.
const MAX_JSON: usize = 16 * 1024;

/// The form that finds a trace.
#[derive(Template)]
#[template(path = "find_trace.html")]
struct FindTracePage {
    shell: Shell,
}

/// A trace.
#[derive(Template)]
#[template(path = "trace.html")]
struct TracePage {
    shell: Shell,
    trace: String,
    /// The trace in the user's tracing tool.
    elsewhere: Option<String>,
    scores: OthersView,
    targets: Vec<TargetView>,
    older: Option<String>,
    newest: Option<String>,
}

/// The feedback of one span, or of the trace as a whole.
struct TargetView {
    span: Option<String>,
    records: Vec<RecordView>,
    /// The first records as JSON, as many as fit.
    json: String,
    /// How many records that is.
    shown: usize,
    /// Where all of them are.
    json_href: String,
}

/// Shows a page of a trace's feedback, newest first.
///
/// # Errors
///
/// The faults of the URL, or a failure of DynamoDB.
pub async fn show(app: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    if parameter(visit, "trace_id").is_none() {
        let shell = Shell::new(session, "Trace", Tab::Other, None);
        return Ok(page::html(StatusCode::OK, &FindTracePage { shell }));
    }
    let trace = trace(visit)?;
    let after = cursor(visit)?;
    let query = ListQuery {
        filter: Filter {
            trace: Some(trace.clone()),
            ..Filter::default()
        },
        order: ORDER,
        limit: PAGE,
        after,
    };
    let listed = app.store.list(session.workspace(), &query, visit.now).await?;
    let summary = app
        .store
        .summary(session.workspace(), &trace, None, visit.now)
        .await?;
    let names = Names::of(app, session, &listed.records, visit.now).await?;
    let mut targets: Vec<(Option<&SpanId>, Vec<&Feedback>)> = Vec::new();
    for record in &listed.records {
        let span = record.draft.target.span();
        match targets.iter_mut().find(|(of, _)| *of == span) {
            Some((_, records)) => records.push(record),
            None => targets.push((span, vec![record])),
        }
    }
    let view = |(span, records): (Option<&SpanId>, Vec<&Feedback>)| {
        let (json, shown) = json(&records);
        TargetView {
            span: span.map(|span| span.as_str().to_owned()),
            json,
            shown,
            json_href: span_href(&trace, span, None),
            records: records
                .into_iter()
                .map(|record| RecordView::new(record, session, &names, MAX_COMMENT))
                .collect(),
        }
    };
    let href = |cursor: Option<String>| {
        let mut parameters = vec![("trace_id".to_owned(), trace.as_str().to_owned())];
        parameters.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
        format!("/console/trace{}", query_string(&parameters))
    };
    let page = TracePage {
        shell: Shell::new(session, "Trace", Tab::Other, None),
        elsewhere: app.trace_url.as_ref().map(|url| url.of(trace.as_str())),
        scores: OthersView::new(&summary),
        targets: targets.into_iter().map(view).collect(),
        older: listed.next.map(|last| href(Some(cursor_text(last)))),
        newest: after.map(|_| href(None)),
        trace: trace.as_str().to_owned(),
    };
    Ok(page::html(StatusCode::OK, &page))
}

/// Answers with a page of the feedback of a span as JSON, or of the trace itself if no span is named.
///
/// # Errors
///
/// The faults of the URL, or a failure of DynamoDB.
pub async fn span(app: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    let trace = trace(visit)?;
    let span = match parameter(visit, "span_id") {
        None => None,
        Some(text) => Some(SpanId::parse(text).ok_or_else(|| {
            Problem::invalid("span_id", format!("expected 1 to 128 bytes, got {}", text.len()))
        })?),
    };
    let query = ListQuery {
        filter: Filter {
            trace: Some(trace.clone()),
            span: span.clone(),
            ..Filter::default()
        },
        order: ORDER,
        limit: MAX_LIMIT,
        after: cursor(visit)?,
    };
    let listed = app.store.list(session.workspace(), &query, visit.now).await?;
    let records: Vec<&Feedback> = listed
        .records
        .iter()
        .filter(|record| record.draft.target.span() == span.as_ref())
        .collect();
    let next = listed.next.map(cursor_text);
    let json = truefoundry::render_span_data(&records, next.as_deref());
    let reply = page::document("application/json", json);
    Ok(match next {
        Some(next) => {
            let link = format!("<{}>; rel=\"next\"", span_href(&trace, span.as_ref(), Some(next)));
            page::with_header(reply, lambda_http::http::header::LINK, &link)
        }
        None => reply,
    })
}

fn trace(visit: &Visit) -> Result<TraceId, Problem> {
    let text = parameter(visit, "trace_id").unwrap_or_default();
    TraceId::parse(text)
        .ok_or_else(|| Problem::invalid("trace_id", format!("expected 1 to 512 bytes, got {}", text.len())))
}

fn span_href(trace: &TraceId, span: Option<&SpanId>, cursor: Option<String>) -> String {
    let mut parameters = vec![("trace_id".to_owned(), trace.as_str().to_owned())];
    parameters.extend(span.map(|span| ("span_id".to_owned(), span.as_str().to_owned())));
    parameters.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
    format!("/console/span.json{}", query_string(&parameters))
}

/// The JSON of the first records, as many as fit but at least one, and how many that is.
fn json(records: &[&Feedback]) -> (String, usize) {
    let mut shown = 1;
    let mut json = truefoundry::render_span_data(&records[..records.len().min(1)], None);
    for count in 2..=records.len() {
        let more = truefoundry::render_span_data(&records[..count], None);
        if more.len() > MAX_JSON {
            break;
        }
        (json, shown) = (more, count);
    }
    (indented(&json), shown)
}

/// JSON with a line for each member. Its numbers and strings stay as they are, which a parser would not keep.
fn indented(json: &str) -> String {
    let (mut text, mut depth, mut in_string, mut is_escaped) = (String::new(), 0_usize, false, false);
    let mut characters = json.chars().filter(|c| *c != '\0').peekable();
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        // Deeper than a page is wide, nobody counts.
        text.push_str(&"  ".repeat(depth.min(20)));
    };
    while let Some(character) = characters.next() {
        if in_string {
            text.push(character);
            in_string = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
            continue;
        }
        match character {
            '"' => {
                in_string = true;
                text.push(character);
            }
            '{' | '[' => {
                text.push(character);
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                match characters.next_if(|c| matches!(c, '}' | ']')) {
                    Some(end) => text.push(end),
                    None => {
                        depth += 1;
                        line(&mut text, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push(character);
            }
            ',' => {
                text.push(character);
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            character if character.is_ascii_whitespace() => {}
            character => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indented_json_is_the_same_json() {
        let json = r#"{"a":[1e400,-0,{}, [ ]],"b\"{":"x\\","c":{ "d" : "[,]:" }}"#;
        assert_eq!(
            indented(json),
            "{\n  \"a\": [\n    1e400,\n    -0,\n    {},\n    []\n  ],\n  \"b\\\"{\": \"x\\\\\",\n  \"c\": {\n    \"d\": \"[,]:\"\n  }\n}"
        );
    }
}
