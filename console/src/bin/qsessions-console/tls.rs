//! TLS to the server.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::path::Path;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Checks the server's certificate and name, by the authorities in a file, or by those that the
/// system trusts.
pub(crate) fn connector(authority: Option<&Path>) -> Result<MakeRustlsConnect, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(path) => {
            let name = path.display();
            let certificates = CertificateDer::pem_file_iter(path)
                .map_err(|error| format!("PGSSLROOTCERT: cannot read {name}: {error}"))?;
            for certificate in certificates {
                let certificate =
                    certificate.map_err(|error| format!("PGSSLROOTCERT: {name}: {error}"))?;
                roots.add(certificate)?;
            }
            if roots.is_empty() {
                return Err(format!("PGSSLROOTCERT: {name} has no certificate").into());
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err("sslmode=require: the system trusts no certificate authority; name a file with \
                            certificates in PGSSLROOTCERT"
                    .into());
            }
        }
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
