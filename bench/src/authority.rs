//! A certificate authority for one run, so that measurements include the cost of TLS.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

/// The address in the servers' certificates.
const HOST: &str = "127.0.0.1";

/// The files in which systems keep all trusted roots.
const SYSTEM_ROOTS: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// A certificate authority with a server certificate.
pub struct Authority {
    bundle: PathBuf,
    acceptor: TlsAcceptor,
}

impl Authority {
    /// Creates an authority. Writes its certificate to a file in `folder`, after all roots that this
    /// machine trusts, so that clients read as many roots as in production.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or a certificate cannot be made.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let issuer = issuer().map_err(io::Error::other)?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = CertificateParams::new([HOST.to_owned()])
            .and_then(|params| params.signed_by(&key, &issuer))
            .map_err(io::Error::other)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config
                    .with_no_client_auth()
                    .with_single_cert(vec![certificate.der().clone()], private)
            })
            .map_err(io::Error::other)?;

        let system = SYSTEM_ROOTS.iter().find_map(|path| fs::read_to_string(path).ok());
        let bundle = folder.join("roots.pem");
        fs::write(&bundle, system.unwrap_or_default() + &issuer.pem())?;
        Ok(Self {
            bundle,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// The file of all trusted roots.
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// Accepts TLS connections with the server certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}

fn issuer() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "Hindsight's benchmark");
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}
