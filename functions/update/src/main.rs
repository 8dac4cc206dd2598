//! The Lambda function `update`. This file only connects its parts; see the library next to it.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::http::run(update::TABLES, update::service).await
}
