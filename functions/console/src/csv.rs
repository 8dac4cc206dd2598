//! The list of feedback as CSV (RFC 4180), in parts that fit into an answer of Lambda.

use askama::Template;
use lambda_http::http::{StatusCode, header};
use shared::feedback::Feedback;
use shared::http::Reply;
use shared::http::visit::Visit;
use shared::id::FeedbackId;
use shared::indexed::Field;
use shared::metadata::{self, UNKNOWN_MODEL};
use shared::problem::Problem;
use shared::query::MAX_LIMIT;
use shared::score::Score;

use crate::App;
use crate::list::{self, cursor, cursor_text, parameter};
use crate::page::{self, Shell, Tab};
use crate::record::Names;
use crate::selection::Selection;
use crate::session::Session;

/// Where the file is.
const PATH: &str = "/console/feedback.csv";

/// The largest part, in bytes as Lambda counts them. Lambda's answers end at 6 MB, and a part is text within
/// JSON there.
const MAX_PART: usize = 5 * 1024 * 1024;

/// How many records are read for a part at most. A page that the filter leaves fewer of may have examined this many.
const MAX_READ: usize = 5_000;

/// The columns.
const COLUMNS: [&str; 21] = [
    "id",
    "created_at",
    "updated_at",
    "trace_id",
    "span_id",
    "scale",
    "value",
    "weight",
    "rating",
    "comment",
    "reasons",
    "name",
    "prompt",
    "model",
    "environment",
    "organisation",
    "user",
    "session",
    "written_by",
    "written_by_name",
    "metadata",
];

/// The parts of a list that does not fit into one.
#[derive(Template)]
#[template(path = "parts.html")]
struct PartsPage {
    shell: Shell,
    parts: Vec<PartLink>,
    /// The page that lists the parts after these.
    more: Option<String>,
    /// The list itself.
    back: String,
}

/// A part.
struct PartLink {
    number: usize,
    href: String,
}

/// Answers with a part, if one is asked for or it is all; otherwise with a page that lists the parts.
///
/// # Errors
///
/// The faults of the URL, or a failure of DynamoDB.
pub async fn show(app: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    let selection = Selection::of_list(visit.query(), &["cursor", "part", "parts"], visit.now)?;
    let number = |name: &str| match parameter(visit, name).map(str::parse::<usize>) {
        None => Ok(None),
        Some(Ok(number)) if (1..=100_000).contains(&number) => Ok(Some(number)),
        Some(_) => Err(Problem::invalid(name, "expected the number of a part, from 1")),
    };
    let (asked, listed, after) = (number("part")?, number("parts")?, cursor(visit)?);
    let (text, next) = part(app, visit, session, &selection, after).await?;
    let first = asked.or(listed).unwrap_or(1);
    let href = |parameter: &str, number: usize, after: Option<FeedbackId>| {
        let place = after.map(|last| format!("&cursor={}", cursor_text(last)));
        let query = selection.with(parameter, Some(&number.to_string()));
        format!("{PATH}{query}{}", place.unwrap_or_default())
    };
    if asked.is_some() || (listed.is_none() && next.is_none()) {
        let reply = page::document("text/csv; charset=utf-8; header=present", text);
        let name = match (first, next) {
            (1, None) => "feedback.csv".to_owned(),
            (number, _) => format!("feedback-part-{number}.csv"),
        };
        let disposition = format!("attachment; filename=\"{name}\"");
        let reply = page::with_header(reply, header::CONTENT_DISPOSITION, &disposition);
        return Ok(match next {
            Some(_) => {
                let link = format!("<{}>; rel=\"next\"", href("part", first + 1, next));
                page::with_header(reply, header::LINK, &link)
            }
            None => reply,
        });
    }
    let known = std::iter::once((first, after)).chain(next.map(|last| (first + 1, Some(last))));
    let page = PartsPage {
        shell: Shell::new(session, "Download", Tab::Feedback, Some(&selection)),
        parts: known
            .map(|(number, after)| PartLink {
                number,
                href: href("part", number, after),
            })
            .collect(),
        more: next.map(|last| href("parts", first + 1, Some(last))),
        back: format!("/console/feedback{}", selection.query()),
    };
    Ok(page::html(StatusCode::OK, &page))
}

/// The part after a cursor, and the cursor of the next one.
async fn part(
    app: &App,
    visit: &Visit,
    session: &Session,
    selection: &Selection,
    after: Option<FeedbackId>,
) -> Result<(String, Option<FeedbackId>), Problem> {
    let mut text = COLUMNS.join(",");
    text.push_str("\r\n");
    let (mut size, mut read, mut rows, mut next) = (escaped(&text), 0, 0, after);
    loop {
        let listed = list::page(app, visit, session, selection, next, MAX_LIMIT).await?;
        let names = Names::of(app, session, &listed.records, visit.now).await?;
        for record in &listed.records {
            let row = row(record, &names);
            size += escaped(&row);
            if size > MAX_PART && rows > 0 {
                return Ok((text, next));
            }
            text.push_str(&row);
            rows += 1;
            next = Some(record.id);
        }
        // A page that is not full has examined more than it shows.
        read += match listed.records.len() {
            MAX_LIMIT => MAX_LIMIT,
            _ => MAX_READ / 5,
        };
        next = listed.next;
        if next.is_none() || read >= MAX_READ {
            return Ok((text, next));
        }
    }
}

/// A record as a line.
fn row(record: &Feedback, names: &Names) -> String {
    let draft = &record.draft;
    let indexed = draft.indexed();
    let (value, weight, rating) = match draft.score {
        Score::Value(value, weight) => (Some(value.get()), Some(weight.get()), None),
        Score::Rating(rating) => (None, None, Some(rating.get())),
    };
    let (model, name) = (metadata::model(draft.metadata.as_ref()), draft.name());
    let text = |field: Field| indexed.get(field).unwrap_or_default().to_owned();
    let reasons: Vec<&str> = draft.reasons.iter().collect();
    // Scores are the only cells that may begin with a minus: they are numbers that Hindsight wrote.
    let mut line = String::new();
    for (place, cell) in [
        guarded(&record.id.hyphenated()),
        guarded(&record.id.created_at().to_string()),
        guarded(&record.updated_at.to_string()),
        guarded(draft.target.trace().as_str()),
        guarded(draft.target.span().map_or("", |span| span.as_str())),
        guarded(draft.score.scale()),
        value.map(|value| value.to_string()).unwrap_or_default(),
        weight.map(|weight| weight.to_string()).unwrap_or_default(),
        rating.map(|rating| rating.to_string()).unwrap_or_default(),
        guarded(&draft.comment_text().unwrap_or_default()),
        guarded(&reasons.join("; ")),
        guarded(&name),
        guarded(&text(Field::Prompt)),
        guarded(if model == UNKNOWN_MODEL { "" } else { &model }),
        guarded(&text(Field::Environment)),
        guarded(&text(Field::Organisation)),
        guarded(&text(Field::User)),
        guarded(&text(Field::Session)),
        guarded(
            &record
                .written_by
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        ),
        guarded(
            record
                .written_by
                .as_ref()
                .and_then(|key| names.get(key))
                .unwrap_or_default(),
        ),
        guarded(draft.metadata.as_ref().map_or("", |metadata| metadata.json())),
    ]
    .into_iter()
    .enumerate()
    {
        if place > 0 {
            line.push(',');
        }
        line.push_str(&quoted(&cell));
    }
    line.push_str("\r\n");
    line
}

/// A cell that no spreadsheet takes for a formula (owasp.org, "CSV Injection").
fn guarded(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

/// A cell in quotes, if it needs them (RFC 4180, section 2).
fn quoted(cell: &str) -> String {
    match cell.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

/// The size of a text within JSON, as Lambda counts an answer.
fn escaped(text: &str) -> usize {
    let size = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_every_cell_is_quoted_where_it_must_be() {
        for (text, cell) in [
            ("plain", "plain"),
            ("", ""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""),
        ] {
            assert_eq!(quoted(&guarded(text)), cell);
        }
    }

    #[test]
    fn a_text_is_as_large_as_its_json() {
        for text in ["a", "\"\\", "\n\r\t", "\u{1}\u{8}", "é😀"] {
            let json = serde_json::to_string(text).unwrap();
            assert!(escaped(text) + 2 >= json.len(), "{text:?}");
        }
    }
}
