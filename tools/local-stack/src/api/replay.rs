//! Recorded responses from a folder, one after the other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::HeaderValue;
use bytes::Bytes;

/// Why a folder can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The folder or a file in it can't be read.
    #[error("recorded responses can't be read from {}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is nothing to replay.
    #[error("{} holds no *.json file to replay", folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
    },
    /// The name goes into a header.
    #[error("the name of {} can't be sent in a header; use visible ASCII characters", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
}

/// The `*.json` files of a folder in the order of their names, without end.
#[derive(Debug)]
pub(super) struct Replay {
    files: Vec<(HeaderValue, Bytes)>,
    served: AtomicUsize,
}

impl Replay {
    /// Reads the folder once; later changes to it are not seen.
    pub(super) fn open(folder: &Path) -> Result<Self, ReplayError> {
        let read_error = |path: &Path| {
            let path = path.to_owned();
            move |source| ReplayError::Read { path, source }
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(read_error(folder))? {
            let path = entry.map_err(read_error(folder))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return Err(ReplayError::Empty { folder: folder.to_owned() });
        }
        paths.sort();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let body = fs::read(&path).map_err(read_error(&path))?;
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(name) = HeaderValue::from_str(name) else {
                return Err(ReplayError::Name { path });
            };
            files.push((name, Bytes::from(body)));
        }
        Ok(Self { files, served: AtomicUsize::new(0) })
    }

    /// The next file's name and bytes.
    pub(super) fn next_file(&self) -> (HeaderValue, Bytes) {
        let served = self.served.fetch_add(1, Ordering::Relaxed);
        self.files[served % self.files.len()].clone()
    }
}
