//! The Lambda function `console`: wiring only, see the library beside it.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::http::run(console::TABLES, console::service).await
}
