//! The benchmark: what a function costs to start, to answer and to keep, beside the ways one would
//! do without it; and how the answers of analytics grow with the number of records.
//!
//! The tests run the functions' processes by [`lambda`] too, and [`processes`] is all of them at once:
//! the whole API as Lambda would run it.

pub mod authority;
pub mod beside;
pub mod database;
pub mod event;
pub mod heavy;
pub mod lambda;
pub mod measure;
mod metered;
pub mod processes;
pub mod program;
pub mod report;
pub mod scale;
pub mod scenario;
pub mod share;
