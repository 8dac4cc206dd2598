//! The Lambda function `delete`: wiring only, see the library beside it.

use shared::http::Function;
use shared::store::Store;
use shared::tables::{API_KEYS, FEEDBACK, IDEMPOTENCY};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::http::run(
        Function::Delete,
        &[&FEEDBACK, &IDEMPOTENCY, &API_KEYS],
        Store::new,
        None,
        delete::handle,
    )
    .await
}
