//! The Lambda function `read`: wiring only, see the library beside it.

use shared::http::Function;
use shared::store::Store;
use shared::tables::{API_KEYS, FEEDBACK};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::http::run(
        Function::Read,
        &[&FEEDBACK, &API_KEYS],
        Store::new,
        Some(read::SPECIFICATION),
        read::handle,
    )
    .await
}
