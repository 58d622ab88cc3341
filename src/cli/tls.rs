//! The certificates of the daemon.
use super::{options::Options, problem::Problem};
use rcgen::{CertificateParams, DnType, KeyPair};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tracing::{info, warn};
use wharf::server::{ClientCertificates, Pem, TlsError, TlsSettings, TlsVersion};

/// What is asked for in the way of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsOptions {
    /// `--tls`: without a certificate one is made.
    pub(super) wanted: bool,
    pub(super) certfile: Option<FileOption>,
    pub(super) keyfile: Option<FileOption>,
    /// Further ones, for other names.
    pub(super) certificates: Vec<CertificateOption>,
    pub(super) client_ca: Option<FileOption>,
    pub(super) client_cert_required: bool,
    pub(super) session_reuse_required: bool,
    pub(super) strict_close: bool,
    pub(super) min_version: TlsVersion,
    /// What needs TLS, if something does.
    pub(super) needed_by: Option<String>,
}

/// A certificate, and its key, if that is in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CertificateOption {
    pub(super) certfile: FileOption,
    pub(super) keyfile: Option<FileOption>,
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
            certificates: Vec::new(),
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
        let others = self.certificates.iter().flat_map(|other| [Some(&other.certfile), other.keyfile.as_ref()]);
        let first = [&self.certfile, &self.keyfile, &self.client_ca].map(Option::as_ref);
        first.into_iter().chain(others).flatten().map(|file| &file.path)
    }

    /// Whether a certificate is made for this run.
    pub(super) fn is_self_signed(&self) -> bool {
        self.wanted && self.certfile.is_none() && self.certificates.is_empty()
    }
}

/// TLS as the options want it, if they want any.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) settings: TlsSettings,
    /// What the settings are from.
    pub(super) material: Material,
    /// What a certificate that was made for this run can be known by.
    pub(super) fingerprint: Option<String>,
}

/// Certificates and keys as they were read, or made.
#[derive(Clone)]
pub(super) struct Material {
    /// With their keys: one at least.
    pub(super) certificates: Vec<(Pem, Pem)>,
    pub(super) client_ca: Option<Pem>,
}

/// Reads the certificates, or makes one; what is wrong with them is told before anything is bound. One that was made before, for
/// this run, stays.
pub(super) fn open(options: &Options, before: Option<&Opened>) -> Result<Option<Opened>, Problem> {
    let tls = &options.tls;
    if let (None, Some(keyfile)) = (&tls.certfile, &tls.keyfile) {
        return Err(Problem::new(
            &keyfile.place,
            "this is the key of no certificate: name that as well, by --certfile (certfile in [tls])",
        ));
    }
    let first = tls.certfile.iter().map(|certfile| (certfile, tls.keyfile.as_ref()));
    let others = tls.certificates.iter().map(|other| (&other.certfile, other.keyfile.as_ref()));
    // What is wrong with a certificate is told before.
    let place = tls.client_ca.as_ref().map_or("--tls", |file| &file.place);
    let mut fingerprint = None;
    let mut certificates =
        first.chain(others).map(|(certfile, keyfile)| read_pair(certfile, keyfile)).collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() {
        if !tls.wanted {
            return match &tls.needed_by {
                Some(place) => Err(Problem::new(
                    place,
                    "this needs a certificate: name one by --certfile (certfile in [tls]), or start with --tls",
                )),
                None => Ok(None),
            };
        }
        let made = before.and_then(|Opened { material, fingerprint, .. }| {
            Some((material.certificates.first()?.clone(), fingerprint.clone()?))
        });
        let (pair, known_by) = made.map_or_else(make, Ok)?;
        certificates.push(pair);
        fingerprint = Some(known_by);
    }
    let client_ca = tls.client_ca.as_ref().map(|file| read(place, &file.path)).transpose()?;
    let material = Material { certificates, client_ca };
    let settings = material.settings(tls).map_err(|error| Problem::new(place, error.to_string()))?;
    Ok(Some(Opened { settings, material, fingerprint }))
}

/// A certificate and its key, which belong together.
fn read_pair(certfile: &FileOption, keyfile: Option<&FileOption>) -> Result<(Pem, Pem), Problem> {
    let place = &certfile.place;
    let certificate = read(place, &certfile.path)?;
    let key = keyfile.map_or_else(|| Ok(certificate.clone()), |file| read(&file.place, &file.path))?;
    let alone = TlsSettings::builder().certificate_pem(certificate.clone(), key.clone());
    alone.build().map_err(|error| Problem::new(place, error.to_string()))?;
    Ok((certificate, key))
}

fn read(place: &str, path: &Path) -> Result<Pem, Problem> {
    Pem::read(path).map_err(|error| Problem::new(place, error.to_string()))
}

impl Material {
    /// What the options say about these.
    pub(super) fn settings(&self, tls: &TlsOptions) -> Result<TlsSettings, TlsError> {
        let certificates = if tls.client_cert_required { ClientCertificates::Required } else { ClientCertificates::Optional };
        let pairs = self.certificates.iter().cloned();
        let builder =
            pairs.fold(TlsSettings::builder(), |builder, (certificate, key)| builder.certificate_pem(certificate, key));
        let builder = self.client_ca.iter().fold(builder, |builder, pem| builder.client_ca_pem(pem.clone(), certificates));
        let built = builder.min_version(tls.min_version).build()?;
        Ok(built.with_session_reuse_required(tls.session_reuse_required).with_strict_close(tls.strict_close))
    }
}

/// Tells what is offered if nothing was before, and how to know a certificate that was made for this run, if that was not told.
pub(super) fn announce(options: &Options, tls: &Opened, before: Option<&Opened>) {
    if before.is_none() {
        let version = version_number(options.tls.min_version);
        let required = match (options.config.tls.control_required, options.config.tls.data_required) {
            (false, false) => "not required",
            (true, false) => "required to log in",
            (false, true) => "required for data",
            (true, true) => "required to log in and for data",
        };
        info!("TLS: offered, from version {version} on; {required}");
    }
    if let Some(fingerprint) = &tls.fingerprint
        && before.and_then(|before| before.fingerprint.as_ref()) != Some(fingerprint)
    {
        warn!("the certificate is self-signed, and for this run alone; its SHA-256 fingerprint: {fingerprint}");
    }
}

/// A version as the configuration has it.
pub(super) fn version_number(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::V1_2 => "1.2",
        TlsVersion::V1_3 => "1.3",
    }
}

/// A certificate, its key, and what it can be known by.
fn make() -> Result<((Pem, Pem), String), Problem> {
    let made = CertificateParams::new(vec!["localhost".to_owned()]).and_then(|mut params| {
        // People are shown it when they are asked whether they trust it.
        params.distinguished_name.push(DnType::CommonName, "wharf (self-signed)");
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?, key))
    });
    let (certificate, key) =
        made.map_err(|error| Problem::new("--tls", format!("cannot make a certificate: {error}; name one by --certfile")))?;
    let digest: Vec<_> = Sha256::digest(certificate.der()).iter().map(|octet| format!("{octet:02X}")).collect();
    Ok(((certificate.pem().into(), key.serialize_pem().into()), digest.join(":")))
}
