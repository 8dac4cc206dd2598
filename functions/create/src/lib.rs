//! Stores feedback: `POST /v1/feedback` and `POST /api/svc/v1/gateway-feedback`.

use std::sync::Arc;

use shared::config::ConfigError;
use shared::dialect::portkey::{self, Create, MAX_BULK};
use shared::dialect::{Action, Dialect, truefoundry};
use shared::feedback::Draft;
use shared::fields::Accepted;
use shared::http::{self, ApiService, Call, Function, Reply, Wiring, no_document};
use shared::problem::Problem;
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
            let (drafts, single) = match value {
                Create::One(draft) => (vec![*draft], true),
                Create::Bulk(drafts) => (drafts, false),
            };
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
            let drafts = vec![value];
            let scale = scale(&drafts);
            let written = save(&store, &call, drafts).await?;
            let reply = Reply::written(truefoundry::render_written(&written.ids, &warnings), &written);
            Ok(reply.voted(scale, &written))
        }
    }
}

/// The scale of a request's drafts. One dialect made them, so all have the same.
fn scale(drafts: &[Draft]) -> &'static str {
    drafts.first().map_or("", |draft| draft.score.scale())
}

async fn save(store: &Store, call: &Call, drafts: Vec<Draft>) -> Result<Written, Problem> {
    match call.idempotency_key()? {
        None => store.create(call.workspace(), drafts, call.now).await,
        Some(_) if drafts.len() == MAX_BULK => Err(Problem::invalid(
            "body",
            format!(
                "expected at most {} feedback objects beside an Idempotency-Key, got {MAX_BULK}",
                MAX_BULK - 1
            ),
        )),
        Some(key) => store.create_once(call.workspace(), drafts, &key, call.now).await,
    }
}
