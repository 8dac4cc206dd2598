//! Changing and deleting a record, after it was looked at again.

use askama::Template;
use lambda_http::http::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::dialect::{portkey, truefoundry};
use shared::feedback::{Feedback, RecordRef};
use shared::http::Reply;
use shared::http::visit::Visit;
use shared::metadata::{Comment, MAX_COMMENT};
use shared::problem::{Fault, Problem};
use shared::score::Score;

use crate::App;
use crate::list::parameter;
use crate::page::{self, Shell, Tab};
use crate::record::{Names, RecordView, parse_id, trace_href};
use crate::session::{Form, Session};

/// The fields of the form, with their labels. A record on the other scale lacks some.
const FIELDS: [(&str, &str); 6] = [
    ("value", "Value, −10 to 10"),
    ("weight", "Weight, 0 to 1"),
    ("rating", "Rating, 1 to 5"),
    ("comment", "Comment"),
    ("reasons", "Reasons, one a line"),
    ("metadata", "Metadata, a JSON object"),
];

/// The form that changes a record.
#[derive(Template)]
#[template(path = "edit.html")]
struct EditPage {
    shell: Shell,
    record: RecordView,
    version: u64,
    fields: Vec<FieldView>,
    /// What is wrong with what was sent.
    faults: Vec<String>,
    /// That somebody changed the record in between.
    is_stale: bool,
}

/// A field of the form.
struct FieldView {
    name: &'static str,
    label: &'static str,
    text: String,
    /// What else to know about it.
    hint: Option<&'static str>,
}

/// Says why the comment is empty where people read one.
const COMMENT_IN_METADATA: &str = "The comment above is in the metadata. A comment here takes its place.";

/// What a change will do, before it does.
#[derive(Template)]
#[template(path = "review.html")]
struct ReviewPage {
    shell: Shell,
    record: RecordView,
    version: u64,
    changes: Vec<ChangeView>,
    fields: Vec<FieldView>,
}

/// One field before and after.
struct ChangeView {
    label: &'static str,
    before: String,
    after: String,
}

/// The question whether to delete a record.
#[derive(Template)]
#[template(path = "delete.html")]
struct DeletePage {
    shell: Shell,
    record: RecordView,
    version: u64,
    is_stale: bool,
}

/// Shows the form that changes a record.
///
/// # Errors
///
/// [`Problem::Forbidden`], [`Problem::NotFound`], or a failure of DynamoDB.
pub async fn edit_form(app: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    let record = record(app, visit, session, parameter(visit, "id")).await?;
    let fields = fields(&record);
    edit_page(app, visit, session, &record, fields, Vec::new(), false).await
}

/// Shows what a change will do, or does it once that was confirmed. A record that somebody changed in between is
/// shown as it is now, and not written.
///
/// # Errors
///
/// [`Problem::ForeignForm`], [`Problem::Forbidden`], [`Problem::NotFound`], or a failure of DynamoDB.
pub async fn edit(app: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    let form = session.form(visit)?;
    let record = record(app, visit, session, form.get("id")).await?;
    let version = version(&form)?;
    let before = fields(&record);
    if record.version != version {
        let reply = edit_page(app, visit, session, &record, before, Vec::new(), true).await?;
        return Ok(page::about(reply, Problem::VersionMismatch));
    }
    let after: Vec<FieldView> = before
        .iter()
        .map(|field| FieldView {
            text: form.get(field.name).unwrap_or(&field.text).to_owned(),
            ..*field
        })
        .collect();
    let changed: Vec<(&FieldView, &FieldView)> = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| as_sent(&before.text) != as_sent(&after.text))
        .collect();
    if changed.is_empty() {
        let faults = vec!["Nothing is changed yet.".to_owned()];
        return edit_page(app, visit, session, &record, after, faults, false).await;
    }
    // The same body, and so the same rules, as through the API. Portkey's has to name the value.
    let is_sent = |field: &&FieldView| {
        field.name == "value" || changed.iter().any(|(_, after)| after.name == field.name)
    };
    let body = body(after.iter().filter(is_sent));
    let id = record.id.hyphenated();
    let parsed = match record.draft.score {
        Score::Value(..) => portkey::parse_update(&id, &body).map(|parsed| (parsed.value.0, parsed.value.1)),
        Score::Rating(_) => truefoundry::parse_update(&id, &body).map(|parsed| {
            let (named, change) = parsed.value;
            (named.id, change)
        }),
    };
    let (id, change) = match parsed {
        Ok(parsed) => parsed,
        Err(Problem::Invalid(faults)) => {
            let says = faults.iter().map(|fault: &Fault| fault.message.clone()).collect();
            let reply = edit_page(app, visit, session, &record, after, says, false).await?;
            return Ok(page::about(reply, Problem::Invalid(faults)));
        }
        Err(problem) => return Err(problem),
    };
    if form.get("confirmed").is_none() {
        let page = ReviewPage {
            shell: Shell::new(session, "Save changes?", Tab::Other, None),
            record: view(app, visit, session, &record).await?,
            version,
            changes: changed
                .iter()
                .map(|(before, after)| ChangeView {
                    label: before.label,
                    before: before.text.clone(),
                    after: after.text.clone(),
                })
                .collect(),
            fields: after,
        };
        return Ok(page::html(StatusCode::OK, &page));
    }
    let named = RecordRef {
        id,
        target: Some(record.draft.target.clone()),
    };
    let written = app
        .store
        .update(&session.writer(), &named, &change, Some(version), visit.now)
        .await;
    match written {
        Ok(_) => Ok(page::redirect(&trace_href(record.draft.target.trace().as_str()))),
        Err(Problem::VersionMismatch) => {
            let record = self::record(app, visit, session, form.get("id")).await?;
            let fields = fields(&record);
            let reply = edit_page(app, visit, session, &record, fields, Vec::new(), true).await?;
            Ok(page::about(reply, Problem::VersionMismatch))
        }
        Err(problem) => Err(problem),
    }
}

/// Asks whether to delete a record.
///
/// # Errors
///
/// [`Problem::Forbidden`], [`Problem::NotFound`], or a failure of DynamoDB.
pub async fn delete_form(app: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    let record = record(app, visit, session, parameter(visit, "id")).await?;
    delete_page(app, visit, session, &record, false).await
}

/// Deletes a record, unless somebody changed it in between: then it asks again.
///
/// # Errors
///
/// [`Problem::ForeignForm`], [`Problem::Forbidden`], [`Problem::NotFound`], or a failure of DynamoDB.
pub async fn delete(app: &App, visit: &Visit, session: &Session) -> Result<Reply, Problem> {
    let form = session.form(visit)?;
    let record = record(app, visit, session, form.get("id")).await?;
    let named = RecordRef {
        id: record.id,
        target: Some(record.draft.target.clone()),
    };
    let version = version(&form)?;
    let deleted = app
        .store
        .delete(session.workspace(), &named, Some(version), visit.now)
        .await;
    match deleted {
        Ok(_) => Ok(page::redirect(&trace_href(record.draft.target.trace().as_str()))),
        Err(Problem::VersionMismatch) => {
            let record = self::record(app, visit, session, form.get("id")).await?;
            let reply = delete_page(app, visit, session, &record, true).await?;
            Ok(page::about(reply, Problem::VersionMismatch))
        }
        Err(problem) => Err(problem),
    }
}

/// The record that is to be changed, for a session that may.
async fn record(app: &App, visit: &Visit, session: &Session, id: Option<&str>) -> Result<Feedback, Problem> {
    if !session.may_write() {
        let needs = Scope::Admin.name();
        return Err(Problem::Forbidden { needs });
    }
    app.store.get(session.workspace(), parse_id(id)?, visit.now).await
}

fn version(form: &Form) -> Result<u64, Problem> {
    form.get("version")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Problem::invalid("version", "expected that of the record"))
}

async fn view(app: &App, visit: &Visit, session: &Session, record: &Feedback) -> Result<RecordView, Problem> {
    let names = Names::of(app, session, std::slice::from_ref(record), visit.now).await?;
    let view = RecordView::new(record, session, &names, MAX_COMMENT);
    Ok(RecordView { forms: None, ..view })
}

async fn edit_page(
    app: &App,
    visit: &Visit,
    session: &Session,
    record: &Feedback,
    fields: Vec<FieldView>,
    faults: Vec<String>,
    is_stale: bool,
) -> Result<Reply, Problem> {
    let status = match (is_stale, faults.is_empty()) {
        (true, _) => StatusCode::PRECONDITION_FAILED,
        (false, false) => StatusCode::BAD_REQUEST,
        (false, true) => StatusCode::OK,
    };
    let page = EditPage {
        shell: Shell::new(session, "Edit feedback", Tab::Other, None),
        record: view(app, visit, session, record).await?,
        version: record.version,
        fields,
        faults,
        is_stale,
    };
    Ok(page::html(status, &page))
}

async fn delete_page(
    app: &App,
    visit: &Visit,
    session: &Session,
    record: &Feedback,
    is_stale: bool,
) -> Result<Reply, Problem> {
    let status = match is_stale {
        true => StatusCode::PRECONDITION_FAILED,
        false => StatusCode::OK,
    };
    let page = DeletePage {
        shell: Shell::new(session, "Delete feedback?", Tab::Other, None),
        record: view(app, visit, session, record).await?,
        version: record.version,
        is_stale,
    };
    Ok(page::html(status, &page))
}

/// The fields of a record as the form has them.
fn fields(record: &Feedback) -> Vec<FieldView> {
    let draft = &record.draft;
    let (value, weight, rating) = match draft.score {
        Score::Value(value, weight) => (
            Some(value.get().to_string()),
            Some(weight.get().to_string()),
            None,
        ),
        Score::Rating(rating) => (None, None, Some(rating.get().to_string())),
    };
    let reasons: Vec<&str> = draft.reasons.iter().collect();
    let comment = draft.comment.as_ref().map(Comment::as_str).unwrap_or_default();
    let texts = [
        value,
        weight,
        rating,
        Some(comment.to_owned()),
        Some(reasons.join("\n")),
        Some(
            draft
                .metadata
                .as_ref()
                .map_or("", |metadata| metadata.json())
                .to_owned(),
        ),
    ];
    let is_in_metadata =
        draft.comment.as_ref().and_then(Comment::text).is_none() && draft.comment_text().is_some();
    let fields = FIELDS.into_iter().zip(texts);
    fields
        .filter_map(|((name, label), text)| {
            Some(FieldView {
                name,
                label,
                text: text?,
                hint: (is_in_metadata && name == "comment").then_some(COMMENT_IN_METADATA),
            })
        })
        .collect()
}

/// A text as a browser sends it back: with its own line breaks, and without NUL (HTML, "constructing the entry
/// list"; "parsing HTML documents").
fn as_sent(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\0', "\u{fffd}")
}

/// The body of a PUT with these fields. What is not of a field's form goes in as a string, so that the
/// dialect says what it expects.
fn body<'a>(fields: impl Iterator<Item = &'a FieldView>) -> String {
    let mut members: Vec<String> = Vec::new();
    for field in fields {
        let text = as_sent(&field.text);
        let text = text.as_str();
        let json = match field.name {
            "reasons" => {
                let reasons = text.lines().map(str::trim).filter(|reason| !reason.is_empty());
                Some(Value::from_iter(reasons).to_string())
            }
            "comment" | "metadata" if text.trim().is_empty() => Some(Value::Null.to_string()),
            "comment" => None,
            // The JSON itself, to the letter.
            _ => serde_json::from_str::<Box<RawValue>>(text)
                .ok()
                .map(|json| json.get().to_owned()),
        };
        members.push(format!(
            "{}:{}",
            json!(field.name),
            json.unwrap_or_else(|| json!(text).to_string())
        ));
    }
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_the_body_of_a_put() {
        let field = |name, text: &str| FieldView {
            name,
            label: "",
            text: text.to_owned(),
            hint: None,
        };
        let fields = [
            field("value", "5"),
            field("weight", "half"),
            field("comment", "a \"b\"\r\nc"),
            field("reasons", " wrong \r\n\r\ntoo long\r\n"),
            field("metadata", "{\"n\":1e400, \"n\":1.0}"),
        ];
        assert_eq!(
            body(fields.iter()),
            r#"{"value":5,"weight":"half","comment":"a \"b\"\nc","reasons":["wrong","too long"],"metadata":{"n":1e400, "n":1.0}}"#
        );
        let cleared = [field("comment", " "), field("reasons", ""), field("metadata", "")];
        assert_eq!(
            body(cleared.iter()),
            r#"{"comment":null,"reasons":[],"metadata":null}"#
        );
        let wrong = [field("metadata", "{"), field("rating", "\"5\"")];
        assert_eq!(body(wrong.iter()), r#"{"metadata":"{","rating":"5"}"#);
    }
}
