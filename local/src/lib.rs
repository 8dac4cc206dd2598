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

/// The service of the function of this name, the same that its `main.rs` runs under Lambda.
pub fn function(name: Function, store: Store, keyring: Keyring) -> ApiService {
    match name {
        Function::Create => service(name, store, keyring, create::handle),
        Function::Update => service(name, store, keyring, update::handle),
        Function::Delete => service(name, store, keyring, delete::handle),
        Function::Read => service(name, store, keyring, read::handle),
    }
}
