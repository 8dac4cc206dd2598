//! Deletes feedback: `DELETE /v1/feedback/{id}` and `DELETE /api/svc/v1/gateway-feedback/{id}`.

use std::sync::Arc;

use shared::config::ConfigError;
use shared::dialect::{Action, Dialect, portkey, truefoundry};
use shared::feedback::RecordRef;
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
        Function::Delete,
        wiring,
        store,
        no_document,
        handle,
    ))
}

/// Handles a DELETE of either dialect.
///
/// # Errors
///
/// The faults of the request, or the error of [`Store::delete`].
pub async fn handle(store: Arc<Store>, call: Call) -> Result<Reply, Problem> {
    match call.route.dialect {
        Dialect::Portkey => {
            let id = portkey::parse_id(call.id())?;
            let written = delete(&store, &call, &RecordRef { id, target: None }).await?;
            Ok(Reply::new(portkey::render_written(
                Action::Deleted,
                &written.ids,
                &[],
            )))
        }
        Dialect::TrueFoundry => {
            let named = truefoundry::parse_delete(call.id(), call.body()?)?;
            let written = delete(&store, &call, &named).await?;
            Ok(Reply::new(truefoundry::render_written(&written.ids, &[])))
        }
        Dialect::Vote | Dialect::Console => Err(Problem::internal("a route of another function")),
    }
}

async fn delete(store: &Store, call: &Call, named: &RecordRef) -> Result<Written, Problem> {
    // An invalid key is reported before an `If-Match` that cannot be met.
    let key = call.idempotency_key()?;
    let if_match = call.if_match()?;
    match key {
        None => store.delete(call.workspace(), named, if_match, call.now).await,
        Some(key) => {
            store
                .delete_once(call.workspace(), named, if_match, &key, call.now)
                .await
        }
    }
}
