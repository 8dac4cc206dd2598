//! The Lambda function `delete`. This file only connects its parts; see the library next to it.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::http::run(delete::TABLES, delete::service).await
}
