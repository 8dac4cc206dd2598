//! The whole API on one machine: every function in one process, behind an HTTP server that routes
//! as API Gateway does, over an embedded DynamoDB.

pub mod args;
pub mod connections;
pub mod console;
pub mod data;
pub mod dynamodb;
pub mod keys;
pub mod server;
pub mod stack;
pub mod stats;
pub mod stream;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use shared::access::keyring::Keyring;
use shared::config::Config;
use shared::http::{ApiService, Function, service};
use shared::stats::read::Reader;
use shared::store::Store;

/// The service of the function of this name, the same that its `main.rs` runs under Lambda.
pub fn function(name: Function, client: Client, config: Arc<Config>, keyring: Keyring) -> ApiService {
    match name {
        Function::Create => service(name, Store::new(client, config), keyring, None, create::handle),
        Function::Update => service(name, Store::new(client, config), keyring, None, update::handle),
        Function::Delete => service(name, Store::new(client, config), keyring, None, delete::handle),
        Function::Read => service(
            name,
            Store::new(client, config),
            keyring,
            Some(read::SPECIFICATION),
            read::handle,
        ),
        Function::Analytics => service(
            name,
            Reader::new(client, config),
            keyring,
            None,
            analytics::handle,
        ),
    }
}
