//! The certificates of the daemon.
use super::{options::Options, problem::Problem};
use sha2::{Digest, Sha256};
use std::{fs, path::PathBuf};
use wharf::{
    proto::secret::Secret,
    server::{ClientCertificates, TlsBuilder, TlsSettings, TlsVersion},
};

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
    pub(super) certificate: Certificate,
    /// What it can be known by, if it was made just now.
    pub(super) fingerprint: Option<String>,
}

/// A certificate and its key in PEM, as they were read or made: later the files may have others, or be out of reach.
#[derive(Clone)]
pub(super) struct Certificate {
    pub(super) chain: Vec<u8>,
    pub(super) key: Secret,
}

/// Reads the certificates, or makes one; what is wrong with them is told before anything is bound.
pub(super) fn open(options: &Options) -> Result<Option<Opened>, Problem> {
    let tls = &options.tls;
    let place = match (&tls.certfile, &tls.keyfile) {
        (Some(certfile), _) => &certfile.place,
        (None, Some(keyfile)) => {
            return Err(Problem::new(&keyfile.place, "this is the key of no certificate: name that by certfile as well"));
        }
        (None, None) if tls.wanted => {
            let (certificate, fingerprint) = make()?;
            let opened = open_with(options, certificate)?;
            return Ok(Some(Opened { fingerprint: Some(fingerprint), ..opened }));
        }
        (None, None) => {
            return match &tls.needed_by {
                Some(place) => {
                    Err(Problem::new(place, "this needs a certificate: name one by certfile in [tls], or start with --tls"))
                }
                None => Ok(None),
            };
        }
    };
    let Some(FileOption { path, .. }) = &tls.certfile else { return Ok(None) };
    let keyfile = tls.keyfile.as_ref().map(|file| &file.path);
    let settings = settings(tls, TlsSettings::builder().certificate_files(path, keyfile), place)?;
    let text = |path: &PathBuf| {
        fs::read(path).map_err(|error| Problem::new(place, format!("{}: cannot be read: {error}", path.display())))
    };
    let certificate = Certificate { chain: text(path)?, key: Secret::new(text(keyfile.unwrap_or(path))?) };
    Ok(Some(Opened { settings, certificate, fingerprint: None }))
}

/// TLS with a certificate that was read or made before.
pub(super) fn open_with(options: &Options, certificate: Certificate) -> Result<Opened, Problem> {
    let builder = TlsSettings::builder().certificate_pem(&certificate.chain[..], certificate.key.expose());
    let settings = settings(&options.tls, builder, "--tls")?;
    Ok(Opened { settings, certificate, fingerprint: None })
}

fn settings(tls: &TlsOptions, builder: TlsBuilder, place: &str) -> Result<TlsSettings, Problem> {
    let certificates = if tls.client_cert_required { ClientCertificates::Required } else { ClientCertificates::Optional };
    let authority = tls.client_ca.as_ref().map(|file| &file.path);
    let builder = authority.into_iter().fold(builder, |builder, file| builder.client_ca(file, certificates));
    let built = builder.min_version(tls.min_version).build().map_err(|error| Problem::new(place, error.to_string()))?;
    Ok(built.with_session_reuse_required(tls.session_reuse_required).with_strict_close(tls.strict_close))
}

fn make() -> Result<(Certificate, String), Problem> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
        .map_err(|error| Problem::new("--tls", format!("cannot make a certificate: {error}; name one by --certfile")))?;
    let digest: Vec<_> = Sha256::digest(made.cert.der()).iter().map(|octet| format!("{octet:02X}")).collect();
    let key = Secret::new(made.signing_key.serialize_pem().into_bytes());
    Ok((Certificate { chain: made.cert.pem().into_bytes(), key }, digest.join(":")))
}
