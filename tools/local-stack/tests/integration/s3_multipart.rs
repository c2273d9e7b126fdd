//! Multipart uploads as the AWS SDK makes them.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};

use crate::support::{BUCKET, keys, pattern, refusal, s3_client, s3_stack};

const PART_BYTES: usize = 5 << 20;

#[tokio::test]
async fn multipart_uploads_are_conditional_too() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    let content = pattern(PART_BYTES + 1000);
    let upload = start_upload(&client, "big", &content).await;
    let uploads = client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    assert_eq!(uploads.uploads()[0].upload_id(), Some(upload.id.as_str()));
    let parts = client.list_parts().bucket(BUCKET).key("big").upload_id(&upload.id).send();
    let sizes: Vec<_> = parts.await.unwrap().parts().iter().map(|part| part.size()).collect();
    assert_eq!(sizes, [Some(PART_BYTES as i64), Some(1000)]);
    assert!(keys(&client).await.is_empty(), "nothing is there before the completion");

    let rival = start_upload(&client, "big", &content[..PART_BYTES]).await;
    let done = complete(&client, &upload).send().await.unwrap();
    assert!(done.e_tag().unwrap().ends_with("-2\""), "{:?}", done.e_tag());
    assert!(done.checksum_crc32().unwrap().ends_with("-2"));
    let refused = refusal(complete(&client, &rival).send().await);
    assert_eq!(refused, (412, "PreconditionFailed".into()));
    client
        .abort_multipart_upload()
        .bucket(BUCKET)
        .key("big")
        .upload_id(&rival.id)
        .send()
        .await
        .unwrap();
    let uploads = client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    assert!(uploads.uploads().is_empty());

    let object = client.get_object().bucket(BUCKET).key("big").send().await.unwrap();
    assert_eq!(object.metadata().unwrap()["rows"], "7");
    assert_eq!(object.body.collect().await.unwrap().to_vec(), content);
}

struct Upload {
    key: String,
    id: String,
    parts: Vec<CompletedPart>,
}

async fn start_upload(client: &Client, key: &str, content: &[u8]) -> Upload {
    let created = client
        .create_multipart_upload()
        .bucket(BUCKET)
        .key(key)
        .metadata("rows", "7")
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .send()
        .await
        .unwrap();
    let id = created.upload_id().unwrap().to_owned();
    let mut parts = Vec::new();
    for (number, part) in (1..).zip(content.chunks(PART_BYTES)) {
        let sent = client
            .upload_part()
            .bucket(BUCKET)
            .key(key)
            .upload_id(&id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(part.to_vec()))
            .send()
            .await
            .unwrap();
        parts.push(
            CompletedPart::builder()
                .part_number(number)
                .e_tag(sent.e_tag().unwrap())
                .checksum_crc32(sent.checksum_crc32().unwrap())
                .build(),
        );
    }
    Upload { key: key.to_owned(), id, parts }
}

fn complete(client: &Client, upload: &Upload) -> CompleteMultipartUploadFluentBuilder {
    let parts = CompletedMultipartUpload::builder().set_parts(Some(upload.parts.clone())).build();
    client
        .complete_multipart_upload()
        .bucket(BUCKET)
        .key(&upload.key)
        .upload_id(&upload.id)
        .if_none_match("*")
        .multipart_upload(parts)
}
