//! Multipart uploads: each a folder of part files, joined into one staged file on completion.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::time::SystemTime;

use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    ObjectAttributes, ObjectStore, Publish, StagedFile, StoreError, is_absent, sync_folder,
};
use crate::s3::checksum::{Algorithm, Checksums, hex};

/// S3's lower bound for every part but the last.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

const COPY_BUFFER_BYTES: usize = 256 * 1024;

/// What `CreateMultipartUpload` said about the object to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadDescription {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// The object's attributes, still without ETag and checksums.
    pub(crate) attributes: ObjectAttributes,
    /// The checksum announced for the parts.
    pub(crate) algorithm: Option<Algorithm>,
    /// Whether the object's checksum covers its bytes (`FULL_OBJECT`), else its parts' checksums.
    pub(crate) full_object: bool,
}

/// An upload in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) id: String,
    pub(crate) initiated: SystemTime,
    pub(crate) description: UploadDescription,
}

/// A part that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredPart {
    pub(crate) number: i32,
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
    /// ETag and checksums of the part.
    pub(crate) attributes: ObjectAttributes,
}

/// A part as `CompleteMultipartUpload` names it.
#[derive(Clone, Debug)]
pub(crate) struct CompletedPart {
    pub(crate) number: i32,
    pub(crate) etag: Option<String>,
    pub(crate) checksums: Checksums,
}

impl ObjectStore {
    /// Starts an upload and returns its id.
    pub(crate) fn create_upload(
        &self,
        description: &UploadDescription,
    ) -> Result<String, StoreError> {
        self.object_path(&description.bucket, &description.key)?;
        self.require_bucket(&description.bucket)?;
        let id = Uuid::new_v4().simple().to_string();
        let staged = self.staging.join(&id);
        fs::create_dir(&staged)?;
        let json = serde_json::to_vec(description).map_err(io::Error::from)?;
        fs::write(staged.join("upload.json"), json)?;
        fs::rename(&staged, self.uploads.join(&id))?;
        sync_folder(&self.uploads)?;
        Ok(id)
    }

    /// The upload `id`, which must belong to `bucket`/`key`.
    pub(crate) fn upload(&self, bucket: &str, key: &str, id: &str) -> Result<Upload, StoreError> {
        let upload = self.read_upload(id)?;
        let description = &upload.description;
        if description.bucket == bucket && description.key == key {
            Ok(upload)
        } else {
            Err(StoreError::NoSuchUpload)
        }
    }

    /// Every upload into a bucket, by key and id.
    pub(crate) fn uploads(&self, bucket: &str) -> Result<Vec<Upload>, StoreError> {
        self.require_bucket(bucket)?;
        let mut uploads = Vec::new();
        for entry in fs::read_dir(&self.uploads)? {
            let Ok(id) = entry?.file_name().into_string() else { continue };
            match self.read_upload(&id) {
                Ok(upload) if upload.description.bucket == bucket => uploads.push(upload),
                Ok(_) | Err(StoreError::NoSuchUpload) => {}
                Err(error) => return Err(error),
            }
        }
        let order = |upload: &Upload| (upload.description.key.clone(), upload.id.clone());
        uploads.sort_by_key(order);
        Ok(uploads)
    }

    /// Takes a staged file as part `number`, in place of an earlier one.
    pub(crate) fn put_part(
        &self,
        upload: &Upload,
        number: i32,
        staged: StagedFile,
        attributes: &ObjectAttributes,
    ) -> Result<(), StoreError> {
        attributes.write(&staged.file)?;
        staged.file.sync_all()?;
        match fs::rename(&staged.path, self.part_path(&upload.id, number)) {
            Err(error) if is_absent(&error) => Err(StoreError::NoSuchUpload),
            other => Ok(other?),
        }
    }

    /// The parts received so far, by number.
    pub(crate) fn parts(&self, upload: &Upload) -> Result<Vec<StoredPart>, StoreError> {
        let mut parts = Vec::new();
        for entry in fs::read_dir(self.upload_dir(&upload.id)?)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("part-")?.parse().ok());
            if let Some(number) = number {
                parts.push(self.open_part(&upload.id, number)?.1);
            }
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    /// Joins the named parts into the object and forgets the upload. On an error, a lost race
    /// included, the upload stays.
    pub(crate) fn complete_upload(
        &self,
        upload: &Upload,
        named: &[CompletedPart],
        whole: &Checksums,
        publish: Publish,
    ) -> Result<ObjectAttributes, StoreError> {
        if !named.is_sorted_by(|a, b| a.number < b.number) {
            return Err(StoreError::PartOrder);
        }
        let mut parts = Vec::with_capacity(named.len());
        for part in named {
            parts.push(self.open_named_part(&upload.id, part)?);
        }
        for (_, part) in parts.iter().rev().skip(1) {
            if part.bytes < PART_BYTES_MIN {
                return Err(StoreError::PartTooSmall { number: part.number, bytes: part.bytes });
            }
        }
        let description = &upload.description;
        let mut staged = self.stage()?;
        let full_object = description.full_object.then_some(description.algorithm).flatten();
        let full = join_parts(&mut parts, &mut staged.file, full_object)?;
        let stored: Vec<StoredPart> = parts.into_iter().map(|(_, part)| part).collect();
        let attributes = ObjectAttributes {
            etag: multipart_etag(&stored)?,
            checksums: full.unwrap_or_else(|| composite(&stored)),
            ..description.attributes.clone()
        };
        if let Some(algorithm) = whole.first_difference(&attributes.checksums) {
            return Err(StoreError::ChecksumMismatch { algorithm: algorithm.name() });
        }
        self.publish(staged, &attributes, &description.bucket, &description.key, publish)?;
        self.abort_upload(upload)?;
        Ok(attributes)
    }

    /// Forgets an upload and its parts.
    pub(crate) fn abort_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        match fs::remove_dir_all(self.upload_dir(&upload.id)?) {
            // A second completion or abort of the same upload was faster.
            Err(error) if is_absent(&error) => Ok(()),
            other => Ok(other?),
        }
    }

    fn read_upload(&self, id: &str) -> Result<Upload, StoreError> {
        let path = self.upload_dir(id)?.join("upload.json");
        let json = match fs::read(&path) {
            Err(error) if is_absent(&error) => return Err(StoreError::NoSuchUpload),
            other => other?,
        };
        Ok(Upload {
            id: id.to_owned(),
            initiated: fs::metadata(&path)?.modified()?,
            description: serde_json::from_slice(&json).map_err(io::Error::from)?,
        })
    }

    fn open_named_part(
        &self,
        id: &str,
        named: &CompletedPart,
    ) -> Result<(File, StoredPart), StoreError> {
        let bad = || StoreError::BadPart { number: named.number };
        let (file, part) = match self.open_part(id, named.number) {
            Err(StoreError::Io(error)) if is_absent(&error) => return Err(bad()),
            other => other?,
        };
        let same_etag = named.etag.as_ref().is_none_or(|etag| *etag == part.attributes.etag);
        if same_etag && named.checksums.first_difference(&part.attributes.checksums).is_none() {
            Ok((file, part))
        } else {
            Err(bad())
        }
    }

    fn open_part(&self, id: &str, number: i32) -> Result<(File, StoredPart), StoreError> {
        let path = self.part_path(id, number);
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        let part = StoredPart {
            number,
            bytes: metadata.len(),
            modified: metadata.modified()?,
            attributes: ObjectAttributes::read(&file, &path)?,
        };
        Ok((file, part))
    }

    /// The folder of an upload. An id comes from a client: only what this store hands out passes.
    fn upload_dir(&self, id: &str) -> Result<PathBuf, StoreError> {
        match Uuid::try_parse(id) {
            Ok(parsed) if parsed.simple().to_string() == id => Ok(self.uploads.join(id)),
            _ => Err(StoreError::NoSuchUpload),
        }
    }

    fn part_path(&self, id: &str, number: i32) -> PathBuf {
        self.uploads.join(id).join(format!("part-{number:05}"))
    }
}

/// Appends the parts to `target`; with an algorithm, returns the checksum of all their bytes.
fn join_parts(
    parts: &mut [(File, StoredPart)],
    target: &mut File,
    algorithm: Option<Algorithm>,
) -> Result<Option<Checksums>, StoreError> {
    let mut hasher = ChecksumHasher::default();
    if let Some(algorithm) = algorithm {
        algorithm.enable(&mut hasher);
    }
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    for (file, _) in parts {
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            target.write_all(&buffer[..read])?;
        }
    }
    Ok(algorithm.map(|_| Checksums::full_object(hasher.finalize())))
}

/// S3's ETag of a multipart object: the MD5 of the parts' MD5s, and the number of parts.
fn multipart_etag(parts: &[StoredPart]) -> Result<String, StoreError> {
    let mut md5 = Md5::new();
    for part in parts {
        // 32 hexadecimal digits are the 16 bytes of the digest.
        let digest = u128::from_str_radix(&part.attributes.etag, 16)
            .map_err(|_| StoreError::BadPart { number: part.number })?;
        md5.update(&digest.to_be_bytes());
    }
    Ok(format!("{}-{}", hex(md5.finalize()), parts.len()))
}

/// The checksum of the parts' checksums, for each algorithm that every part carries.
fn composite(parts: &[StoredPart]) -> Checksums {
    let parts: Vec<&Checksums> = parts.iter().map(|part| &part.attributes.checksums).collect();
    Checksums::composite(&parts)
}
