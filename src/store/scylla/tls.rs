//! TLS towards the cluster: the nodes' certificates must be signed by a configured authority and name the address that
//! was called.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::settings::ScyllaSettings;

/// The driver's TLS settings from the configured files; `None` without.
///
/// # Errors
/// What is wrong with which file.
pub(super) fn client_config(settings: &ScyllaSettings) -> Result<Option<Arc<ClientConfig>>, String> {
    let Some(file) = &settings.tls_authorities else { return Ok(None) };
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(file)? {
        authorities.add(certificate).map_err(|error| wrong(file, &error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(authorities);
    let config = match (&settings.tls_certificate, &settings.tls_key) {
        (Some(chain), Some(key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| wrong(key_file, &error))?;
            let chain = certificates(chain)?;
            config.with_client_auth_cert(chain, key).map_err(|error| wrong(key_file, &error))?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(file, &error))?;
    if found.is_empty() { Err(format!("{}: holds no certificate", file.display())) } else { Ok(found) }
}

fn wrong(file: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", file.display())
}
