//! Erases a user, step by step: `POST /v1/erasures`.

use std::sync::Arc;

use shared::config::ConfigError;
use shared::dialect::erasure;
use shared::erasure::Eraser;
use shared::http::{self, ApiService, Call, Function, Reply, Wiring, no_document};
use shared::problem::Problem;
use shared::tables::{API_KEYS, FEEDBACK, STATS, Table};

/// The tables that the function needs.
pub const TABLES: &[&Table] = &[&FEEDBACK, &API_KEYS, &STATS];

/// Builds the function's service.
///
/// # Errors
///
/// If the configuration lacks the name of a table.
pub fn service(wiring: Wiring) -> Result<ApiService, ConfigError> {
    let eraser = Eraser::new(wiring.client.clone(), &wiring.config)?;
    Ok(http::service(
        Function::Erase,
        wiring,
        eraser,
        no_document,
        handle,
    ))
}

/// Handles a POST: one step of an erasure.
///
/// # Errors
///
/// The faults of the request, or the error of [`Eraser::advance`].
pub async fn handle(eraser: Arc<Eraser>, call: Call) -> Result<Reply, Problem> {
    let workspace = call.workspace();
    let (user, progress) = erasure::parse(call.body()?, workspace, call.now)?;
    let progress = eraser.advance(workspace, &user, progress, call.now).await?;
    Ok(Reply::new(erasure::render(workspace, &user, &progress, call.now)))
}
