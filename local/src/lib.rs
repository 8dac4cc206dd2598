//! The whole API on one machine: every function in one process, behind an HTTP server that routes
//! as API Gateway does, over an embedded DynamoDB.

pub mod args;
pub mod data;
pub mod dynamodb;
pub mod keys;
pub mod server;

use shared::access::keyring::Keyring;
use shared::http::{ApiService, Function, service};
use shared::store::Store;

/// The service of a function, the same that its `main.rs` runs under Lambda.
pub fn function(function: Function, store: Store, keyring: Keyring) -> ApiService {
    match function {
        Function::Create => service(store, keyring, create::handle),
        Function::Update => service(store, keyring, update::handle),
        Function::Delete => service(store, keyring, delete::handle),
        Function::Read => service(store, keyring, read::handle),
    }
}
