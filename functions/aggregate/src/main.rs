//! The Lambda function `aggregate`. This file only connects its parts; see the library next to it.

use aggregate::Aggregate;
use lambda_http::lambda_runtime::{self, service_fn};
use shared::config::Config;
use shared::stats::count::Counter;
use shared::tables::STATS;
use shared::{dynamo, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    log::init();
    let config = Config::from_env(&[&STATS])?;
    let counter = Counter::new(dynamo::client().await?, config.table(&STATS)?);
    let aggregate = &Aggregate::new(counter);
    lambda_runtime::run(service_fn(move |event| aggregate.answer(event))).await
}
