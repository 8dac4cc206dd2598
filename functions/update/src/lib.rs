//! Updates feedback: `PUT /v1/feedback/{id}` and `PUT /api/svc/v1/gateway-feedback/{id}`.

use std::sync::Arc;

use shared::config::ConfigError;
use shared::dialect::{Action, Dialect, portkey, truefoundry};
use shared::feedback::{Change, RecordRef};
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
        Function::Update,
        wiring,
        store,
        no_document,
        handle,
    ))
}

/// Handles a PUT of either dialect.
///
/// # Errors
///
/// The faults of the request, or the error of [`Store::update`].
pub async fn handle(store: Arc<Store>, call: Call) -> Result<Reply, Problem> {
    match call.route.dialect {
        Dialect::Portkey => {
            let Accepted { value, warnings } = portkey::parse_update(call.id(), call.body()?)?;
            let (id, change) = value;
            let written = change_record(&store, &call, &RecordRef { id, target: None }, &change).await?;
            Ok(Reply::written(
                portkey::render_written(Action::Updated, &written.ids, &warnings),
                &written,
            ))
        }
        Dialect::TrueFoundry => {
            let Accepted { value, warnings } = truefoundry::parse_update(call.id(), call.body()?)?;
            let (named, change) = value;
            let written = change_record(&store, &call, &named, &change).await?;
            Ok(Reply::written(
                truefoundry::render_written(&written.ids, &warnings),
                &written,
            ))
        }
        Dialect::Vote => Err(Problem::internal("a route of another function")),
    }
}

async fn change_record(
    store: &Store,
    call: &Call,
    named: &RecordRef,
    change: &Change,
) -> Result<Written, Problem> {
    // An invalid key is reported before an `If-Match` that cannot be met.
    let key = call.idempotency_key()?;
    let if_match = call.if_match()?;
    match key {
        None => {
            store
                .update(&call.writer(), named, change, if_match, call.now)
                .await
        }
        Some(key) => {
            store
                .update_once(&call.writer(), named, change, if_match, &key, call.now)
                .await
        }
    }
}
