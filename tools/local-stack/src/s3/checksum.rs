//! The checksums that a client may send with its bytes, as S3 names and encodes them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::Checksum as _;
use s3s::crypto::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto;
use serde::{Deserialize, Serialize};

/// S3's name of the checksum over an object's own bytes; the other kind is over its parts' checksums.
const FULL_OBJECT: &str = "FULL_OBJECT";
const COMPOSITE: &str = "COMPOSITE";

/// A checksum algorithm of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The name in `x-amz-checksum-algorithm`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => dto::ChecksumAlgorithm::CRC32,
            Self::Crc32c => dto::ChecksumAlgorithm::CRC32C,
            Self::Crc64Nvme => dto::ChecksumAlgorithm::CRC64NVME,
            Self::Sha1 => dto::ChecksumAlgorithm::SHA1,
            Self::Sha256 => dto::ChecksumAlgorithm::SHA256,
        }
    }

    /// The algorithm with an S3 name, in any case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The header or trailer that carries the checksum.
    fn header(self) -> String {
        format!("x-amz-checksum-{}", self.name().to_ascii_lowercase())
    }

    /// Makes `hasher` compute this checksum too.
    pub(crate) fn enable(self, hasher: &mut ChecksumHasher) {
        match self {
            Self::Crc32 => hasher.crc32 = Some(Crc32::new()),
            Self::Crc32c => hasher.crc32c = Some(Crc32c::new()),
            Self::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
            Self::Sha1 => hasher.sha1 = Some(Sha1::new()),
            Self::Sha256 => hasher.sha256 = Some(Sha256::new()),
        }
    }
}

/// Some checksums of the same bytes, each in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Checksums {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc32: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc32c: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc64nvme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// Whether they are over the checksums of the parts.
    pub(crate) composite: bool,
}

/// The five checksum fields that many of S3's inputs have, as `Checksums`.
macro_rules! checksums_of {
    ($input:expr) => {
        $crate::s3::checksum::Checksums {
            crc32: $input.checksum_crc32.clone(),
            crc32c: $input.checksum_crc32c.clone(),
            crc64nvme: $input.checksum_crc64nvme.clone(),
            sha1: $input.checksum_sha1.clone(),
            sha256: $input.checksum_sha256.clone(),
            composite: false,
        }
    };
}
pub(crate) use checksums_of;

/// Sets the five checksum fields that many of S3's outputs have.
macro_rules! set_checksums {
    ($output:expr, $checksums:expr) => {
        $output.checksum_crc32 = $checksums.crc32.clone();
        $output.checksum_crc32c = $checksums.crc32c.clone();
        $output.checksum_crc64nvme = $checksums.crc64nvme.clone();
        $output.checksum_sha1 = $checksums.sha1.clone();
        $output.checksum_sha256 = $checksums.sha256.clone();
    };
}
pub(crate) use set_checksums;

impl Checksums {
    /// What a finished hasher computed over an object's own bytes.
    pub(crate) fn full_object(computed: dto::Checksum) -> Self {
        checksums_of!(computed)
    }

    /// The checksum of the parts' checksums, for each algorithm that every part carries.
    pub(crate) fn composite(parts: &[&Self]) -> Self {
        let mut composite = Self { composite: true, ..Self::default() };
        for algorithm in Algorithm::ALL {
            let digests: Option<Vec<Vec<u8>>> = parts
                .iter()
                .map(|part| BASE64_STANDARD.decode(part.get(algorithm)?).ok())
                .collect();
            let Some(digests) = digests.filter(|digests| !digests.is_empty()) else { continue };
            let mut hasher = ChecksumHasher::default();
            algorithm.enable(&mut hasher);
            hasher.update(&digests.concat());
            let combined = Self::full_object(hasher.finalize());
            *composite.slot(algorithm) =
                combined.get(algorithm).map(|digest| format!("{digest}-{}", parts.len()));
        }
        composite
    }

    /// Adds what the trailers of a streamed body carry.
    pub(crate) fn add_trailers(&mut self, trailers: &HeaderMap) {
        for algorithm in Algorithm::ALL {
            if let Some(value) =
                trailers.get(algorithm.header()).and_then(|value| value.to_str().ok())
            {
                *self.slot(algorithm) = Some(value.to_owned());
            }
        }
    }

    /// A hasher for every algorithm that has a value here or is announced as a trailer.
    pub(crate) fn hasher(&self, headers: &HeaderMap) -> ChecksumHasher {
        let announced: Vec<String> = headers
            .get_all("x-amz-trailer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        let mut hasher = ChecksumHasher::default();
        for algorithm in Algorithm::ALL {
            if self.get(algorithm).is_some() || announced.contains(&algorithm.header()) {
                algorithm.enable(&mut hasher);
            }
        }
        hasher
    }

    /// The first algorithm with a value here that `actual` doesn't have.
    pub(crate) fn first_difference(&self, actual: &Self) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| {
            self.get(*algorithm).is_some_and(|value| actual.get(*algorithm) != Some(value))
        })
    }

    /// S3's name for what the checksums are over, if there is one.
    pub(crate) fn checksum_type(&self) -> Option<dto::ChecksumType> {
        let any = Algorithm::ALL.into_iter().any(|algorithm| self.get(algorithm).is_some());
        any.then(|| {
            dto::ChecksumType::from_static(if self.composite { COMPOSITE } else { FULL_OBJECT })
        })
    }

    fn get(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Crc32 => self.crc32.as_deref(),
            Algorithm::Crc32c => self.crc32c.as_deref(),
            Algorithm::Crc64Nvme => self.crc64nvme.as_deref(),
            Algorithm::Sha1 => self.sha1.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
        }
    }

    fn slot(&mut self, algorithm: Algorithm) -> &mut Option<String> {
        match algorithm {
            Algorithm::Crc32 => &mut self.crc32,
            Algorithm::Crc32c => &mut self.crc32c,
            Algorithm::Crc64Nvme => &mut self.crc64nvme,
            Algorithm::Sha1 => &mut self.sha1,
            Algorithm::Sha256 => &mut self.sha256,
        }
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composite_takes_what_every_part_carries() {
        let part = |crc32: &str, sha1: Option<&str>| Checksums {
            crc32: Some(crc32.to_owned()),
            sha1: sha1.map(str::to_owned),
            ..Checksums::default()
        };
        // CRC-32 of "hello" and of "world", and of those eight bytes, by Python's zlib.
        let parts =
            [part("NhCmhg==", Some("qvTGHdzF6KLavt4PO0gs2a6pQ00=")), part("OncRQw==", None)];
        let composite = Checksums::composite(&[&parts[0], &parts[1]]);
        assert_eq!(composite.crc32.as_deref(), Some("wpn7tg==-2"));
        assert_eq!(composite.sha1, None);
        assert_eq!(composite.checksum_type(), Some(dto::ChecksumType::from_static(COMPOSITE)));
    }

    #[test]
    fn a_difference_is_one_in_what_was_sent() {
        let sent = Checksums { crc32: Some("NhCmhg==".into()), ..Checksums::default() };
        let computed = Checksums { sha1: Some("x".into()), ..sent.clone() };
        assert_eq!(sent.first_difference(&computed), None);
        assert_eq!(computed.first_difference(&sent), Some(Algorithm::Sha1));
    }
}
