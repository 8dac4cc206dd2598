//! The benchmark: what a function costs to start, to respond and to keep in memory, compared with other
//! ways to write it; and how analytics grow with the number of records.
//!
//! Tests use [`lambda`] too, to run the functions' processes. [`processes`] is the whole API as Lambda runs
//! it.

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
