//! Reads feedback: one record by its id, or a list, in either dialect's spelling. And hands out the
//! specification of the API.

use std::sync::Arc;

use shared::dialect::{Dialect, portkey, truefoundry};
use shared::http::{Call, Reply};
use shared::problem::Problem;
use shared::query;
use shared::store::Store;

/// openapi.yaml as JSON: what `GET /openapi.json` answers with. It is in this function alone, so that
/// the others do not grow by it. It goes out with `no-store` as every answer does: it changes with a
/// deployment, and is asked for seldom.
pub const SPECIFICATION: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// Answers a GET of either dialect: of one record where the path has an id, else of a list.
pub async fn handle(store: Arc<Store>, call: Call) -> Result<Reply, Problem> {
    match (call.route.dialect, call.route.parameter().is_some()) {
        (Dialect::Portkey, false) => portkey_list(&store, &call).await,
        (Dialect::TrueFoundry, false) => truefoundry_list(&store, &call).await,
        (Dialect::Portkey, true) => {
            let feedback = store
                .get(call.workspace(), portkey::parse_id(call.id())?, call.now)
                .await?;
            Ok(Reply::about(portkey::render_one(&feedback), feedback.version))
        }
        (Dialect::TrueFoundry, true) => {
            let feedback = store
                .get(call.workspace(), truefoundry::parse_id(call.id())?, call.now)
                .await?;
            Ok(Reply::about(truefoundry::render_one(&feedback), feedback.version))
        }
    }
}

async fn portkey_list(store: &Store, call: &Call) -> Result<Reply, Problem> {
    let query = query::parse_portkey(call.query())?;
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
    let query = query::parse_truefoundry(call.query())?;
    let page = store.list(call.workspace(), &query, call.now).await?;
    let next = page.next.map(|last| query::encode_cursor(last, query.order));
    Ok(Reply::new(truefoundry::render_list(
        &page.records,
        next.as_deref(),
    )))
}
