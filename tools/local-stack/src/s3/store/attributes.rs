//! What S3 keeps about an object besides its bytes, in one extended attribute of its file.
//!
//! An attribute belongs to the inode: it is set while the file is still staged, so it appears with
//! the object in the same `link` or `rename`, and two racing writers can't mix theirs up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xattr::FileExt as _;

use super::StoreError;
use crate::s3::checksum::Checksums;

/// The name of the attribute (`getfattr -n user.s3.object FILE` shows it).
const ATTRIBUTE: &str = "user.s3.object";

/// S3 allows this many bytes of user metadata, names and values together.
const METADATA_BYTES_MAX: usize = 2048;

/// Everything about an object that its bytes don't say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectAttributes {
    /// Without quotes: the MD5 in hex, with `-PARTS` behind it after a multipart upload.
    pub(crate) etag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    /// `x-amz-meta-*`, names without that prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) checksums: Checksums,
}

impl ObjectAttributes {
    /// Sets the attributes of a staged file.
    pub(crate) fn write(&self, file: &File) -> Result<(), StoreError> {
        let metadata_bytes: usize =
            self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if metadata_bytes > METADATA_BYTES_MAX {
            return Err(StoreError::MetadataTooLarge { bytes: metadata_bytes });
        }
        let json = serde_json::to_vec(self).map_err(io::Error::from)?;
        match file.set_xattr(ATTRIBUTE, &json) {
            Ok(()) => Ok(()),
            // ext4 keeps an inode's attributes in one block of 4 KiB.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::ArgumentListTooLong
                ) && metadata_bytes > 0 =>
            {
                Err(StoreError::MetadataTooLarge { bytes: metadata_bytes })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the attributes of an open file; `path` is for the error alone.
    pub(crate) fn read(file: &File, path: &Path) -> Result<Self, StoreError> {
        let lost = || StoreError::AttributesLost { path: path.to_owned() };
        let json = file.get_xattr(ATTRIBUTE)?.ok_or_else(lost)?;
        serde_json::from_slice(&json).map_err(|_| lost())
    }
}
