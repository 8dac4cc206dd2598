//! The Lambda function `erase`. This file only connects its parts; see the library next to it.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::http::run(erase::TABLES, erase::service).await
}
