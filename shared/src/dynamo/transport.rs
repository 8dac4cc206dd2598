//! The HTTP transport to DynamoDB: HTTP/1.1, over TLS unless the endpoint is `http`.
//!
//! The SDK's own client adds HTTP/2, which DynamoDB does not speak, proxies and a second pool. They would
//! be a sixth of a function's binary and remain unused.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::retries::ErrorKind;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::CONNECT_TIMEOUT;

/// The file with the trusted roots in Lambda's image, Amazon Linux 2023.
const LAMBDA_ROOTS: &str = "/etc/pki/tls/certs/ca-bundle.crt";

/// A connection pool. Clones share it.
#[derive(Clone, Debug)]
pub struct Transport {
    pool: Client<HttpsConnector<TcpConnector>, SdkBody>,
}

impl Transport {
    /// Creates a pool that trusts this machine's roots, or those in `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    /// Without any roots, calls to an `https` endpoint fail.
    ///
    /// # Errors
    ///
    /// If the TLS library rejects its own default settings.
    pub fn new() -> Result<Self, rustls::Error> {
        // The SDK's default provider instead of ring would gather entropy for 22 ms at the first handshake.
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

/// Loads the trusted certificates, from a single file if one exists. Scanning the system's folders would
/// parse each certificate twice.
fn roots() -> RootCertStore {
    let told = |name: &str| env::var_os(name).map(PathBuf::from);
    let bundle = match (told("SSL_CERT_FILE"), told("SSL_CERT_DIR")) {
        (bundle, None) => bundle.or_else(|| Some(LAMBDA_ROOTS.into())),
        _ => None,
    };
    let mut roots = RootCertStore::empty();
    let read = bundle.and_then(|path| File::open(path).ok()).map(|file| {
        // A certificate that webpki cannot read is skipped.
        certificates(BufReader::new(file), |certificate| drop(roots.add(certificate)))
    });
    if !matches!(read, Some(Ok(()))) || roots.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        tracing::error!("no root certificates, so no endpoint can be trusted");
    }
    roots
}

/// Passes on the certificates of a PEM file (RFC 7468), one by one. The TLS library's reader is made for
/// secrets: it runs in constant time, which costs half a millisecond for a system's roots in every cold
/// start. Like that reader, this one skips whatever is not a certificate. It reuses one buffer, because new
/// memory costs time for each page.
fn certificates(mut pem: impl BufRead, mut each: impl FnMut(CertificateDer<'_>)) -> io::Result<()> {
    let (mut line, mut base64, mut der) = (Vec::new(), Vec::new(), Vec::new());
    let mut within = false;
    while pem.read_until(b'\n', &mut line)? > 0 {
        match line.trim_ascii() {
            b"-----BEGIN CERTIFICATE-----" => {
                base64.clear();
                within = true;
            }
            b"-----END CERTIFICATE-----" if within => {
                der.clear();
                within = false;
                if STANDARD.decode_vec(&base64, &mut der).is_ok() {
                    each(CertificateDer::from_slice(&der));
                }
            }
            text if within => base64.extend_from_slice(text),
            _ => {}
        }
        line.clear();
    }
    Ok(())
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

/// Classifies a failed request for the SDK, which retries timeouts, broken connections and truncated
/// responses.
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

/// Returns the first error of this type in another's chain of sources.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_read_between_other_lines() {
        let text = "# Amazon\n-----BEGIN CERTIFICATE-----\nAQID\nBAU=\n-----END CERTIFICATE-----\n\n\
                    -----BEGIN CERTIFICATE-----\r\nAQ==\r\n-----END CERTIFICATE-----\r\n\
                    -----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n\
                    -----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n\
                    -----BEGIN CERTIFICATE-----\nAQID";
        let mut found = Vec::new();
        certificates(text.as_bytes(), |certificate| found.push(certificate.to_vec())).unwrap();
        assert_eq!(found, [vec![1, 2, 3, 4, 5], vec![1]]);
    }
}
