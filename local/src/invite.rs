//! Links that sign somebody in to the console, once.

use shared::access::registry::KeyRecord;
use shared::access::sessions::{Grant, Sessions, Token};
use shared::timestamp::Timestamp;

/// Makes an invite for a key, and returns its link below `base`, the URL of the service.
///
/// # Errors
///
/// One line to print.
pub async fn link(
    sessions: &Sessions,
    key: &KeyRecord,
    base: &str,
    now: Timestamp,
) -> Result<String, String> {
    let token = Token::mint().map_err(|problem| problem.log_message())?;
    let invite = Grant::invite(key.id.clone(), key.workspace.clone(), now);
    sessions
        .invite(&token, &invite)
        .await
        .map_err(|problem| problem.log_message())?;
    Ok(format!("{base}/console/invite/{}", token.reveal()))
}
