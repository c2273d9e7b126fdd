//! Objects as plain files below a directory, created atomically.
//!
//! ```text
//! DATA/s3/BUCKET/KEY              the objects: nothing else ever lies here
//! DATA/s3-staging/ID              what is being written
//! DATA/s3-uploads/ID/             one multipart upload: upload.json, part-00001, …
//! ```
//!
//! A write goes to the staging folder, gets its attributes (extended attributes of the file), is
//! synced, and is then published by one system call: `link` for a conditional create, which fails if
//! the key exists, or `rename` to replace. The winner of a race is therefore whoever's link came
//! first, and its metadata came with the same inode. Because the kernel decides, this holds across
//! processes, and a kill -9 leaves at worst a staged file that nobody sees.

mod attributes;
mod error;
mod listing;
mod multipart;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use uuid::Uuid;

pub(crate) use self::attributes::ObjectAttributes;
pub(crate) use self::error::StoreError;
pub(crate) use self::listing::{After, Entry, ListRequest, Listing};
pub(crate) use self::multipart::{CompletedPart, UploadDescription};

/// Most file systems limit one path segment to this many bytes.
const SEGMENT_BYTES_MAX: usize = 255;

/// How often a create may meet a folder that a delete has just pruned.
const PUBLISH_ATTEMPTS_MAX: u32 = 64;

/// What to do when the key exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    /// Refuse: the key must be new (`If-None-Match: *`).
    Create,
    /// Replace the object.
    Replace,
}

/// A store below one data directory. Cheap calls that block on the disk.
#[derive(Clone, Debug)]
pub(crate) struct ObjectStore {
    objects: PathBuf,
    staging: PathBuf,
    uploads: PathBuf,
}

/// An object opened for reading: content and attributes belong together, whatever happens to the key.
#[derive(Debug)]
pub(crate) struct StoredObject {
    pub(crate) file: File,
    pub(crate) attributes: ObjectAttributes,
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
}

impl ObjectStore {
    /// The folder that holds the objects of a data directory.
    pub(crate) fn objects_dir(data_dir: &Path) -> PathBuf {
        data_dir.join("s3")
    }

    /// Opens the store, makes its folders, throws away what a crash left in the staging folder, and
    /// checks that the file system can do what the store needs.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let store = Self {
            objects: Self::objects_dir(data_dir),
            staging: data_dir.join("s3-staging"),
            uploads: data_dir.join("s3-uploads"),
        };
        for folder in [&store.objects, &store.staging, &store.uploads] {
            fs::create_dir_all(folder)?;
        }
        store.clear_staging()?;
        store.check_file_system()?;
        Ok(store)
    }

    /// A new file in the staging folder, removed again unless it is published.
    pub(crate) fn stage(&self) -> Result<StagedFile, StoreError> {
        let path = self.staging.join(Uuid::new_v4().simple().to_string());
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(StagedFile { path, file })
    }

    /// Makes a staged file the object `bucket`/`key`, with `attributes`, in one step.
    pub(crate) fn publish(
        &self,
        staged: StagedFile,
        attributes: &ObjectAttributes,
        bucket: &str,
        key: &str,
        publish: Publish,
    ) -> Result<(), StoreError> {
        let target = self.object_path(bucket, key)?;
        let bucket_dir = self.require_bucket(bucket)?;
        let parent = target.parent().unwrap_or(&bucket_dir);
        attributes.write(&staged.file)?;
        staged.file.sync_all()?;
        for _ in 0..PUBLISH_ATTEMPTS_MAX {
            create_folders(&bucket_dir, parent)?;
            let published = match publish {
                Publish::Create => fs::hard_link(&staged.path, &target),
                Publish::Replace => fs::rename(&staged.path, &target),
            };
            match published {
                Ok(()) => return Ok(sync_folder(parent)?),
                // A delete of the last neighbour pruned the folder meanwhile: make it again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) if target.is_dir() => return Err(StoreError::KeyIsFolder),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(StoreError::KeyExists);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::FolderVanished { folder: parent.to_owned() })
    }

    /// Opens an object.
    pub(crate) fn get(&self, bucket: &str, key: &str) -> Result<StoredObject, StoreError> {
        let path = self.object_path(bucket, key)?;
        self.require_bucket(bucket)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Err(StoreError::NoSuchKey),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(StoreError::NoSuchKey);
        }
        let attributes = ObjectAttributes::read(&file, &path)?;
        Ok(StoredObject { attributes, bytes: metadata.len(), modified: metadata.modified()?, file })
    }

    /// Removes an object, and the folders that it leaves empty. An absent key is no error, as in S3.
    pub(crate) fn delete(&self, bucket: &str, key: &str) -> Result<(), StoreError> {
        let path = self.object_path(bucket, key)?;
        let bucket_dir = self.require_bucket(bucket)?;
        if path.is_dir() {
            return Ok(());
        }
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != bucket_dir) {
            // Not empty, or already gone: both end the pruning, neither is a failure of the delete.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Makes a bucket; `false` if it is there already.
    pub(crate) fn create_bucket(&self, bucket: &str) -> Result<bool, StoreError> {
        match fs::create_dir(self.objects.join(bucket)) {
            Ok(()) => {
                sync_folder(&self.objects)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an empty bucket.
    pub(crate) fn delete_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        match fs::remove_dir(self.require_bucket(bucket)?) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                Err(StoreError::BucketNotEmpty)
            }
            other => Ok(other?),
        }
    }

    /// The folder of an existing bucket.
    pub(crate) fn require_bucket(&self, bucket: &str) -> Result<PathBuf, StoreError> {
        let path = self.objects.join(bucket);
        if path.is_dir() { Ok(path) } else { Err(StoreError::NoSuchBucket) }
    }

    /// Every bucket with the time of its last change, by name.
    pub(crate) fn buckets(&self) -> Result<Vec<(String, SystemTime)>, StoreError> {
        let mut buckets = Vec::new();
        for entry in fs::read_dir(&self.objects)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_dir(), entry.file_name().into_string()) {
                buckets.push((name, metadata.modified()?));
            }
        }
        buckets.sort();
        Ok(buckets)
    }

    /// Where the object lies. Refuses every key that could leave its bucket's folder or that the
    /// file system can't hold.
    fn object_path(&self, bucket: &str, key: &str) -> Result<PathBuf, StoreError> {
        let mut path = self.objects.join(bucket);
        for segment in key.split('/') {
            match segment {
                "" => return Err(StoreError::BadKey("has an empty path segment")),
                "." | ".." => return Err(StoreError::BadKey("has the path segment `.` or `..`")),
                _ if segment.contains('\0') => return Err(StoreError::BadKey("holds a NUL")),
                _ if segment.len() > SEGMENT_BYTES_MAX => return Err(StoreError::SegmentTooLong),
                _ => path.push(segment),
            }
        }
        Ok(path)
    }

    fn clear_staging(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.staging)? {
            let entry = entry?;
            tracing::info!(path = %entry.path().display(), "removing what a crash left half written");
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn check_file_system(&self) -> Result<(), StoreError> {
        let device = |folder: &Path| fs::metadata(folder).map(|metadata| metadata.dev());
        for folder in [&self.objects, &self.uploads] {
            if device(folder)? != device(&self.staging)? {
                return Err(StoreError::TwoFileSystems { folder: folder.clone() });
            }
        }
        let staged = self.stage()?;
        ObjectAttributes::default()
            .write(&staged.file)
            .map_err(|source| StoreError::NoAttributes { source: Box::new(source) })
    }
}

/// A file in the staging folder that nobody else sees. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct StagedFile {
    path: PathBuf,
    pub(crate) file: File,
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            // Renamed into place.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "staged file left behind");
            }
        }
    }
}

/// Makes `folder` and what is missing between it and `bucket_dir`, each synced into its parent, but
/// never the bucket itself.
fn create_folders(bucket_dir: &Path, folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent().filter(|_| folder != bucket_dir) else {
        return Err(StoreError::NoSuchBucket);
    };
    create_folders(bucket_dir, parent)?;
    match fs::create_dir(folder) {
        Ok(()) => Ok(sync_folder(parent)?),
        // Another writer was faster. (Pruned again at once: the caller's next try makes it.)
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !folder.is_file() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::ParentIsKey),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes a folder's entries durable. A folder pruned meanwhile has none.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether an error means that no such file exists (also when a parent is an object).
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests;
