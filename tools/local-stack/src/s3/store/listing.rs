//! Listing: a walk over a bucket's folder in the order of S3, that is by the bytes of the whole key.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::SystemTime;

use super::{ObjectStore, StoreError, is_absent};

/// Where a page starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Behind this key (everything, for an empty one).
    Key(String),
    /// Behind every key that starts with this common prefix.
    CommonPrefix(String),
}

/// One page wanted.
#[derive(Clone, Debug)]
pub(crate) struct ListRequest {
    pub(crate) prefix: String,
    pub(crate) delimiter: Option<String>,
    pub(crate) after: After,
    pub(crate) entries_max: usize,
}

/// An object, or the keys that share a prefix up to the delimiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Object { key: String, bytes: u64, modified: SystemTime, etag: String },
    CommonPrefix(String),
}

/// One page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
    /// Set if there is more: where the next page starts.
    pub(crate) next: Option<After>,
}

impl ObjectStore {
    /// Lists a page of a bucket.
    pub(crate) fn list(&self, bucket: &str, request: ListRequest) -> Result<Listing, StoreError> {
        let bucket_dir = self.require_bucket(bucket)?;
        if request.entries_max == 0 {
            return Ok(Listing::default());
        }
        let mut page = Page { store: self, bucket, request, listing: Listing::default() };
        // Stopped early or not, the page is what was collected.
        let _: ControlFlow<()> = walk(&bucket_dir, "", &mut page)?;
        Ok(page.listing)
    }
}

struct Page<'a> {
    store: &'a ObjectStore,
    bucket: &'a str,
    request: ListRequest,
    listing: Listing,
}

impl Page<'_> {
    /// Whether a folder (its keys all start with `folder`) can hold anything for this page.
    fn enters(&self, folder: &str) -> bool {
        let prefix = self.request.prefix.as_str();
        let leads_to_prefix = folder.starts_with(prefix) || prefix.starts_with(folder);
        let is_behind = match &self.request.after {
            After::Key(key) => folder > key.as_str() || key.starts_with(folder),
            After::CommonPrefix(common) => {
                !folder.starts_with(common) && folder > common.as_str()
                    || common.starts_with(folder) && folder != common
            }
        };
        leads_to_prefix && is_behind && !self.is_in_last_common_prefix(folder)
    }

    /// Takes one key, in order.
    fn take(&mut self, key: String) -> Result<ControlFlow<()>, StoreError> {
        let is_behind = match &self.request.after {
            After::Key(after) => key > *after,
            After::CommonPrefix(common) => key > *common && !key.starts_with(common),
        };
        if !is_behind
            || !key.starts_with(&self.request.prefix)
            || self.is_in_last_common_prefix(&key)
        {
            return Ok(ControlFlow::Continue(()));
        }
        if self.listing.entries.len() == self.request.entries_max {
            self.listing.next = self.listing.entries.last().map(|last| match last {
                Entry::Object { key, .. } => After::Key(key.clone()),
                Entry::CommonPrefix(common) => After::CommonPrefix(common.clone()),
            });
            return Ok(ControlFlow::Break(()));
        }
        match self.common_prefix(&key) {
            Some(common) => self.listing.entries.push(Entry::CommonPrefix(common)),
            None => match self.store.get(self.bucket, &key) {
                Ok(object) => self.listing.entries.push(Entry::Object {
                    key,
                    bytes: object.bytes,
                    modified: object.modified,
                    etag: object.attributes.etag,
                }),
                // Deleted since the folder was read.
                Err(StoreError::NoSuchKey) => {}
                Err(error) => return Err(error),
            },
        }
        Ok(ControlFlow::Continue(()))
    }

    fn common_prefix(&self, key: &str) -> Option<String> {
        let delimiter = self.request.delimiter.as_deref()?;
        let start = self.request.prefix.len();
        let end = start + key[start..].find(delimiter)? + delimiter.len();
        Some(key[..end].to_owned())
    }

    fn is_in_last_common_prefix(&self, key: &str) -> bool {
        matches!(self.listing.entries.last(), Some(Entry::CommonPrefix(last)) if key.starts_with(last))
    }
}

/// Visits every object below `folder`, whose keys start with `key_prefix`, in the order of the keys.
fn walk(
    folder: &Path,
    key_prefix: &str,
    page: &mut Page<'_>,
) -> Result<ControlFlow<()>, StoreError> {
    for key in children(folder, key_prefix)? {
        let flow = if !key.ends_with('/') {
            page.take(key)?
        } else if page.enters(&key) {
            walk(&folder.join(&key[key_prefix.len()..key.len() - 1]), &key, page)?
        } else {
            ControlFlow::Continue(())
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The keys of a folder's files, and its sub-folders with a `/` behind them. Sorted as they are, a
/// sub-folder comes where its keys come: `a-b` before `a/` before `a0`.
fn children(folder: &Path, key_prefix: &str) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Pruned by a delete since its parent was read.
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut keys = Vec::new();
    for entry in entries {
        let entry = entry?;
        let file_type = match entry.file_type() {
            Ok(file_type) => file_type,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        // Keys are UTF-8, so another name can't be one of ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if file_type.is_dir() {
            keys.push(format!("{key_prefix}{name}/"));
        } else if file_type.is_file() {
            keys.push(format!("{key_prefix}{name}"));
        }
    }
    keys.sort_unstable();
    Ok(keys)
}
