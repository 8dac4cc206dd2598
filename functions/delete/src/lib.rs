//! Deletes feedback: `DELETE /v1/feedback/{id}` and `DELETE /api/svc/v1/gateway-feedback/{id}`.

use std::sync::Arc;

use shared::dialect::{Action, Dialect, portkey, truefoundry};
use shared::feedback::Named;
use shared::http::{Call, Reply};
use shared::problem::Problem;
use shared::store::{Store, Written};

/// Answers a DELETE of either dialect.
pub async fn handle(store: Arc<Store>, call: Call) -> Result<Reply, Problem> {
    match call.route.dialect {
        Dialect::Portkey => {
            let id = portkey::parse_id(call.id())?;
            let written = delete(&store, &call, &Named { id, target: None }).await?;
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
    }
}

async fn delete(store: &Store, call: &Call, named: &Named) -> Result<Written, Problem> {
    // A condition that cannot hold comes after what is wrong with the request.
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
