//! Why a change did not reach Langfuse, and whether it may later.

use std::time::Duration;

use shared::problem::Problem;

/// Why a change did not reach Langfuse. The text is for the log: it holds no text of a caller's, and no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It never will, as things are: it is wrong, or the keys are.
    Refused {
        /// The reason.
        reason: String,
    },
    /// It may later.
    Later {
        /// The cause.
        cause: String,
        /// How long Langfuse asks to wait at least.
        retry_after: Option<Duration>,
    },
}

impl Failure {
    /// A failure for good.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused {
            reason: reason.into(),
        }
    }

    /// A failure that may pass.
    pub fn later(cause: impl Into<String>) -> Self {
        Self::Later {
            cause: cause.into(),
            retry_after: None,
        }
    }

    /// The failure that a status of Langfuse's means. What is refused with 4xx will be again, except where the
    /// status says that it was too much or too slow.
    pub fn of_status(status: u16, retry_after: Option<Duration>, what: &str) -> Self {
        match status {
            408 | 425 | 429 | 500.. => Self::Later {
                cause: format!("Langfuse answered {status} to {what}"),
                retry_after,
            },
            401 | 403 => Self::refused(format!(
                "Langfuse answered {status} to {what}: are the keys valid, and may the project take scores?"
            )),
            300..=399 => Self::refused(format!(
                "Langfuse answered {status} to {what}: is LangfuseUrl the address that it redirects to?"
            )),
            _ => Self::refused(format!("Langfuse answered {status} to {what}")),
        }
    }

    /// The failure of a read. Every problem of the storage may pass, if only after a deployment.
    pub fn of_problem(problem: &Problem) -> Self {
        Self::later(problem.log_message())
    }

    /// The text for the log.
    pub fn text(&self) -> &str {
        match self {
            Self::Refused { reason: text } | Self::Later { cause: text, .. } => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_whether_to_repeat() {
        for status in [408, 425, 429, 500, 502, 503, 504, 524] {
            let failure = Failure::of_status(status, Some(Duration::from_secs(7)), "a score");
            assert!(matches!(failure, Failure::Later { retry_after: Some(wait), .. } if wait.as_secs() == 7));
        }
        for status in [301, 307, 400, 401, 403, 404, 405, 413, 422] {
            let failure = Failure::of_status(status, None, "a score");
            assert!(matches!(&failure, Failure::Refused { .. }), "{status}");
            assert!(failure.text().contains(&status.to_string()));
        }
    }
}
