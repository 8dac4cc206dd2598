//! Stores feedback: `POST /v1/feedback` and `POST /api/svc/v1/gateway-feedback`.

use std::sync::Arc;

use shared::config::ConfigError;
use shared::dialect::portkey::{self, Create, MAX_BULK};
use shared::dialect::{Action, Dialect, truefoundry};
use shared::feedback::Draft;
use shared::fields::Accepted;
use shared::http::{self, ApiService, Call, Function, Reply, Wiring, no_document};
use shared::metadata;
use shared::person::Person;
use shared::problem::{Fault, Problem};
use shared::store::{Store, Written};
use shared::tables::{API_KEYS, FEEDBACK, IDEMPOTENCY, Table};

/// The tables that the function needs.
pub const TABLES: &[&Table] = &[&FEEDBACK, &IDEMPOTENCY, &API_KEYS];

/// Builds the function's service.
///
/// # Errors
///
/// If the configuration lacks the name of a table.
pub fn service(wiring: Wiring) -> Result<ApiService, ConfigError> {
    let store = Store::new(wiring.client.clone(), &wiring.config)?;
    Ok(http::service(
        Function::Create,
        wiring,
        store,
        no_document,
        handle,
    ))
}

/// Handles a POST of either dialect.
///
/// # Errors
///
/// The faults of the request, or the error of [`Store::create`].
pub async fn handle(store: Arc<Store>, call: Call) -> Result<Reply, Problem> {
    match call.route.dialect {
        Dialect::Portkey => {
            let Accepted { value, warnings } = portkey::parse_create(call.body()?)?;
            let (mut drafts, single) = match value {
                Create::One(draft) => (vec![*draft], true),
                Create::Bulk(drafts) => (drafts, false),
            };
            name_persons(&call, &mut drafts, single)?;
            let scale = scale(&drafts);
            let written = save(&store, &call, drafts).await?;
            let body = portkey::render_written(Action::Saved, &written.ids, &warnings);
            // A bulk request with one record has a bulk response, without a version.
            let reply = if single {
                Reply::written(body, &written)
            } else {
                Reply::new(body)
            };
            Ok(reply.voted(scale, &written))
        }
        Dialect::TrueFoundry => {
            let Accepted { value, warnings } = truefoundry::parse_create(call.body()?)?;
            let mut drafts = vec![value];
            name_persons(&call, &mut drafts, true)?;
            let scale = scale(&drafts);
            let written = save(&store, &call, drafts).await?;
            let reply = Reply::written(truefoundry::render_written(&written.ids, &warnings), &written);
            Ok(reply.voted(scale, &written))
        }
        Dialect::Vote => Err(Problem::internal("a route of another function")),
    }
}

/// Sets the person of each draft if the header or the key asks for upserts.
fn name_persons(call: &Call, drafts: &mut [Draft], single: bool) -> Result<(), Problem> {
    let is_asked = call.is_upsert()?;
    let upserts = call.caller.upserts.as_ref();
    if !is_asked && upserts.is_none() {
        return Ok(());
    }
    let field = upserts.and_then(|upserts| upserts.user_field.as_deref());
    let mut faults = Vec::new();
    for (index, draft) in drafts.iter_mut().enumerate() {
        let metadata = draft.metadata.as_ref();
        let user = metadata.and_then(|metadata| metadata.user(field));
        if user.is_none() && is_asked {
            let path = if single {
                "metadata._user".to_owned()
            } else {
                format!("feedback[{index}].metadata._user")
            };
            faults.push(Fault::new(path, "missing, expected beside x-hindsight-upsert"));
        }
        draft.person = user.map(|user| Person {
            user,
            name: metadata::name(metadata),
        });
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::Invalid(faults))
    }
}

/// The scale of a request's drafts. One dialect made them, so all have the same.
fn scale(drafts: &[Draft]) -> &'static str {
    drafts.first().map_or("", |draft| draft.score.scale())
}

async fn save(store: &Store, call: &Call, drafts: Vec<Draft>) -> Result<Written, Problem> {
    match call.idempotency_key()? {
        None => store.create(&call.writer(), drafts, call.now).await,
        Some(_) if drafts.len() == MAX_BULK => Err(Problem::invalid(
            "body",
            format!(
                "expected at most {} feedback objects beside an Idempotency-Key, got {MAX_BULK}",
                MAX_BULK - 1
            ),
        )),
        Some(key) => store.create_once(&call.writer(), drafts, &key, call.now).await,
    }
}
