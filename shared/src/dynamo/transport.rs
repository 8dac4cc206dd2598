//! How requests reach DynamoDB: HTTP/1.1, over TLS unless the endpoint is `http`.
//!
//! The SDK's own client brings HTTP/2, which DynamoDB does not speak, proxies and a second pool:
//! a sixth of a function's binary, none of it used.

use std::env;
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::retries::ErrorKind;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::CONNECT_TIMEOUT;

/// Where Lambda's image, Amazon Linux 2023, has the roots it trusts in one file.
const LAMBDA_ROOTS: &str = "/etc/pki/tls/certs/ca-bundle.crt";

/// A pool of connections, of which clones are one and the same.
#[derive(Clone, Debug)]
pub struct Transport {
    pool: Client<HttpsConnector<TcpConnector>, SdkBody>,
}

impl Transport {
    /// A pool that trusts the roots of this machine, or those that `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name. Where there are none, calls to an `https` endpoint fail.
    ///
    /// # Errors
    ///
    /// If the TLS library refuses its own defaults.
    pub fn new() -> Result<Self, rustls::Error> {
        // Ring, since the SDK's default provider gathers entropy for 22 ms at the first handshake.
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots())
            .with_no_client_auth();
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self {
            pool: Client::builder(TokioExecutor::new()).build(connector),
        })
    }
}

/// The certificates to trust. One file is read where it is known to be: scanning the system's
/// folders, as is done elsewhere, parses each certificate twice and takes a millisecond or two.
fn roots() -> RootCertStore {
    let bundle = Path::new(LAMBDA_ROOTS);
    let is_told = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| env::var_os(name).is_some());
    let found = if !is_told && bundle.exists() {
        rustls_native_certs::load_certs_from_paths(Some(bundle), None)
    } else {
        rustls_native_certs::load_native_certs()
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let cause = found.errors.first().map(ToString::to_string).unwrap_or_default();
        tracing::error!(cause, "no root certificates, so no endpoint can be trusted");
    }
    roots
}

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let answer = self.pool.request(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(failure)?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// What a failed request is to the SDK, which tries timeouts, broken connections and cut-off
/// answers again.
fn failure(error: ClientError) -> ConnectorError {
    let hyper = cause::<hyper::Error>(&error);
    if hyper.is_some_and(hyper::Error::is_timeout) {
        ConnectorError::timeout(error.into())
    } else if hyper.is_some_and(hyper::Error::is_user) {
        ConnectorError::user(error.into())
    } else if error.is_connect()
        || hyper.is_some_and(|hyper| hyper.is_closed() || hyper.is_canceled())
        || cause::<io::Error>(&error).is_some()
    {
        ConnectorError::io(error.into())
    } else if hyper.is_some_and(hyper::Error::is_incomplete_message) {
        ConnectorError::other(error.into(), Some(ErrorKind::TransientError))
    } else {
        ConnectorError::other(error.into(), None)
    }
}

/// The first error of this type below another.
fn cause<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut below = error.source();
    while let Some(source) = below {
        if let Some(found) = source.downcast_ref() {
            return Some(found);
        }
        below = source.source();
    }
    None
}
