//! Portkey's feedback analytics: `/v1/analytics/…` (contract, section 8).

mod answer;
mod question;

pub use answer::{render_feedbacks, render_groups, render_models, render_scores, render_weighted};
pub use question::{Question, member};
