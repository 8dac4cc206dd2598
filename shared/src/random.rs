//! The system's random source.

use crate::problem::Problem;

/// Fills `bytes` with random bytes.
///
/// # Errors
///
/// [`Problem::Internal`] if the system has no random source.
pub fn fill(bytes: &mut [u8]) -> Result<(), Problem> {
    getrandom::fill(bytes).map_err(|error| Problem::internal(format!("no random bytes: {error}")))
}
