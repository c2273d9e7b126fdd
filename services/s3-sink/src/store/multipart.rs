//! The requests of an upload in parts, one function each; nothing here repeats anything.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::{CONTENT_TYPE, Put, RequestError, Store, patience, request_error};

/// A store that joins parts by copying them may need as long as this rate takes.
const JOIN_BYTES_PER_SECOND_MIN: u64 = 4 << 20;

/// An upload that the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UploadName {
    /// The object's key.
    pub(super) key: String,
    /// The store's name for it.
    pub(super) id: String,
}

impl Store {
    /// Begins the upload of an object. Its metadata must be given now.
    pub(super) async fn begin_parts(
        &self,
        key: &str,
        metadata: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<UploadName, RequestError> {
        const OPERATION: &str = "CREATE MULTIPART UPLOAD of";
        let mut request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .content_type(CONTENT_TYPE)
            // Some stores refuse a completion unless the checksum is named here, with each part,
            // and when the parts are joined.
            .checksum_algorithm(ChecksumAlgorithm::Crc32);
        for (name, value) in metadata {
            request = request.metadata(name, value);
        }
        let begun = request.send().await.map_err(|error| request_error(OPERATION, key, &error))?;
        let no_id = || RequestError {
            operation: OPERATION,
            key: key.to_owned(),
            code: None,
            status: None,
            detail: "the answer has no upload id".to_owned(),
        };
        let id = begun.upload_id.ok_or_else(no_id)?;
        Ok(UploadName { key: key.to_owned(), id })
    }

    /// Stores part `number`, counted from 1.
    pub(super) async fn put_part(
        &self,
        upload: &UploadName,
        number: i32,
        body: Bytes,
    ) -> Result<CompletedPart, RequestError> {
        let patience = patience(body.len() as u64);
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(body));
        let stored = request
            .customize()
            .config_override(patience)
            .send()
            .await
            .map_err(|error| request_error("UPLOAD PART of", &upload.key, &error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(stored.e_tag)
            .set_checksum_crc32(stored.checksum_crc32)
            .build())
    }

    /// Joins the parts, `bytes` together, to the object, on condition that there is none at its
    /// key.
    pub(super) async fn join_parts(
        &self,
        upload: &UploadName,
        parts: &[CompletedPart],
        bytes: u64,
    ) -> Result<Put, RequestError> {
        let joined = CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .multipart_upload(joined)
            .if_none_match("*");
        let patience = super::patience_of(Duration::from_secs(bytes / JOIN_BYTES_PER_SECOND_MIN));
        match request.customize().config_override(patience).send().await {
            Ok(_) => Ok(Put::Created),
            Err(error) => {
                match request_error("COMPLETE MULTIPART UPLOAD of", &upload.key, &error) {
                    RequestError { status: Some(412), .. } => Ok(Put::Exists),
                    error => Err(error),
                }
            }
        }
    }

    /// Removes an upload and its parts; false if there was none.
    pub(super) async fn remove_parts(&self, upload: &UploadName) -> Result<bool, RequestError> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket);
        match request.key(&upload.key).upload_id(&upload.id).send().await {
            Ok(_) => Ok(true),
            Err(error) => match request_error("ABORT MULTIPART UPLOAD of", &upload.key, &error) {
                error if error.is_no_such_upload() => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Every upload below `prefix` that is neither completed nor removed.
    pub(super) async fn list_parts_begun(
        &self,
        prefix: &str,
    ) -> Result<Vec<UploadName>, RequestError> {
        let mut uploads = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let request = self
                .client
                .list_multipart_uploads()
                .bucket(&self.bucket)
                .prefix(prefix)
                .set_key_marker(key_marker)
                .set_upload_id_marker(id_marker);
            let page = request
                .send()
                .await
                .map_err(|error| request_error("LIST MULTIPART UPLOADS below", prefix, &error))?;
            uploads.extend(
                page.uploads.into_iter().flatten().filter_map(|upload| {
                    Some(UploadName { key: upload.key?, id: upload.upload_id? })
                }),
            );
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
            if page.is_truncated != Some(true) || key_marker.is_none() {
                return Ok(uploads);
            }
        }
    }
}
