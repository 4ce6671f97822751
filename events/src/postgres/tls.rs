//! TLS to PostgreSQL, by rustls with the cryptography of AWS-LC.
//!
//! **Invariant:** where TLS is spoken the server's certificate and name are checked; there is no mode that encrypts
//! and asks nobody who is at the other end.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresError;
use super::errors::of_configuration;

/// The URL with the two modes that the client library does not know put as the one it does: we check everything that
/// they ask to be checked anyway. **Source:** PostgreSQL 15 manual, section 34.19.1.
pub(super) fn url_the_client_knows(url: &str) -> Cow<'_, str> {
    if url.contains("sslmode=verify-") {
        Cow::Owned(
            url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require"),
        )
    } else {
        Cow::Borrowed(url)
    }
}

/// What speaks TLS; `None` when the configuration forbids it.
pub(super) fn connector(config: &Config, ca_file: Option<&Path>) -> Result<Option<MakeRustlsConnect>, PostgresError> {
    if config.get_ssl_mode() == SslMode::Disable {
        return Ok(None);
    }
    let wrong = |error: &dyn std::error::Error| of_configuration("TLS to PostgreSQL", error);
    // Named here, because a process that has two providers compiled in has no default one.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| wrong(&error))?;
    let config = match ca_file {
        Some(path) => builder.with_root_certificates(roots(path)?).with_no_client_auth(),
        None => builder.with_platform_verifier().map_err(|error| wrong(&error))?.with_no_client_auth(),
    };
    Ok(Some(MakeRustlsConnect::new(config)))
}

fn roots(path: &Path) -> Result<RootCertStore, PostgresError> {
    let wrong = |error: &dyn std::error::Error| of_configuration("PostgreSQL ca_file", error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(PostgresError::Refused("PostgreSQL ca_file: no certificate in it".into()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_of_the_url_decides_whether_tls_is_spoken() {
        let mode = |url: &str| url_the_client_knows(url).parse::<Config>().unwrap().get_ssl_mode();
        assert_eq!(mode("postgres://a@b/c"), SslMode::Prefer);
        assert_eq!(mode("postgres://a@b/c?sslmode=disable"), SslMode::Disable);
        for strict in ["require", "verify-ca", "verify-full"] {
            assert_eq!(mode(&format!("postgres://a@b/c?sslmode={strict}")), SslMode::Require);
        }
        assert!(connector(&"sslmode=disable".parse().unwrap(), None).unwrap().is_none());
        assert!(connector(&"sslmode=require".parse().unwrap(), None).unwrap().is_some());
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for text in [None, Some("nothing"), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let made = connector(&"sslmode=require".parse().unwrap(), Some(&path));
            assert!(matches!(made, Err(PostgresError::Refused(_))), "{text:?}");
        }
    }
}
