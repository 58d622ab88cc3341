//! The certificates of the daemon.
use super::{options::Options, problem::Problem};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use wharf::server::{ClientCertificates, TlsBuilder, TlsSettings, TlsVersion};

/// What is asked for in the way of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsOptions {
    /// `--tls`: without a certificate one is made.
    pub(super) wanted: bool,
    pub(super) certfile: Option<FileOption>,
    pub(super) keyfile: Option<FileOption>,
    pub(super) client_ca: Option<FileOption>,
    pub(super) client_cert_required: bool,
    pub(super) session_reuse_required: bool,
    pub(super) strict_close: bool,
    pub(super) min_version: TlsVersion,
    /// What needs TLS, if something does.
    pub(super) needed_by: Option<String>,
}

/// A file, and what named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileOption {
    pub(super) path: PathBuf,
    pub(super) place: String,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            wanted: false,
            certfile: None,
            keyfile: None,
            client_ca: None,
            client_cert_required: false,
            session_reuse_required: false,
            strict_close: true,
            min_version: TlsVersion::V1_2,
            needed_by: None,
        }
    }
}

impl TlsOptions {
    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certfile, &self.keyfile, &self.client_ca].into_iter().flatten().map(|file| &file.path)
    }

    /// Whether a certificate is made for this run.
    pub(super) fn is_self_signed(&self) -> bool {
        self.wanted && self.certfile.is_none()
    }
}

/// TLS as the options want it, if they want any.
pub(super) struct Opened {
    pub(super) settings: TlsSettings,
    /// What the certificate can be known by, if it was made just now.
    pub(super) fingerprint: Option<String>,
}

/// Reads the certificates, or makes one; what is wrong with them is told before anything is bound.
pub(super) fn open(options: &Options) -> Result<Option<Opened>, Problem> {
    let tls = &options.tls;
    let (builder, place, fingerprint) = match &tls.certfile {
        Some(FileOption { path, place }) => {
            let keyfile = tls.keyfile.as_ref().map(|file| &file.path);
            (TlsSettings::builder().certificate_files(path, keyfile), place.clone(), None)
        }
        None if tls.keyfile.is_some() => {
            let place = tls.keyfile.as_ref().map(|file| file.place.clone()).unwrap_or_default();
            return Err(Problem::new(place, "this is the key of no certificate: name that by certfile as well"));
        }
        None if tls.wanted => {
            let (builder, fingerprint) = self_signed()?;
            (builder, "--tls".into(), Some(fingerprint))
        }
        None => {
            return match &tls.needed_by {
                Some(place) => {
                    Err(Problem::new(place, "this needs a certificate: name one by certfile in [tls], or start with --tls"))
                }
                None => Ok(None),
            };
        }
    };
    let certificates = if tls.client_cert_required { ClientCertificates::Required } else { ClientCertificates::Optional };
    let authority = tls.client_ca.as_ref().map(|file| &file.path);
    let builder = authority.into_iter().fold(builder, |builder, file| builder.client_ca(file, certificates));
    let built = builder.min_version(tls.min_version).build().map_err(|error| Problem::new(place, error.to_string()))?;
    let settings = built.with_session_reuse_required(tls.session_reuse_required).with_strict_close(tls.strict_close);
    Ok(Some(Opened { settings, fingerprint }))
}

fn self_signed() -> Result<(TlsBuilder, String), Problem> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
        .map_err(|error| Problem::new("--tls", format!("cannot make a certificate: {error}; name one by --certfile")))?;
    let digest: Vec<_> = Sha256::digest(made.cert.der()).iter().map(|octet| format!("{octet:02X}")).collect();
    let builder = TlsSettings::builder().certificate_pem(made.cert.pem(), made.signing_key.serialize_pem());
    Ok((builder, digest.join(":")))
}
