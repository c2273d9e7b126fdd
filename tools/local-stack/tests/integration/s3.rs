//! S3 as the AWS SDK sees it.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, Delete, EncodingType, ObjectIdentifier};
use local_stack::{LocalStack, Options, S3Options};

use crate::support::{BUCKET, http_get, keys, pattern, refusal, s3_client, s3_client_at, s3_stack};

async fn put(client: &Client, key: &str, body: impl Into<Vec<u8>>) {
    let body = ByteStream::from(body.into());
    client.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
}

async fn body(client: &Client, key: &str) -> Vec<u8> {
    let object = client.get_object().bucket(BUCKET).key(key).send().await.unwrap();
    object.body.collect().await.unwrap().to_vec()
}

#[tokio::test]
async fn of_eight_racing_conditional_puts_exactly_one_wins_every_round() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    for round in 0..100 {
        let key = format!("date=2026-11-22/names_topic+0+{round:020}.parquet");
        let writers = (0..8).map(|writer| {
            let put = client
                .put_object()
                .bucket(BUCKET)
                .key(&key)
                .if_none_match("*")
                .metadata("writer-id", format!("writer-{writer}"))
                .body(ByteStream::from(format!("body of writer-{writer}").into_bytes()));
            tokio::spawn(async move { (writer, put.send().await) })
        });
        let mut winners = Vec::new();
        for writer in writers.collect::<Vec<_>>() {
            match writer.await.unwrap() {
                (writer, Ok(_)) => winners.push(writer),
                (_, result) => assert_eq!(refusal(result), (412, "PreconditionFailed".into())),
            }
        }
        let [winner] = winners[..] else { panic!("round {round}: winners {winners:?}") };
        let object = client.get_object().bucket(BUCKET).key(&key).send().await.unwrap();
        let metadata = object.metadata().unwrap().clone();
        let content = object.body.collect().await.unwrap().to_vec();
        assert_eq!(metadata["writer-id"], format!("writer-{winner}"));
        assert_eq!(content, format!("body of writer-{winner}").into_bytes());
    }
}

#[tokio::test]
async fn an_object_is_a_plain_file_and_carries_its_metadata() {
    let (folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    let metadata: HashMap<String, String> = [
        ("writer-id", "0195-ab c"),
        ("percent", "%C3%BC %25 100%"),
        ("punctuation", r#"a=b; "c", {d}: <e> & 'f' \ / ~"#),
        ("unicode", "Jürgen ї"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let key = "names/topic=names_topic/date=2026-11-22/a b+ü.parquet";
    let mut put = client.put_object().bucket(BUCKET).key(key);
    // Header values are ASCII: what isn't goes as RFC 2047 has it.
    for (name, value) in &metadata {
        let value = if value.is_ascii() { value } else { "=?UTF-8?B?SsO8cmdlbiDRlw==?=" };
        put = put.metadata(name, value);
    }
    let put = put
        .content_type("application/vnd.apache.parquet")
        .cache_control("no-store")
        .body(ByteStream::from_static(b"PAR1"))
        .send()
        .await
        .unwrap();
    assert_eq!(put.e_tag(), Some("\"2b85af6abf9be8e9a8bb4d661cde9488\""));
    assert!(put.checksum_crc32().is_some());

    let path = folder.path().join("s3").join(BUCKET).join(key);
    assert_eq!(std::fs::read(path).unwrap(), b"PAR1");
    let head = client
        .head_object()
        .bucket(BUCKET)
        .key(key)
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_length(), Some(4));
    assert_eq!(head.content_type(), Some("application/vnd.apache.parquet"));
    assert_eq!(head.cache_control(), Some("no-store"));
    assert_eq!(head.e_tag(), put.e_tag());
    assert_eq!(head.checksum_crc32(), put.checksum_crc32());
    let mut got = head.metadata().unwrap().clone();
    let unicode = got.insert("unicode".to_owned(), metadata["unicode"].clone());
    assert_eq!(unicode.unwrap(), "=?UTF-8?B?SsO8cmdlbiDRlw==?=");
    assert_eq!(got, metadata);
}

#[tokio::test]
async fn parts_of_an_object_can_be_read() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    let content = pattern(700_000);
    put(&client, "k", content.clone()).await;
    assert_eq!(body(&client, "k").await, content);
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=300000-600000", 300_000..600_001),
        ("bytes=699999-", 699_999..700_000),
        ("bytes=-8", 699_992..700_000),
        ("bytes=699990-800000", 699_990..700_000),
    ] {
        let part = client.get_object().bucket(BUCKET).key("k").range(range).send().await.unwrap();
        let said = format!("bytes {}-{}/700000", expected.start, expected.end - 1);
        assert_eq!(part.content_range(), Some(said.as_str()));
        assert_eq!(part.body.collect().await.unwrap().to_vec(), content[expected], "{range}");
    }
    let beyond = client.get_object().bucket(BUCKET).key("k").range("bytes=700000-").send().await;
    assert_eq!(refusal(beyond), (416, "InvalidRange".into()));
    put(&client, "empty", Vec::new()).await;
    assert!(body(&client, "empty").await.is_empty());
}

#[tokio::test]
async fn reads_can_be_conditional() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    put(&client, "k", "v").await;
    let head = client.head_object().bucket(BUCKET).key("k").send().await.unwrap();
    let etag = head.e_tag().unwrap();
    let get = || client.get_object().bucket(BUCKET).key("k");
    get().if_match(etag).send().await.unwrap();
    assert_eq!(refusal(get().if_match("\"other\"").send().await).0, 412);
    assert_eq!(refusal(get().if_none_match(etag).send().await).0, 304);
    get().if_none_match("\"other\"").send().await.unwrap();
    let modified = *head.last_modified().unwrap();
    assert_eq!(refusal(get().if_modified_since(modified).send().await).0, 304);
    get().if_unmodified_since(modified).send().await.unwrap();
}

#[tokio::test]
async fn a_listing_is_complete_and_in_order_over_its_pages() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    let mut expected: Vec<String> = (0..23).map(|n| format!("p/date=2026-11-{n:02}/o")).collect();
    expected.extend(["p!/x".into(), "p-1".into(), "p/ü ö+%.parquet".into(), "q".into()]);
    expected.sort();
    for key in &expected {
        put(&client, key, key.as_bytes()).await;
    }
    for page_size in [1, 4, 1000] {
        let pages = client
            .list_objects_v2()
            .bucket(BUCKET)
            .max_keys(page_size)
            .into_paginator()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .unwrap();
        let listed: Vec<_> = pages.iter().flat_map(|page| page.contents()).collect();
        assert_eq!(listed.iter().map(|object| object.key().unwrap()).collect::<Vec<_>>(), expected);
        assert!(
            listed.iter().all(|object| object.size() == Some(object.key().unwrap().len() as i64))
        );
        assert!(pages.iter().all(|page| page.key_count().unwrap() <= page_size));

        let mut folders = Vec::new();
        let mut pages = client
            .list_objects_v2()
            .bucket(BUCKET)
            .prefix("p/")
            .delimiter("/")
            .max_keys(page_size)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            for folder in page.unwrap().common_prefixes() {
                folders.push(folder.prefix().unwrap().to_owned());
            }
        }
        assert_eq!(folders.len(), 23);
        assert!(folders.is_sorted());
    }
    let after = client.list_objects_v2().bucket(BUCKET).start_after("p/ü ö+%.parquet").send();
    assert_eq!(after.await.unwrap().contents()[0].key(), Some("q"));
    let encoded =
        client.list_objects().bucket(BUCKET).prefix("p/ü").encoding_type(EncodingType::Url);
    let encoded = encoded.send().await.unwrap();
    assert_eq!(encoded.contents()[0].key(), Some("p/%C3%BC%20%C3%B6%2B%25.parquet"));
}

#[tokio::test]
async fn deleting_is_idempotent() {
    let (folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    for key in ["a/b/c", "a/d", "e"] {
        put(&client, key, "v").await;
    }
    for _ in 0..2 {
        client.delete_object().bucket(BUCKET).key("a/b/c").send().await.unwrap();
    }
    let identifier = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let both = Delete::builder().objects(identifier("a/d")).objects(identifier("absent")).build();
    let deleted =
        client.delete_objects().bucket(BUCKET).delete(both.unwrap()).send().await.unwrap();
    assert_eq!(deleted.deleted().len(), 2);
    assert_eq!(keys(&client).await, ["e"]);
    assert!(!folder.path().join("s3/names/a").exists(), "empty folders are pruned");
    let absent = client.head_object().bucket(BUCKET).key("a/d").send().await;
    assert_eq!(refusal(absent).0, 404);
}

#[tokio::test]
async fn buckets_are_made_and_found() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    client.create_bucket().bucket("other").send().await.unwrap();
    let again = client.create_bucket().bucket("other").send().await;
    assert_eq!(refusal(again), (409, "BucketAlreadyOwnedByYou".into()));
    client.head_bucket().bucket("other").send().await.unwrap();
    client.get_bucket_location().bucket("other").send().await.unwrap();
    let buckets = client.list_buckets().send().await.unwrap();
    let names: Vec<_> = buckets.buckets().iter().map(|bucket| bucket.name().unwrap()).collect();
    assert_eq!(names, ["names", "other"]);
    assert_eq!(refusal(client.head_bucket().bucket("absent").send().await).0, 404);
    let put = client.put_object().bucket("absent").key("k").send().await;
    assert_eq!(refusal(put), (404, "NoSuchBucket".into()));
    client.delete_bucket().bucket("other").send().await.unwrap();
}

#[tokio::test]
async fn a_body_streamed_with_a_trailing_checksum_arrives() {
    let (folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    let content = pattern(3 << 20);
    let file = folder.path().join("source");
    std::fs::write(&file, &content).unwrap();
    let streamed = ByteStream::from_path(&file).await.unwrap();
    let put = client.put_object().bucket(BUCKET).key("k").body(streamed).send().await.unwrap();
    assert!(put.checksum_crc32().is_some(), "the trailer was read");
    assert_eq!(body(&client, "k").await, content);
}

#[tokio::test]
async fn a_body_that_breaks_its_promise_is_refused() {
    let (folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    let put = || client.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"body"));
    let refused = refusal(put().checksum_crc32("AAAAAA==").send().await);
    assert_eq!(refused, (400, "BadDigest".into()));
    let refused = refusal(put().content_md5("1B2M2Y8AsgTpgAmY7PhCfg==").send().await);
    assert_eq!(refused, (400, "BadDigest".into()));
    let refused = refusal(put().metadata("large", "x".repeat(2048)).send().await);
    assert_eq!(refused, (400, "MetadataTooLarge".into()));
    assert!(keys(&client).await.is_empty());
    assert_eq!(std::fs::read_dir(folder.path().join("s3-staging")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_body_that_ends_early_leaves_nothing() {
    let (folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    let presigned = client
        .put_object()
        .bucket(BUCKET)
        .key("k")
        .presigned(PresigningConfig::expires_in(Duration::from_secs(60)).unwrap())
        .await
        .unwrap();
    let target = presigned.uri().strip_prefix(stack.s3().unwrap().endpoint()).unwrap();
    let host = stack.s3().unwrap().endpoint().strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    let head = format!("PUT {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1000\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(b"the first bytes of it").unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    // The server closes the connection when it is done with it.
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(keys(&client).await.is_empty());
    assert_eq!(std::fs::read_dir(folder.path().join("s3-staging")).unwrap().count(), 0);
}

#[tokio::test]
async fn keys_that_a_folder_cannot_hold_are_refused() {
    let (folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    for key in ["../escape", "a/../../escape", "a//b", "a/", "a/./b"] {
        let put = client.put_object().bucket(BUCKET).key(key).send().await;
        assert_eq!(refusal(put).0, 400, "{key}");
    }
    assert!(!folder.path().join("s3/escape").exists());
    put(&client, "a/b", "v").await;
    let below = client.put_object().bucket(BUCKET).key("a/b/c").send().await;
    assert_eq!(refusal(below), (409, "ObjectParentIsFile".into()));
}

#[tokio::test]
async fn wrong_credentials_are_refused() {
    let (_folder, stack) = s3_stack();
    let s3 = stack.s3().unwrap();
    let wrong_secret = S3Options { secret_key: "wrong".into(), ..s3.options().clone() };
    let client = s3_client_at(s3.endpoint(), &wrong_secret, 1);
    let put = client.put_object().bucket(BUCKET).key("k").send().await;
    assert_eq!(refusal(put), (403, "SignatureDoesNotMatch".into()));
    let wrong_key = S3Options { access_key: "unknown".into(), ..s3.options().clone() };
    let client = s3_client_at(s3.endpoint(), &wrong_key, 1);
    assert_eq!(refusal(client.list_objects_v2().bucket(BUCKET).send().await).0, 403);
    let unsigned = http_get(format!("{}/{BUCKET}/k", s3.endpoint())).await;
    assert_eq!(unsigned.status(), 403);
}

#[tokio::test]
async fn objects_outlive_an_outage_and_a_restart() {
    let (folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    put(&client, "before", "v").await;
    stack.stop_s3().unwrap();
    let refused = client.put_object().bucket(BUCKET).key("during").send().await;
    assert_eq!(refusal(refused).0, 0, "no answer at all");
    stack.start_s3().unwrap();
    let conditional = client.put_object().bucket(BUCKET).key("before").if_none_match("*");
    assert_eq!(refusal(conditional.send().await).0, 412, "on the same port, with the same objects");
    assert_eq!(keys(&client).await, ["before"]);
    stack.stop();

    let stack = LocalStack::start(Options::s3_only(folder.path())).unwrap();
    let client = s3_client(&stack, 1);
    let conditional = client.put_object().bucket(BUCKET).key("before").if_none_match("*");
    assert_eq!(refusal(conditional.send().await).0, 412);
    assert_eq!(body(&client, "before").await, b"v");
}

#[tokio::test]
async fn requests_are_counted_by_operation_and_status() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    for _ in 0..3 {
        let _ = client.put_object().bucket(BUCKET).key("k").if_none_match("*").send().await;
    }
    let of = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
        pairs.iter().map(|(outcome, count)| ((*outcome).to_owned(), *count)).collect()
    };
    let counts = stack.s3().unwrap().request_counts();
    assert_eq!(counts, BTreeMap::from([("PutObject".into(), of(&[("200", 1), ("412", 2)]))]));
}
