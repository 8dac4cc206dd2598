//! The function `analytics` over an in-memory database, with the read units of each request.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextMut,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::batch_get_item::{BatchGetItemInput, BatchGetItemOutput};
use aws_sdk_dynamodb::operation::get_item::{GetItemInput, GetItemOutput};
use aws_sdk_dynamodb::operation::query::{QueryInput, QueryOutput};
use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity};
use lambda_http::http::Method;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt as _;
use local::dynamodb::Engine;
use shared::access::Scope;
use shared::access::keyring::Keyring;
use shared::access::registry::Registry;
use shared::config::Config;
use shared::feedback::Writer;
use shared::http::{ApiService, Function, Wiring};
use shared::id::Workspace;
use shared::problem::Problem;
use shared::store::Store;
use shared::tables::API_KEYS;
use shared::timestamp::{Clock, Timestamp};

use crate::event::event_json;

/// The number of times that each query is sent.
const REQUESTS: usize = 21;

/// The function `analytics` and its database.
pub(crate) struct Metered {
    pub(crate) engine: Engine,
    /// A client whose calls are not metered.
    pub(crate) client: Client,
    pub(crate) store: Store,
    pub(crate) writer: Writer,
    key: String,
    analytics: ApiService,
    units: Units,
}

impl Metered {
    /// Creates an empty database.
    ///
    /// # Errors
    ///
    /// If the database cannot be created.
    pub(crate) async fn new() -> io::Result<Self> {
        let failed = |problem: Problem| io::Error::other(problem.log_message());
        let engine = Engine::memory().map_err(io::Error::other)?;
        let client = engine.patient_client();
        let config = Config::embedded().map_err(io::Error::other)?;
        let store = Store::new(client.clone(), &config).map_err(io::Error::other)?;
        let workspace = Workspace::parse("bench").ok_or_else(|| io::Error::other("no workspace"))?;
        let registry = Registry::new(client.clone(), config.table(&API_KEYS).map_err(io::Error::other)?);
        let (key, record) = Registry::mint(
            workspace.clone(),
            "bench".into(),
            vec![Scope::Read],
            None,
            Timestamp::now(),
        )
        .map_err(failed)?;
        registry.insert(&record).await.map_err(failed)?;
        let units = Units::default();
        let metered = client.config().to_builder().interceptor(units.clone()).build();
        let wiring = Wiring {
            client: Client::from_conf(metered),
            config: Arc::new(config),
            keyring: Keyring::new(registry),
            clock: Clock::system(),
        };
        Ok(Self {
            analytics: local::function(Function::Analytics, wiring).map_err(io::Error::other)?,
            engine,
            client,
            store,
            writer: Writer {
                workspace,
                key: record.id,
            },
            key: key.reveal(),
            units,
        })
    }

    /// Returns the median time and the read units of a query, over [`REQUESTS`] requests.
    ///
    /// # Errors
    ///
    /// If the response is not a 200.
    pub(crate) async fn ask(&self, path_and_query: &str) -> io::Result<(Duration, f64)> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let path = format!("/v1/analytics/{path}");
        let headers = [("x-portkey-api-key", self.key.as_str())];
        let event = event_json(&Method::GET, &path, query, &headers, "", false);
        let mut times = Vec::with_capacity(REQUESTS);
        let mut read = 0.0;
        for _ in 0..REQUESTS {
            let request: LambdaRequest = serde_json::from_value(event.clone())?;
            self.units.take();
            let began = Instant::now();
            let response = match self.analytics.clone().oneshot(request.into()).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            times.push(began.elapsed());
            read = self.units.take();
            if response.status() != 200 {
                let said = String::from_utf8_lossy(response.body()).into_owned();
                return Err(io::Error::other(format!("{path_and_query}: {said}")));
            }
        }
        times.sort_unstable();
        Ok((times[REQUESTS / 2], read))
    }
}

/// Adds up the read units of calls.
#[derive(Clone, Debug, Default)]
struct Units(Arc<Mutex<f64>>);

impl Units {
    fn take(&self) -> f64 {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Units {
    fn name(&self) -> &'static str {
        "Units"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let total = Some(ReturnConsumedCapacity::Total);
        if let Some(query) = context.input_mut().downcast_mut::<QueryInput>() {
            query.return_consumed_capacity = total;
        } else if let Some(get) = context.input_mut().downcast_mut::<GetItemInput>() {
            get.return_consumed_capacity = total;
        } else if let Some(get) = context.input_mut().downcast_mut::<BatchGetItemInput>() {
            get.return_consumed_capacity = total;
        }
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Ok(output) = context.output_or_error() else {
            return Ok(());
        };
        let consumed = output
            .downcast_ref::<QueryOutput>()
            .and_then(QueryOutput::consumed_capacity)
            .or_else(|| output.downcast_ref::<GetItemOutput>()?.consumed_capacity())
            .or_else(|| {
                output
                    .downcast_ref::<BatchGetItemOutput>()?
                    .consumed_capacity()
                    .first()
            });
        if let Some(units) = consumed.and_then(ConsumedCapacity::capacity_units) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) += units;
        }
        Ok(())
    }
}
