//! Multipart uploads.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListPartsInput, ListPartsOutput, MultipartUpload, Part, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::receive::{Promised, Received};
use super::{Operations, publish_mode};
use crate::s3::checksum::{Algorithm, checksums_of, set_checksums};
use crate::s3::store::{CompletedPart, ObjectAttributes, UploadDescription};

const PART_NUMBER_MAX: i32 = 10_000;

const PAGE_ENTRIES_MAX: i32 = 1000;

impl Operations {
    pub(super) async fn create_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let algorithm = input.checksum_algorithm.as_ref().map(algorithm).transpose()?;
        // S3 knows this one over whole objects alone.
        let full_object = algorithm == Some(Algorithm::Crc64Nvme)
            || input.checksum_type.as_ref().map(ChecksumType::as_str)
                == Some(ChecksumType::FULL_OBJECT);
        let description = UploadDescription {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            attributes: ObjectAttributes {
                content_type: input.content_type,
                content_encoding: input.content_encoding,
                content_disposition: input.content_disposition,
                cache_control: input.cache_control,
                metadata: input.metadata.unwrap_or_default().into_iter().collect(),
                ..ObjectAttributes::default()
            },
            algorithm,
            full_object,
        };
        let id = self.blocking(move |store| store.create_upload(&description)).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_type: input.checksum_algorithm.is_some().then(|| {
                ChecksumType::from_static(if full_object {
                    ChecksumType::FULL_OBJECT
                } else {
                    ChecksumType::COMPOSITE
                })
            }),
            checksum_algorithm: input.checksum_algorithm,
            ..Default::default()
        }))
    }

    pub(super) async fn put_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let S3Request { input, headers, trailing_headers, .. } = request;
        let number = input.part_number;
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            return Err(s3_error!(InvalidArgument, "part number {number} is not in 1 ..= 10000"));
        }
        let checksums = checksums_of!(input);
        let (bucket, key, id) = (input.bucket, input.key, input.upload_id);
        let upload = self.blocking(move |store| store.upload(&bucket, &key, &id)).await?;
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
            UploadPartOutput { e_tag: Some(ETag::Strong(etag.clone())), ..Default::default() };
        set_checksums!(output, checksums);
        let attributes = ObjectAttributes { etag, checksums, ..ObjectAttributes::default() };
        self.blocking(move |store| store.put_part(&upload, number, staged, &attributes)).await?;
        Ok(S3Response::new(output))
    }

    pub(super) async fn complete_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let S3Request { input, extensions, .. } = request;
        let publish =
            publish_mode(input.if_none_match.as_ref(), input.if_match.as_ref(), &extensions)?;
        let whole = checksums_of!(input);
        let mut parts = Vec::new();
        for part in input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default() {
            let Some(number) = part.part_number else {
                return Err(s3_error!(MalformedXML, "a part is named without its number"));
            };
            let checksums = checksums_of!(part);
            parts.push(CompletedPart { number, etag: part.e_tag.map(ETag::into_value), checksums });
        }
        if parts.is_empty() {
            return Err(s3_error!(MalformedXML, "no part is named"));
        }
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let attributes = self
            .blocking(move |store| {
                let upload = store.upload(&bucket, &key, &input.upload_id)?;
                store.complete_upload(&upload, &parts, &whole, publish)
            })
            .await?;
        let mut output = CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(attributes.etag)),
            ..Default::default()
        };
        set_checksums!(output, attributes.checksums);
        output.checksum_type = attributes.checksums.checksum_type();
        Ok(S3Response::new(output))
    }

    pub(super) async fn abort_upload(
        &self,
        input: AbortMultipartUploadInput,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.blocking(move |store| {
            let upload = store.upload(&input.bucket, &input.key, &input.upload_id)?;
            store.abort_upload(&upload)
        })
        .await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(super) async fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        if input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "uploads are listed without delimiter here"));
        }
        let bucket = input.bucket.clone();
        let mut uploads = self.blocking(move |store| store.uploads(&bucket)).await?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let key_marker = input.key_marker.clone().unwrap_or_default();
        let id_marker = input.upload_id_marker.clone().unwrap_or_default();
        uploads.retain(|upload| {
            let key = &upload.description.key;
            let is_behind = *key > key_marker
                || *key == key_marker && !id_marker.is_empty() && upload.id > id_marker;
            key.starts_with(&prefix) && is_behind
        });
        let entries_max = page_size(input.max_uploads);
        let is_truncated = uploads.len() > entries_max;
        uploads.truncate(entries_max);
        let last = uploads.last().filter(|_| is_truncated);
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            max_uploads: i32::try_from(entries_max).ok(),
            is_truncated: Some(is_truncated),
            next_key_marker: last.map(|upload| upload.description.key.clone()),
            next_upload_id_marker: last.map(|upload| upload.id.clone()),
            uploads: Some(
                uploads
                    .into_iter()
                    .map(|upload| MultipartUpload {
                        key: Some(upload.description.key),
                        upload_id: Some(upload.id),
                        initiated: Some(upload.initiated.into()),
                        ..Default::default()
                    })
                    .collect(),
            ),
            ..Default::default()
        }))
    }

    pub(super) async fn list_parts_of(
        &self,
        input: ListPartsInput,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id.clone());
        let mut parts =
            self.blocking(move |store| store.parts(&store.upload(&bucket, &key, &id)?)).await?;
        let marker = input.part_number_marker.unwrap_or(0);
        parts.retain(|part| part.number > marker);
        let entries_max = page_size(input.max_parts);
        let is_truncated = parts.len() > entries_max;
        parts.truncate(entries_max);
        let next = parts.last().filter(|_| is_truncated).map(|part| part.number);
        let parts = parts
            .into_iter()
            .map(|part| {
                let mut listed = Part {
                    part_number: Some(part.number),
                    size: i64::try_from(part.bytes).ok(),
                    last_modified: Some(part.modified.into()),
                    e_tag: Some(ETag::Strong(part.attributes.etag)),
                    ..Default::default()
                };
                set_checksums!(listed, part.attributes.checksums);
                listed
            })
            .collect();
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            part_number_marker: input.part_number_marker,
            next_part_number_marker: next,
            max_parts: i32::try_from(entries_max).ok(),
            is_truncated: Some(is_truncated),
            parts: Some(parts),
            ..Default::default()
        }))
    }
}

fn algorithm(name: &ChecksumAlgorithm) -> S3Result<Algorithm> {
    let name = name.as_str();
    Algorithm::from_name(name)
        .ok_or_else(|| s3_error!(InvalidArgument, "checksum algorithm {name:?} is not known here"))
}

fn page_size(wanted: Option<i32>) -> usize {
    let entries = wanted.unwrap_or(PAGE_ENTRIES_MAX).clamp(0, PAGE_ENTRIES_MAX);
    usize::try_from(entries).unwrap_or(0)
}
