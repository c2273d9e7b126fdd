//! Parts of objects on their way to the store while their chunks still fill.

use std::collections::BTreeMap;

use bytes::Bytes;
use chunk_ledger::{Opening, Partition};
use tokio::sync::watch;
use tracing::debug;

use super::{Event, Lane, Sink, SinkError, UploadId};
use crate::store::{Upload, UploadReport};

/// How a sealed chunk goes to the store.
pub(super) enum Sending {
    /// By one PUT, which is still to be made.
    InOnePiece(Bytes),
    /// By an upload to which every part was sent, and which is still to be completed.
    InParts(UploadId, Upload),
}

impl Sink {
    /// Sends the parts of the partition's open chunk that are full, and gives back the memory that
    /// the chunk needs no more.
    pub(super) fn send_parts(&mut self, partition: Partition) -> Result<(), SinkError> {
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
        let Some(opening) = lane.ledger.opening() else { return Ok(()) };
        let parts = lane.take_parts()?;
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        self.budget.send_part(partition, bytes, lane.reserved_bytes());
        if parts.is_empty() {
            return Ok(());
        }
        let swept = lane.swept.clone();
        let (id, upload) = match lane.upload.take() {
            Some(upload) => upload,
            None => self.begin_upload(&opening, swept),
        };
        parts.into_iter().for_each(|part| upload.send(part));
        if let Some(lane) = self.lanes.get_mut(&partition) {
            lane.upload = Some((id, upload));
        }
        Ok(())
    }

    /// The same for every open chunk of which a row group is encoded elsewhere, if that is done.
    pub(super) fn take_encoded(&mut self) -> Result<(), SinkError> {
        let is_encoding = |(_, lane): &(&Partition, &Lane)| lane.is_encoding();
        let encoding = self.lanes.iter().filter(is_encoding).map(|(partition, _)| *partition);
        for partition in encoding.collect::<Vec<_>>() {
            self.send_parts(partition)?;
        }
        Ok(())
    }

    /// Sends the last parts of a sealed chunk, if it is stored in parts: because some were sent
    /// before, or because closing it made it larger than one.
    pub(super) fn send_rest(
        &mut self,
        opening: &Opening,
        begun: Option<(UploadId, Upload)>,
        mut rest: Vec<Bytes>,
        swept: watch::Receiver<()>,
    ) -> Sending {
        let (id, upload) = match begun {
            Some(begun) => begun,
            None if rest.len() > 1 => self.begin_upload(opening, swept),
            None => return Sending::InOnePiece(rest.pop().unwrap_or_default()),
        };
        rest.into_iter().for_each(|part| upload.send(part));
        Sending::InParts(id, upload)
    }

    fn begin_upload(
        &mut self,
        opening: &Opening,
        swept: watch::Receiver<()>,
    ) -> (UploadId, Upload) {
        self.uploads_begun += 1;
        let (id, events, partition) =
            (UploadId(self.uploads_begun), self.events(), opening.partition);
        debug!(%partition, start = %opening.start, "the chunk is stored in parts");
        let report = move |report| {
            // With the loop gone nobody wants the report.
            let _ = events.send(match report {
                UploadReport::PartStored(bytes) => {
                    Event::PartStored { partition, upload: id, bytes }
                }
                UploadReport::Lost => Event::UploadLost { partition, upload: id },
            });
        };
        (id, self.store.begin_upload(opening, swept, report))
    }

    pub(super) fn on_part_stored(&mut self, partition: Partition, upload: UploadId, bytes: u64) {
        let Some(lane) = self.lanes.get(&partition) else { return };
        if lane.upload.as_ref().is_some_and(|(open, _)| *open == upload) {
            self.budget.release_part(partition, bytes);
        } else if lane.storing.as_ref().is_some_and(|storing| storing.upload == Some(upload)) {
            self.budget.release_storing_part(partition, bytes);
        }
        // Else it is of a chunk that was given up, and its bytes with it.
    }

    /// The open chunk can't be stored any more: its messages are read again. A sealed chunk hears
    /// the same from its completion.
    pub(super) fn on_upload_lost(
        &mut self,
        partition: Partition,
        upload: UploadId,
    ) -> Result<(), SinkError> {
        let Some(lane) = self.lanes.get_mut(&partition) else { return Ok(()) };
        if lane.upload.as_ref().is_some_and(|(open, _)| *open == upload) {
            lane.ledger.lose_open();
        }
        self.pump(partition)
    }

    /// Removes what earlier owners of the partitions left of their uploads. What is returned for a
    /// partition is closed when that is over; without it, nothing is removed there any more.
    pub(super) fn sweep_uploads(
        &self,
        partitions: impl Iterator<Item = Partition>,
    ) -> BTreeMap<Partition, watch::Receiver<()>> {
        let (mut owned, mut swept) = (BTreeMap::new(), BTreeMap::new());
        for partition in partitions {
            let (sweeping, done) = watch::channel(());
            owned.insert(partition, sweeping);
            swept.insert(partition, done);
        }
        let store = self.store.clone();
        tokio::spawn(async move { store.abort_stale_uploads(owned).await });
        swept
    }
}
