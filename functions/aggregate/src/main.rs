//! The Lambda function `aggregate`: wiring only, see the library beside it.

use std::sync::Arc;

use aggregate::{Event, handle};
use lambda_http::lambda_runtime::{self, LambdaEvent, service_fn};
use lambda_http::tracing;
use shared::config::Config;
use shared::stats::count::Counter;
use shared::tables::STATS;
use shared::{dynamo, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    log::init();
    let config = Arc::new(Config::from_env(&[&STATS])?);
    let counter = &Counter::new(dynamo::client().await?, config);
    let counting = service_fn(move |event: LambdaEvent<Event>| async move {
        handle(counter, event.payload).await.map_err(|problem| {
            let cause = problem.log_message();
            tracing::error!(cause, "a batch was not counted");
            lambda_http::Error::from(cause)
        })
    });
    lambda_runtime::run(counting).await
}
