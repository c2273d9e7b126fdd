//! ListObjectsV2 and its older form.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, ETag, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass,
};
use s3s::{S3Error, S3Response, S3Result, s3_error};

use super::Operations;
use crate::s3::store::{After, Entry, ListRequest, Listing};

/// S3 never lists more at once.
const PAGE_ENTRIES_MAX: i32 = 1000;

/// What stays as it is in a key that is listed with `encoding-type=url`.
const KEY_ESCAPES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

impl Operations {
    pub(super) async fn list_v2(
        &self,
        input: ListObjectsV2Input,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let encoding = KeyEncoding::wanted(input.encoding_type.as_ref())?;
        let entries_max = page_size(input.max_keys)?;
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => decode_token(token)?,
            (None, start_after) => After::Key(start_after.clone().unwrap_or_default()),
        };
        let page = self
            .page(input.bucket.clone(), &input.prefix, &input.delimiter, after, entries_max)
            .await?;
        let key_count = i32::try_from(page.entries.len()).ok();
        let next_continuation_token = page.next.as_ref().map(encode_token);
        let (contents, common_prefixes) = encoding.split(page);
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoding.apply(input.prefix.unwrap_or_default())),
            delimiter: input.delimiter.map(|delimiter| encoding.apply(delimiter)),
            start_after: input.start_after.map(|key| encoding.apply(key)),
            max_keys: i32::try_from(entries_max).ok(),
            key_count,
            continuation_token: input.continuation_token,
            is_truncated: Some(next_continuation_token.is_some()),
            next_continuation_token,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }

    pub(super) async fn list_v1(
        &self,
        input: ListObjectsInput,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let encoding = KeyEncoding::wanted(input.encoding_type.as_ref())?;
        let entries_max = page_size(input.max_keys)?;
        let marker = input.marker.clone().unwrap_or_default();
        // The marker of this older form is bare text; one that ends with the delimiter was a common
        // prefix of the page before.
        let after = match input.delimiter.as_deref() {
            Some(delimiter) if !delimiter.is_empty() && marker.ends_with(delimiter) => {
                After::CommonPrefix(marker)
            }
            _ => After::Key(marker),
        };
        let page = self
            .page(input.bucket.clone(), &input.prefix, &input.delimiter, after, entries_max)
            .await?;
        let next_marker = page.next.clone().map(|after| match after {
            After::Key(key) | After::CommonPrefix(key) => encoding.apply(key),
        });
        let (contents, common_prefixes) = encoding.split(page);
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encoding.apply(input.prefix.unwrap_or_default())),
            delimiter: input.delimiter.map(|delimiter| encoding.apply(delimiter)),
            marker: input.marker.map(|marker| encoding.apply(marker)),
            max_keys: i32::try_from(entries_max).ok(),
            is_truncated: Some(next_marker.is_some()),
            next_marker,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }

    async fn page(
        &self,
        bucket: String,
        prefix: &Option<String>,
        delimiter: &Option<String>,
        after: After,
        entries_max: usize,
    ) -> S3Result<Listing> {
        let request = ListRequest {
            prefix: prefix.clone().unwrap_or_default(),
            delimiter: delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
            after,
            entries_max,
        };
        self.blocking(move |store| store.list(&bucket, request)).await
    }
}

/// The entries of a page asked for.
fn page_size(max_keys: Option<i32>) -> S3Result<usize> {
    let wanted = max_keys.unwrap_or(PAGE_ENTRIES_MAX).min(PAGE_ENTRIES_MAX);
    usize::try_from(wanted)
        .map_err(|_| s3_error!(InvalidArgument, "max-keys is {wanted}; it can't be negative"))
}

/// The place where the next page starts, opaque to clients.
fn encode_token(after: &After) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(match after {
        After::Key(key) => format!("k{key}"),
        After::CommonPrefix(prefix) => format!("p{prefix}"),
    })
}

fn decode_token(token: &str) -> S3Result<After> {
    let bad =
        || -> S3Error { s3_error!(InvalidArgument, "the continuation token is not one of ours") };
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    match text.split_at_checked(1) {
        Some(("k", key)) => Ok(After::Key(key.to_owned())),
        Some(("p", prefix)) => Ok(After::CommonPrefix(prefix.to_owned())),
        _ => Err(bad()),
    }
}

/// How keys are written in the XML of a listing: as they are, or percent-encoded for clients that
/// fear characters which XML can't hold.
#[derive(Clone, Copy)]
enum KeyEncoding {
    Plain,
    Url,
}

impl KeyEncoding {
    fn wanted(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(other) => Err(s3_error!(InvalidArgument, "encoding-type {other:?} is not `url`")),
        }
    }

    fn apply(self, key: String) -> String {
        match self {
            Self::Plain => key,
            Self::Url => utf8_percent_encode(&key, KEY_ESCAPES).to_string(),
        }
    }

    fn split(self, page: Listing) -> (Vec<Object>, Vec<CommonPrefix>) {
        let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
        for entry in page.entries {
            match entry {
                Entry::Object { key, bytes, modified, etag } => objects.push(Object {
                    key: Some(self.apply(key)),
                    size: i64::try_from(bytes).ok(),
                    last_modified: Some(modified.into()),
                    e_tag: Some(ETag::Strong(etag)),
                    storage_class: Some(ObjectStorageClass::from_static(
                        ObjectStorageClass::STANDARD,
                    )),
                    ..Default::default()
                }),
                Entry::CommonPrefix(prefix) => {
                    prefixes.push(CommonPrefix { prefix: Some(self.apply(prefix)) });
                }
            }
        }
        (objects, prefixes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    #[test]
    fn tokens_come_back_as_they_went() {
        for after in [After::Key("a/ü".into()), After::CommonPrefix("p/".into())] {
            assert_eq!(decode_token(&encode_token(&after)).unwrap(), after);
        }
        for token in ["", "!", "eA", "_w"] {
            assert!(decode_token(token).is_err(), "{token:?}");
        }
    }
}
