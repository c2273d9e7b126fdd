//! Single objects: put, get, head, delete.

use std::io::SeekFrom;
use std::time::SystemTime;

use bytes::Bytes;
use s3s::dto::{
    ChecksumMode, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
    DeletedObject, ETag, ETagCondition, Error, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::receive::{Promised, Received};
use super::{Operations, publish_mode};
use crate::s3::checksum::{checksums_of, set_checksums};
use crate::s3::store::{ObjectAttributes, StoredObject};

/// How much of an object is read at a time.
const READ_BYTES_MAX: usize = 256 * 1024;

/// The four conditions that the inputs of GET and HEAD have.
macro_rules! conditions_of {
    ($input:expr) => {
        Conditions {
            if_match: $input.if_match,
            if_none_match: $input.if_none_match,
            if_modified_since: $input.if_modified_since,
            if_unmodified_since: $input.if_unmodified_since,
        }
    };
}

impl Operations {
    pub(super) async fn put(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let S3Request { input, headers, extensions, trailing_headers, .. } = request;
        let publish =
            publish_mode(input.if_none_match.as_ref(), input.if_match.as_ref(), &extensions)?;
        let checksums = checksums_of!(input);
        let Received { staged, etag, checksums } = self
            .receive(Promised {
                body: input.body,
                bytes: input.content_length,
                content_md5: input.content_md5,
                checksums,
                headers,
                trailers: trailing_headers,
            })
            .await?;
        let mut output =
            PutObjectOutput { e_tag: Some(ETag::Strong(etag.clone())), ..Default::default() };
        set_checksums!(output, checksums);
        output.checksum_type = checksums.checksum_type();
        let attributes = ObjectAttributes {
            etag,
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_disposition: input.content_disposition,
            cache_control: input.cache_control,
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            checksums,
        };
        let (bucket, key) = (input.bucket, input.key);
        self.blocking(move |store| store.publish(staged, &attributes, &bucket, &key, publish))
            .await?;
        Ok(S3Response::new(output))
    }

    pub(super) async fn get(&self, input: GetObjectInput) -> S3Result<S3Response<GetObjectOutput>> {
        if input.part_number.is_some() {
            return Err(s3_error!(NotImplemented, "GET of one part is not supported here"));
        }
        let (bucket, key) = (input.bucket, input.key);
        let object = self.blocking(move |store| store.get(&bucket, &key)).await?;
        conditions_of!(input).check(&object)?;

        let range = match input.range {
            None => 0..object.bytes,
            Some(range) => range.check(object.bytes)?,
        };
        let content_range = input
            .range
            .map(|_| format!("bytes {}-{}/{}", range.start, range.end - 1, object.bytes));
        let attributes = object.attributes;
        let mut output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(range.end - range.start).ok(),
            e_tag: Some(ETag::Strong(attributes.etag)),
            last_modified: Some(object.modified.into()),
            content_type: attributes.content_type,
            content_encoding: attributes.content_encoding,
            content_disposition: attributes.content_disposition,
            cache_control: attributes.cache_control,
            metadata: Some(attributes.metadata.into_iter().collect()),
            ..Default::default()
        };
        // A checksum is over all of the object; beside a part of it a client would refuse the part.
        if content_range.is_none() && wants_checksum(input.checksum_mode.as_ref()) {
            set_checksums!(output, attributes.checksums);
            output.checksum_type = attributes.checksums.checksum_type();
        }
        output.content_range = content_range;
        let mut file = tokio::fs::File::from_std(object.file);
        file.seek(SeekFrom::Start(range.start))
            .await
            .map_err(|error| s3_error!(error, InternalError, "seeking in the object failed"))?;
        output.body = Some(stream(file, range.end - range.start));
        Ok(S3Response::new(output))
    }

    pub(super) async fn head(
        &self,
        input: HeadObjectInput,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let (bucket, key) = (input.bucket, input.key);
        let object = self.blocking(move |store| store.get(&bucket, &key)).await?;
        conditions_of!(input).check(&object)?;
        let attributes = object.attributes;
        let mut output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(object.bytes).ok(),
            e_tag: Some(ETag::Strong(attributes.etag)),
            last_modified: Some(object.modified.into()),
            content_type: attributes.content_type,
            content_encoding: attributes.content_encoding,
            content_disposition: attributes.content_disposition,
            cache_control: attributes.cache_control,
            metadata: Some(attributes.metadata.into_iter().collect()),
            ..Default::default()
        };
        if wants_checksum(input.checksum_mode.as_ref()) {
            set_checksums!(output, attributes.checksums);
            output.checksum_type = attributes.checksums.checksum_type();
        }
        Ok(S3Response::new(output))
    }

    pub(super) async fn delete(
        &self,
        input: DeleteObjectInput,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.blocking(move |store| store.delete(&input.bucket, &input.key)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    pub(super) async fn delete_many(
        &self,
        input: DeleteObjectsInput,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let (bucket, key) = (input.bucket.clone(), object.key.clone());
            match self.blocking(move |store| store.delete(&bucket, &key)).await {
                Ok(()) => {
                    deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
                }
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(object.key),
                    version_id: None,
                }),
            }
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: Some(errors),
            request_charged: None,
        }))
    }
}

fn wants_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

/// The conditions of a read (RFC 9110, section 13), in their order of precedence.
struct Conditions {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl Conditions {
    fn check(&self, object: &StoredObject) -> S3Result<()> {
        let etag = ETag::Strong(object.attributes.etag.clone());
        let modified = whole_seconds(object.modified);
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(ETagCondition::ETag(wanted)), _) if !wanted.strong_cmp(&etag) => {
                return Err(s3_error!(PreconditionFailed, "If-Match does not hold"));
            }
            (None, Some(since)) if modified > *since => {
                return Err(s3_error!(PreconditionFailed, "If-Unmodified-Since does not hold"));
            }
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(ETagCondition::Any), _) => Err(s3_error!(NotModified)),
            (Some(ETagCondition::ETag(known)), _) if known.weak_cmp(&etag) => {
                Err(s3_error!(NotModified))
            }
            (None, Some(since)) if modified <= *since => Err(s3_error!(NotModified)),
            _ => Ok(()),
        }
    }
}

/// HTTP dates have no fractions of a second, so a comparison with one mustn't have them either.
fn whole_seconds(time: SystemTime) -> Timestamp {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(since_epoch.as_secs())).into()
}

/// The next `bytes` bytes of a file.
fn stream(file: tokio::fs::File, bytes: u64) -> StreamingBlob {
    let chunks = futures::stream::try_unfold((file, bytes), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut buffer = vec![0; READ_BYTES_MAX.min(usize::try_from(left).unwrap_or(usize::MAX))];
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        }
        buffer.truncate(read);
        Ok(Some((Bytes::from(buffer), (file, left - read as u64))))
    });
    StreamingBlob::wrap(chunks)
}
