//! The Lambda function `vote`: wiring only, see the library beside it.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::http::run(vote::TABLES, vote::service).await
}
