//! One call of DynamoDB, signed by hand (AWS Signature Version 4).

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::http::{Connection, Response};

const TARGET: &str = "DynamoDB_20120810.PutItem";

pub struct DynamoDb {
    region: String,
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
    /// As it is in the URL, and so in the header that is signed.
    host: String,
    authority: String,
    tls: Option<Arc<ClientConfig>>,
    connection: Option<Connection>,
}

impl DynamoDb {
    /// Reads everything from the environment, the trusted roots too, and connects to nothing yet.
    pub fn from_env() -> Result<Self, Box<dyn Error>> {
        let region = env::var("AWS_REGION")?;
        let url = env::var("AWS_ENDPOINT_URL_DYNAMODB")
            .unwrap_or_else(|_| format!("https://dynamodb.{region}.amazonaws.com"));
        let (scheme, rest) = url.split_once("://").ok_or("the endpoint is no URL")?;
        let host = rest.trim_end_matches('/').to_owned();
        let (port, tls) = match scheme {
            "https" => (443, Some(tls()?)),
            _ => (80, None),
        };
        Ok(Self {
            authority: if host.contains(':') {
                host.clone()
            } else {
                format!("{host}:{port}")
            },
            host,
            region,
            access_key: env::var("AWS_ACCESS_KEY_ID")?,
            secret_key: env::var("AWS_SECRET_ACCESS_KEY")?,
            session_token: env::var("AWS_SESSION_TOKEN").ok(),
            tls,
            connection: None,
        })
    }

    pub fn put_item(&mut self, body: &str) -> Result<(), Box<dyn Error>> {
        let request = self.signed(body, OffsetDateTime::now_utc());
        let response = self.send(&request)?;
        if response.status == 200 {
            Ok(())
        } else {
            Err(format!("DynamoDB answered {}", response.status).into())
        }
    }

    /// Sends over the connection that was kept; over a new one if there is none, or if it has died.
    /// By its condition a put that is sent twice stores one item.
    fn send(&mut self, request: &str) -> Result<Response, Box<dyn Error>> {
        if let Some(kept) = &mut self.connection
            && let Ok(response) = kept.send(request)
        {
            return Ok(response);
        }
        self.connection = None;
        let mut fresh = Connection::open(&self.authority, self.tls.clone())?;
        let response = fresh.send(request)?;
        self.connection = Some(fresh);
        Ok(response)
    }

    fn signed(&self, body: &str, now: OffsetDateTime) -> String {
        let (host, region) = (&self.host, &self.region);
        let date = format!("{:04}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
        let stamp = format!("{date}T{:02}{:02}{:02}Z", now.hour(), now.minute(), now.second());
        let (mut headers, mut names) = (
            format!("host:{host}\nx-amz-date:{stamp}\n"),
            "host;x-amz-date".to_owned(),
        );
        if let Some(token) = &self.session_token {
            headers = format!("{headers}x-amz-security-token:{token}\n");
            names.push_str(";x-amz-security-token");
        }
        headers = format!("{headers}x-amz-target:{TARGET}\n");
        names.push_str(";x-amz-target");
        let canonical = format!("POST\n/\n\n{headers}\n{names}\n{}", hex(&Sha256::digest(body)));
        let scope = format!("{date}/{region}/dynamodb/aws4_request");
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}",
            hex(&Sha256::digest(canonical))
        );
        let key = [date.as_str(), region, "dynamodb", "aws4_request"]
            .iter()
            .fold(format!("AWS4{}", self.secret_key).into_bytes(), |key, part| {
                mac(&key, part)
            });
        let signature = hex(&mac(&key, &to_sign));
        let headers = headers.replace('\n', "\r\n");
        format!(
            "POST / HTTP/1.1\r\n{headers}content-type: application/x-amz-json-1.0\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, \
             Signature={signature}\r\ncontent-length: {}\r\n\r\n{body}",
            self.access_key,
            body.len(),
        )
    }
}

/// TLS that trusts the roots in `SSL_CERT_FILE`, or else those of the system.
fn tls() -> Result<Arc<ClientConfig>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes a key of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
