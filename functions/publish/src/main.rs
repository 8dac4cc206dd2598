//! The Lambda function `publish`. This file only connects its parts; see the library next to it.

use lambda_http::lambda_runtime::{self, service_fn};
use publish::event_bridge::EventBridge;
use publish::publisher::Publisher;
use publish::{Publish, TABLES};
use shared::config::Config;
use shared::tables::STATS;
use shared::{dynamo, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    log::init();
    let config = Config::from_env(TABLES)?;
    let bus = EventBridge::from_env(config.event_bus()?).await?;
    let publisher = Publisher::new(bus, dynamo::client().await?, config.table(&STATS)?);
    let publish = &Publish::new(publisher);
    lambda_runtime::run(service_fn(move |event| publish.answer(event))).await
}
