//! What can go wrong in the store, and the S3 error that a client sees for it.

use std::io;
use std::path::PathBuf;

use s3s::{S3Error, S3ErrorCode, s3_error};

/// A refusal or failure of the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the bucket does not exist")]
    NoSuchBucket,
    #[error("the bucket still holds objects")]
    BucketNotEmpty,
    #[error("the key does not exist")]
    NoSuchKey,
    #[error("the key exists already, and the request is conditional (If-None-Match: *)")]
    KeyExists,
    #[error("the key {0}, which a store over a directory can't hold")]
    BadKey(&'static str),
    #[error("a path segment of the key is longer than 255 bytes")]
    SegmentTooLong,
    #[error(
        "a part of the key's path is an object itself; a store over a directory can't hold both"
    )]
    ParentIsKey,
    #[error("the key is the path of other objects; a store over a directory can't hold both")]
    KeyIsFolder,
    #[error("the user metadata holds {bytes} bytes; 2048 are allowed")]
    MetadataTooLarge { bytes: usize },
    #[error("the multipart upload does not exist; it was completed, aborted, or never created")]
    NoSuchUpload,
    #[error("part {number} was not uploaded, or its ETag or checksum differs from the one named")]
    BadPart { number: i32 },
    #[error("the parts are not named in ascending order")]
    PartOrder,
    #[error("part {number} holds {bytes} bytes; every part but the last must hold at least 5 MiB")]
    PartTooSmall { number: i32, bytes: u64 },
    #[error("the {algorithm} checksum of the whole object differs from the one named")]
    ChecksumMismatch { algorithm: &'static str },
    #[error("folder {} was removed again and again while an object was put into it", folder.display())]
    FolderVanished { folder: PathBuf },
    #[error(
        "{} has lost the attributes that S3 keeps about it; copy a data directory with `cp -a`",
        path.display()
    )]
    AttributesLost { path: PathBuf },
    #[error("{} lies on another file system; the data directory must be on one", folder.display())]
    TwoFileSystems { folder: PathBuf },
    #[error(
        "the file system has no extended attributes (user.*), where object metadata is kept; choose \
         a data directory on ext4, xfs, btrfs, zfs, apfs, or tmpfs of Linux 6.6 or later"
    )]
    NoAttributes { source: Box<StoreError> },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        let code = match &error {
            StoreError::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            StoreError::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
            StoreError::NoSuchKey => S3ErrorCode::NoSuchKey,
            StoreError::KeyExists => S3ErrorCode::PreconditionFailed,
            StoreError::BadKey(_) => S3ErrorCode::InvalidArgument,
            StoreError::SegmentTooLong => S3ErrorCode::KeyTooLongError,
            StoreError::ParentIsKey => return path_conflict("ObjectParentIsFile", message),
            StoreError::KeyIsFolder => return path_conflict("ExistingObjectIsDirectory", message),
            StoreError::MetadataTooLarge { .. } => S3ErrorCode::MetadataTooLarge,
            StoreError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            StoreError::BadPart { .. } => S3ErrorCode::InvalidPart,
            StoreError::PartOrder => S3ErrorCode::InvalidPartOrder,
            StoreError::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
            StoreError::ChecksumMismatch { .. } => S3ErrorCode::BadDigest,
            StoreError::FolderVanished { .. }
            | StoreError::AttributesLost { .. }
            | StoreError::TwoFileSystems { .. }
            | StoreError::NoAttributes { .. }
            | StoreError::Io(_) => {
                tracing::error!(error = %message, "the store can't serve a request");
                return s3_error!(error, InternalError, "{message}");
            }
        };
        S3Error::with_message(code, message)
    }
}

/// 409 with the codes that other servers over a directory use for it. It is no lost race: a client
/// that retries every 409 would retry for ever.
fn path_conflict(code: &'static str, message: String) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(hyper::StatusCode::CONFLICT);
    error
}
