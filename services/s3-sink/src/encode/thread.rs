//! A second core for row groups: a thread that encodes one while the caller goes on with the next.

use std::io;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;

use arrow::array::RecordBatch;

use super::{EncodeError, ObjectWriter};

/// The thread, for all chunks. It ends when the last of its handles is gone.
#[derive(Debug, Clone)]
pub struct EncodingThread {
    /// Without room for a job that waits: memory is bounded by what is encoded at once.
    jobs: SyncSender<Job>,
}

/// A row group to be encoded, and where its writer goes when that is done.
#[derive(Debug)]
struct Job {
    writer: ObjectWriter,
    batch: RecordBatch,
    done: SyncSender<Result<ObjectWriter, EncodeError>>,
}

/// A writer that is at the thread.
#[derive(Debug)]
pub(super) struct Away(Receiver<Result<ObjectWriter, EncodeError>>);

impl EncodingThread {
    /// Starts it; `None` where there is but one core, to which it would bring nothing.
    pub fn start() -> io::Result<Option<Self>> {
        if thread::available_parallelism().is_ok_and(|cores| cores == NonZero::<usize>::MIN) {
            return Ok(None);
        }
        Self::spawn().map(Some)
    }

    /// Starts it, however many cores there are.
    pub(super) fn spawn() -> io::Result<Self> {
        let (jobs, next) = sync_channel::<Job>(0);
        thread::Builder::new().name("encode".to_owned()).spawn(move || {
            for Job { mut writer, batch, done } in next {
                let encoded = write_row_group(&mut writer, batch);
                // Of a chunk that was given up nobody wants it any more.
                let _ = done.send(encoded.map(|()| writer));
            }
        })?;
        Ok(Self { jobs })
    }

    /// Hands a row group over, or gives it back where the thread has one already.
    pub(super) fn encode(
        &self,
        writer: ObjectWriter,
        batch: RecordBatch,
    ) -> Result<Away, (ObjectWriter, RecordBatch)> {
        let (done, away) = sync_channel(1);
        match self.jobs.try_send(Job { writer, batch, done }) {
            Ok(()) => Ok(Away(away)),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                Err((job.writer, job.batch))
            }
        }
    }
}

impl Away {
    /// Waits until the writer is back.
    pub(super) fn wait(&self) -> Result<ObjectWriter, EncodeError> {
        self.0.recv().map_err(|_| EncodeError::Thread)?
    }

    /// The writer, if it is back.
    pub(super) fn poll(&self) -> Option<Result<ObjectWriter, EncodeError>> {
        match self.0.try_recv() {
            Ok(encoded) => Some(encoded),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(EncodeError::Thread)),
        }
    }
}

/// Encodes and compresses the rows as a row group of their own.
pub(super) fn write_row_group(
    writer: &mut ObjectWriter,
    batch: RecordBatch,
) -> Result<(), EncodeError> {
    writer.write(&batch)?;
    // The columns are in the pages now.
    drop(batch);
    Ok(writer.flush()?)
}
