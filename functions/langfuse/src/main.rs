//! The Lambda function `langfuse`. This file only connects its parts; see the library next to it.

use lambda_http::lambda_runtime::{self, service_fn};
use langfuse::Forward;
use langfuse::client::Client;
use langfuse::queue::{self, Queue};
use langfuse::settings::Settings;
use shared::config::Config;
use shared::dynamo::Transport;
use shared::store::Store;
use shared::timestamp::Clock;
use shared::{dynamo, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    log::init();
    let config = Config::from_env(langfuse::TABLES)?;
    let settings = Settings::from_env()?;
    let http = Transport::new()?;
    let store = Store::new(dynamo::client().await?, &config)?;
    let queue = Queue::new(queue::client(http.clone()).await, settings.queues);
    let forward = &Forward::new(
        store,
        Client::new(http, &settings.project),
        queue,
        Clock::system(),
    );
    lambda_runtime::run(service_fn(move |event| forward.answer(event))).await
}
