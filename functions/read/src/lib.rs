//! Reads feedback: one record by its id, or a list, in either dialect. It also serves the API's
//! specification and the health check.

use std::sync::Arc;

use shared::config::ConfigError;
use shared::dialect::{Dialect, portkey, truefoundry};
use shared::http::{self, ApiService, Call, Document, Function, Operation, Read, Reply, Wiring};
use shared::problem::Problem;
use shared::query;
use shared::store::Store;
use shared::tables::{API_KEYS, FEEDBACK, Table};

/// openapi.yaml as JSON, the response of `GET /openapi.json`. Only this function contains it, so the others
/// stay small. Like every response it has `no-store`: it changes with each deployment and is rarely
/// requested.
pub const SPECIFICATION: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// The response of `GET /health`, which shows that the function runs. It reads no table.
pub const HEALTH: &str = r#"{"status":"ok"}"#;

/// The tables that the function needs.
pub const TABLES: &[&Table] = &[&FEEDBACK, &API_KEYS];

/// Builds the function's service.
///
/// # Errors
///
/// If the configuration lacks the name of a table.
pub fn service(wiring: Wiring) -> Result<ApiService, ConfigError> {
    let store = Store::new(wiring.client.clone(), &wiring.config)?;
    Ok(http::service(Function::Read, wiring, store, document, handle))
}

/// What operations without a key are answered with.
fn document(operation: Operation, _: &str) -> Option<Document> {
    match operation {
        Operation::Read(Read::Specification) => Some(Document::json(SPECIFICATION)),
        Operation::Read(Read::Health) => Some(Document::json(HEALTH)),
        _ => None,
    }
}

/// Handles a GET of either dialect, for one record or a list.
///
/// # Errors
///
/// The faults of the request, [`Problem::NotFound`], or a failure of DynamoDB.
pub async fn handle(store: Arc<Store>, call: Call) -> Result<Reply, Problem> {
    let Operation::Read(read) = call.route.operation else {
        return Err(Problem::internal("the route belongs to another function"));
    };
    match (read, call.route.dialect) {
        (Read::List, Dialect::Portkey) => portkey_list(&store, &call).await,
        (Read::List, Dialect::TrueFoundry) => truefoundry_list(&store, &call).await,
        (Read::One, Dialect::Portkey) => {
            let id = portkey::parse_id(call.id())?;
            let feedback = store.get(call.workspace(), id, call.now).await?;
            Ok(Reply::about(portkey::render_one(&feedback), feedback.version))
        }
        (Read::One, Dialect::TrueFoundry) => {
            let id = truefoundry::parse_id(call.id())?;
            let feedback = store.get(call.workspace(), id, call.now).await?;
            Ok(Reply::about(truefoundry::render_one(&feedback), feedback.version))
        }
        (Read::One | Read::List, Dialect::Vote | Dialect::Console) => {
            Err(Problem::internal("a route of another function"))
        }
        (Read::Specification | Read::Health, _) => {
            Err(Problem::internal("a route without a key has no handler"))
        }
    }
}

async fn portkey_list(store: &Store, call: &Call) -> Result<Reply, Problem> {
    let query = portkey::parse_list(call.query())?;
    let page = store.list(call.workspace(), &query, call.now).await?;
    let summary = match &query.filter.trace {
        Some(trace) => {
            let span = query.filter.span.as_ref();
            Some(store.summary(call.workspace(), trace, span, call.now).await?)
        }
        None => None,
    };
    let next = page.next.map(|last| query::encode_cursor(last, query.order));
    Ok(Reply::new(portkey::render_list(
        &page.records,
        next.as_deref(),
        summary.as_ref(),
    )))
}

async fn truefoundry_list(store: &Store, call: &Call) -> Result<Reply, Problem> {
    let query = truefoundry::parse_list(call.query())?;
    let page = store.list(call.workspace(), &query, call.now).await?;
    let next = page.next.map(|last| query::encode_cursor(last, query.order));
    Ok(Reply::new(truefoundry::render_list(
        &page.records,
        next.as_deref(),
    )))
}
