//! The whole API on one machine: every function in one process, behind an HTTP server that routes
//! as API Gateway does, over an embedded DynamoDB.

pub mod args;
pub mod connections;
pub mod console;
pub mod data;
pub mod demo;
pub mod dynamodb;
pub mod erasure;
pub mod events;
pub mod export;
pub mod home;
pub mod import;
pub mod invite;
pub mod keys;
mod pace;
pub mod server;
pub mod stack;
pub mod stats;
pub mod stream;
pub mod votes;

use shared::config::ConfigError;
use shared::http::{ApiService, Function, Wiring};

/// The service of the function of this name, the same that its `main.rs` runs under Lambda.
///
/// # Errors
///
/// If the configuration lacks the name of a table.
pub fn function(name: Function, wiring: Wiring) -> Result<ApiService, ConfigError> {
    match name {
        Function::Create => create::service(wiring),
        Function::Update => update::service(wiring),
        Function::Delete => delete::service(wiring),
        Function::Read => read::service(wiring),
        Function::Analytics => analytics::service(wiring),
        Function::Vote => vote::service(wiring),
        // The console of the API, not the terminal of this crate's module.
        Function::Console => ::console::service(wiring),
        Function::Erase => erase::service(wiring),
    }
}
