//! The whole API on one machine: every function in one process, behind an HTTP server that routes
//! as API Gateway does, over an embedded DynamoDB.

pub mod args;
pub mod connections;
pub mod console;
pub mod data;
pub mod dynamodb;
pub mod home;
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
use shared::timestamp::Clock;

/// The service of the function of this name, the same that its `main.rs` runs under Lambda.
pub fn function(name: Function, client: Client, config: Arc<Config>, keyring: Keyring) -> ApiService {
    function_by(Clock::system(), name, client, config, keyring)
}

/// The same service, by a clock of its own.
pub fn function_by(
    clock: Clock,
    name: Function,
    client: Client,
    config: Arc<Config>,
    keyring: Keyring,
) -> ApiService {
    let store = || Store::new(client.clone(), Arc::clone(&config));
    match name {
        Function::Create => service(name, store(), keyring, clock, None, create::handle),
        Function::Update => service(name, store(), keyring, clock, None, update::handle),
        Function::Delete => service(name, store(), keyring, clock, None, delete::handle),
        Function::Read => service(
            name,
            store(),
            keyring,
            clock,
            Some(read::SPECIFICATION),
            read::handle,
        ),
        Function::Analytics => {
            let reader = Reader::new(client, config);
            service(name, reader, keyring, clock, None, analytics::handle)
        }
    }
}
