//! An object too large to be held: only what is looked at is fetched, piece by piece.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

use crate::store::{Store, StoreError};

/// What is fetched where nobody says how much is wanted.
const PIECE_BYTES: u64 = 64 << 10;

/// Bytes that Parquet is read from.
pub(super) trait Source: ChunkReader<T = Reader<Bytes>> + Clone + 'static {
    /// `range` is read next, and in small parts.
    fn prefetch(&self, range: Range<u64>) -> Result<()>;
}

impl Source for Bytes {
    fn prefetch(&self, _: Range<u64>) -> Result<()> {
        Ok(())
    }
}

/// An object in the store. Reading it blocks on requests, so it is no work for the runtime's own
/// threads. Clones share what they have fetched.
#[derive(Debug, Clone)]
pub(super) struct RemoteObject {
    store: Store,
    key: String,
    bytes: u64,
    runtime: Handle,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The last piece fetched: where it begins, and its bytes.
    piece: (u64, Bytes),
    /// Parquet's errors can't carry it.
    failure: Option<StoreError>,
}

impl RemoteObject {
    /// The object at `key`, which has so many bytes. Must be called inside a runtime.
    pub(super) fn new(store: Store, key: String, bytes: u64) -> Self {
        Self { store, key, bytes, runtime: Handle::current(), state: Arc::default() }
    }

    /// Why the store could not be asked, if that is why the object could not be read.
    pub(super) fn take_failure(&self) -> Option<StoreError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failure.take()
    }

    /// The bytes from `start` on, at least `length` of them.
    fn piece(&self, start: u64, length: u64) -> Result<Bytes> {
        let end = start.checked_add(length).filter(|end| *end <= self.bytes).ok_or_else(|| {
            let bytes = self.bytes;
            ParquetError::EOF(format!("{length} bytes at {start} are wanted, of {bytes}"))
        })?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = state.held(start).filter(|held| held.len() as u64 >= length) {
            return Ok(held);
        }
        let fetched = self.runtime.block_on(self.store.get_range(&self.key, start..end));
        let problem = match fetched {
            Ok(Some(bytes)) if bytes.len() as u64 == length => {
                state.piece = (start, bytes.clone());
                return Ok(bytes);
            }
            Ok(Some(bytes)) => format!("{} bytes came, not {length}", bytes.len()),
            Ok(None) => "it is gone".to_owned(),
            Err(failure) => {
                let problem = failure.to_string();
                state.failure = Some(failure);
                problem
            }
        };
        Err(ParquetError::General(problem))
    }
}

impl State {
    /// The bytes held from `start` on; `None` if there are none.
    fn held(&self, start: u64) -> Option<Bytes> {
        let (from, bytes) = &self.piece;
        let skipped = usize::try_from(start.checked_sub(*from)?).ok()?;
        (skipped < bytes.len()).then(|| bytes.slice(skipped..))
    }
}

impl Source for RemoteObject {
    fn prefetch(&self, range: Range<u64>) -> Result<()> {
        self.piece(range.start, range.end.saturating_sub(range.start)).map(drop)
    }
}

impl Length for RemoteObject {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for RemoteObject {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let held = self.state.lock().unwrap_or_else(PoisonError::into_inner).held(start);
        match held {
            Some(held) => Ok(held.reader()),
            None => {
                let left = self.bytes.saturating_sub(start);
                Ok(self.piece(start, PIECE_BYTES.min(left))?.reader())
            }
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        Ok(self.piece(start, length as u64)?.slice(..length))
    }
}
