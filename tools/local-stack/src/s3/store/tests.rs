#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Barrier;

use tempfile::TempDir;

use super::*;
use crate::s3::checksum::Checksums;

const BUCKET: &str = "names";

fn store() -> (TempDir, ObjectStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectStore::open(folder.path()).unwrap();
    assert!(store.create_bucket(BUCKET).unwrap());
    (folder, store)
}

/// Puts an object whose body and metadata both name `writer`.
fn put(store: &ObjectStore, key: &str, writer: &str, publish: Publish) -> Result<(), StoreError> {
    let mut staged = store.stage()?;
    staged.file.write_all(writer.as_bytes())?;
    let attributes = ObjectAttributes {
        etag: writer.to_owned(),
        metadata: BTreeMap::from([("writer".to_owned(), writer.to_owned())]),
        ..ObjectAttributes::default()
    };
    store.publish(staged, &attributes, BUCKET, key, publish)
}

fn read(store: &ObjectStore, key: &str) -> (String, String) {
    let mut object = store.get(BUCKET, key).unwrap();
    let mut body = String::new();
    object.file.read_to_string(&mut body).unwrap();
    (body, object.attributes.metadata["writer"].clone())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn list(store: &ObjectStore, request: ListRequest) -> (Vec<String>, Option<After>) {
    let page = store.list(BUCKET, request).unwrap();
    let entries = page.entries.into_iter().map(|entry| match entry {
        Entry::Object { key, .. } => key,
        Entry::CommonPrefix(prefix) => format!("{prefix}*"),
    });
    (entries.collect(), page.next)
}

/// Every entry of a listing, read in pages of `page_size`.
fn list_in_pages(
    store: &ObjectStore,
    prefix: &str,
    delimiter: Option<&str>,
    page_size: usize,
) -> Vec<String> {
    let mut all = Vec::new();
    let mut after = After::Key(String::new());
    loop {
        let (entries, next) = list(
            store,
            ListRequest {
                prefix: prefix.to_owned(),
                delimiter: delimiter.map(str::to_owned),
                after,
                entries_max: page_size,
            },
        );
        assert!(entries.len() <= page_size);
        all.extend(entries);
        match next {
            Some(next) => after = next,
            None => return all,
        }
    }
}

#[test]
fn of_racing_creates_one_wins_and_its_metadata_is_its_own() {
    let (_folder, store) = store();
    let writers = 8;
    for round in 0..50 {
        let key = format!("race/{round}");
        let start = Barrier::new(writers);
        let winners: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..writers)
                .map(|writer| {
                    let (store, key, start) = (&store, &key, &start);
                    scope.spawn(move || {
                        let name = format!("writer-{writer}");
                        start.wait();
                        match put(store, key, &name, Publish::Create) {
                            Ok(()) => Some(name),
                            Err(StoreError::KeyExists) => None,
                            Err(error) => panic!("{error}"),
                        }
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(read(&store, &key), (winners[0].clone(), winners[0].clone()));
    }
    assert!(names(&store.staging).is_empty());
}

#[test]
fn replaces_and_survives_reopening_and_cleans_up_after_a_crash() {
    let (folder, store) = store();
    put(&store, "a/b", "first", Publish::Create).unwrap();
    put(&store, "a/b", "second", Publish::Replace).unwrap();
    std::mem::forget(store.stage().unwrap());
    assert_eq!(names(&store.staging).len(), 1, "what a kill -9 leaves");
    assert_eq!(names(&folder.path().join("s3/names")), ["a"], "a staged file is no object");

    let store = ObjectStore::open(folder.path()).unwrap();
    assert!(names(&store.staging).is_empty());
    assert!(!store.create_bucket(BUCKET).unwrap());
    assert_eq!(read(&store, "a/b"), ("second".to_owned(), "second".to_owned()));
    assert_eq!(fs::read(folder.path().join("s3/names/a/b")).unwrap(), b"second");
}

#[test]
fn an_open_object_keeps_its_content_when_its_key_is_replaced() {
    let (_folder, store) = store();
    put(&store, "k", "first", Publish::Create).unwrap();
    let mut object = store.get(BUCKET, "k").unwrap();
    put(&store, "k", "second", Publish::Replace).unwrap();
    let mut body = String::new();
    object.file.read_to_string(&mut body).unwrap();
    assert_eq!((body.as_str(), object.attributes.etag.as_str()), ("first", "first"));
}

#[test]
fn no_key_leaves_its_bucket() {
    let (folder, store) = store();
    let too_long = "x".repeat(256);
    for key in ["../k", "a/../../k", "..", ".", "/k", "a//b", "a/", "", "a\0b", too_long.as_str()] {
        for publish in [Publish::Create, Publish::Replace] {
            let error = put(&store, key, "w", publish).unwrap_err();
            assert!(
                matches!(error, StoreError::BadKey(_) | StoreError::SegmentTooLong),
                "{key:?}: {error}"
            );
        }
        assert!(store.get(BUCKET, key).is_err(), "{key:?}");
        assert!(store.delete(BUCKET, key).is_err(), "{key:?}");
    }
    assert!(names(&folder.path().join("s3/names")).is_empty());
    put(&store, &"x".repeat(255), "w", Publish::Create).unwrap();
}

#[test]
fn a_key_below_another_key_is_refused_by_name() {
    let (_folder, store) = store();
    put(&store, "a/b", "w", Publish::Create).unwrap();
    for publish in [Publish::Create, Publish::Replace] {
        let below = put(&store, "a/b/c", "w", publish).unwrap_err();
        assert!(matches!(below, StoreError::ParentIsKey), "{below}");
        let above = put(&store, "a", "w", publish).unwrap_err();
        assert!(matches!(above, StoreError::KeyIsFolder), "{above}");
    }
    assert!(matches!(store.get(BUCKET, "a").unwrap_err(), StoreError::NoSuchKey));
    assert!(matches!(store.get(BUCKET, "a/b/c").unwrap_err(), StoreError::NoSuchKey));
}

#[test]
fn deleting_prunes_folders_while_others_create_in_them() {
    let (_folder, store) = store();
    let rounds = 200;
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..rounds {
                    let key = format!("deep/er/{writer}-{round}");
                    put(store, &key, "w", Publish::Create).unwrap();
                    store.delete(BUCKET, &key).unwrap();
                }
            });
        }
    });
    assert!(names(&store.objects.join(BUCKET)).is_empty());
    store.delete_bucket(BUCKET).unwrap();
    let error = put(&store, "k", "w", Publish::Create).unwrap_err();
    assert!(matches!(error, StoreError::NoSuchBucket), "{error}");
}

#[test]
fn too_much_metadata_is_refused_and_the_most_allowed_is_kept() {
    let (_folder, store) = store();
    let with = |bytes: usize, letter: &str| ObjectAttributes {
        metadata: BTreeMap::from([("m".to_owned(), letter.repeat(bytes - 1))]),
        ..ObjectAttributes::default()
    };
    let attributes = with(2048, "x");
    store.publish(store.stage().unwrap(), &attributes, BUCKET, "k", Publish::Create).unwrap();
    assert_eq!(store.get(BUCKET, "k").unwrap().attributes, attributes);
    // Past S3's limit; and within it, but past what some file systems hold (each is escaped).
    for attributes in [with(2049, "x"), with(2048, "\u{1}")] {
        let staged = store.stage().unwrap();
        match store.publish(staged, &attributes, BUCKET, "l", Publish::Create) {
            Err(StoreError::MetadataTooLarge { .. }) => {}
            Ok(()) => assert_eq!(store.get(BUCKET, "l").unwrap().attributes, attributes),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn lists_in_the_order_of_the_keys_bytes_in_pages_of_any_size() {
    let (_folder, store) = store();
    // `-` and `!` sort before `/`, `0` after it: the order of folders alone would be another.
    let mut keys = vec!["a-b", "a/b", "a/c/d", "a/c/e", "a!", "a0", "b", "b.d/x", "ü/1", "z/z/z/z"];
    for key in &keys {
        put(&store, key, "w", Publish::Create).unwrap();
    }
    keys.sort_unstable();
    for page_size in 1..=keys.len() + 1 {
        assert_eq!(list_in_pages(&store, "", None, page_size), keys);
        assert_eq!(
            list_in_pages(&store, "", Some("/"), page_size),
            ["a!", "a-b", "a/*", "a0", "b", "b.d/*", "z/*", "ü/*"]
        );
        assert_eq!(list_in_pages(&store, "a/", Some("/"), page_size), ["a/b", "a/c/*"]);
        assert_eq!(list_in_pages(&store, "a/c", None, page_size), ["a/c/d", "a/c/e"]);
        assert_eq!(list_in_pages(&store, "a/c", Some("/"), page_size), ["a/c/*"]);
        assert_eq!(list_in_pages(&store, "", Some("c/"), page_size)[3], "a/c/*");
        assert!(list_in_pages(&store, "a/x", None, page_size).is_empty());
    }
    let after = |after| {
        let request =
            ListRequest { prefix: String::new(), delimiter: None, after, entries_max: 100 };
        list(&store, request).0
    };
    assert_eq!(after(After::Key("a/c/d".into()))[0], "a/c/e");
    assert_eq!(after(After::Key("a/".into()))[0], "a/b");
    assert_eq!(after(After::CommonPrefix("a/".into()))[0], "a0");
}

#[test]
fn parts_are_joined_in_order_and_a_lost_race_keeps_the_upload() {
    let (_folder, store) = store();
    let description = UploadDescription {
        bucket: BUCKET.to_owned(),
        key: "k".to_owned(),
        attributes: ObjectAttributes {
            content_type: Some("text/plain".to_owned()),
            ..ObjectAttributes::default()
        },
        algorithm: None,
        full_object: false,
    };
    let id = store.create_upload(&description).unwrap();
    let upload = store.upload(BUCKET, "k", &id).unwrap();
    for (number, letter) in [(2, b'b'), (1, b'a')] {
        let mut staged = store.stage().unwrap();
        staged.file.write_all(&vec![letter; 5 << 20]).unwrap();
        let attributes =
            ObjectAttributes { etag: format!("{number:032x}"), ..ObjectAttributes::default() };
        store.put_part(&upload, number, staged, &attributes).unwrap();
    }
    let part = |number| CompletedPart { number, etag: None, checksums: Checksums::default() };
    let complete = |parts: &[CompletedPart]| {
        store.complete_upload(&upload, parts, &Checksums::default(), Publish::Create)
    };
    assert!(matches!(complete(&[part(2), part(1)]), Err(StoreError::PartOrder)));
    assert!(matches!(complete(&[part(1), part(3)]), Err(StoreError::BadPart { number: 3 })));

    put(&store, "k", "other", Publish::Create).unwrap();
    assert!(matches!(complete(&[part(1), part(2)]), Err(StoreError::KeyExists)));
    assert_eq!(store.parts(&upload).unwrap().len(), 2, "the upload is still there");

    store.delete(BUCKET, "k").unwrap();
    let attributes = complete(&[part(1), part(2)]).unwrap();
    assert!(attributes.etag.ends_with("-2"), "{}", attributes.etag);
    let object = store.get(BUCKET, "k").unwrap();
    assert_eq!((object.bytes, object.attributes), (10 << 20, attributes));
    assert!(matches!(store.upload(BUCKET, "k", &id), Err(StoreError::NoSuchUpload)));
    for id in ["", "..", "../../s3", "not-an-id"] {
        assert!(matches!(store.upload(BUCKET, "k", id), Err(StoreError::NoSuchUpload)), "{id:?}");
    }
}
