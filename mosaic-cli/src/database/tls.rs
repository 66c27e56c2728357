//! TLS to an external server, with the meaning that libpq gives to `sslmode`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::failure::{Code, Failure, sentence};

/// How far the server's certificate is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Encrypt, whoever answers (`prefer`, `require`).
    Anyone,
    /// The certificate comes from a trusted authority (`verify-ca`).
    Authority,
    /// … and it names the host that was asked for (`verify-full`).
    Host,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub trust: Trust,
    /// `sslrootcert`: a file, or the word `system`.
    pub roots: Option<String>,
    /// `sslcert` and `sslkey`.
    pub client: Option<(PathBuf, PathBuf)>,
}

pub fn connector(tls: &Tls) -> Result<MakeRustlsConnect, Failure> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier {
        trust: tls.trust,
        pinned: Vec::new(),
        authority: None,
        provider: provider.clone(),
    };
    let verifier = match tls.trust {
        Trust::Anyone => verifier,
        Trust::Authority | Trust::Host => {
            let certificates = trusted_certificates(tls.roots.as_deref())?;
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates.iter().cloned());
            let authority =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build()
                    .map_err(|error| unusable("no trusted root certificate is usable", &error))?;
            Verifier {
                pinned: certificates,
                authority: Some(authority),
                ..verifier
            }
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS cannot be set up", &error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                read_certificates(certificate)?,
                PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unusable(&format!("cannot read {}", key.display()), &error))?,
            )
            .map_err(|error| unusable("the client certificate is not usable", &error))?,
    };
    Ok(MakeRustlsConnect::new(config))
}

/// The given file, else the one in libpq's usual place, else what the system trusts.
fn trusted_certificates(roots: Option<&str>) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let usual = usual_root_file();
    let file = match roots {
        Some("system") => None,
        Some(path) => Some(PathBuf::from(path)),
        None => usual,
    };
    match file {
        Some(path) => read_certificates(&path),
        None => Ok(rustls_native_certs::load_native_certs().certs),
    }
}

/// `~/.postgresql/root.crt`, if there is one.
pub fn usual_root_file() -> Option<PathBuf> {
    let path = std::env::home_dir()?.join(".postgresql/root.crt");
    path.exists().then_some(path)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(&format!("cannot read {}", path.display()), &error))
}

fn unusable(message: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(Code::InvalidArgument, message).detail(sentence(error))
}

/// Judges the server's certificate by the chosen degree of trust.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    /// Certificates that are trusted as they are: a self-signed server certificate is its own authority.
    pinned: Vec<CertificateDer<'static>>,
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else {
            return Ok(ServerCertVerified::assertion());
        };
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            if self.trust == Trust::Host {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&certificate, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match authority.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            // The chain was checked before the name.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.trust == Trust::Authority => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
