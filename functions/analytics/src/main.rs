//! The Lambda function `analytics`: wiring only, see the library beside it.

use shared::http::Function;
use shared::stats::read::Reader;
use shared::tables::{API_KEYS, FEEDBACK, STATS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let tables = [&FEEDBACK, &API_KEYS, &STATS];
    shared::http::run(Function::Analytics, &tables, Reader::new, None, analytics::handle).await
}
