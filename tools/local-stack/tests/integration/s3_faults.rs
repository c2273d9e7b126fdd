//! An S3 that fails as told.

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use local_stack::s3::{Operation, S3Action, S3Fault};
use local_stack::{LocalStack, Options, S3Options};

use crate::support::{BUCKET, keys, pattern, refusal, s3_client, s3_stack};

fn create(client: &Client, key: &str, writer: &str) -> PutObjectFluentBuilder {
    client
        .put_object()
        .bucket(BUCKET)
        .key(key)
        .if_none_match("*")
        .metadata("writer-id", writer)
        .body(ByteStream::from(writer.to_owned().into_bytes()))
}

async fn writer(client: &Client, key: &str) -> Option<String> {
    let head = client.head_object().bucket(BUCKET).key(key).send().await.ok()?;
    head.metadata()?.get("writer-id").cloned()
}

fn fail(stack: &LocalStack, fault: S3Fault) {
    stack.s3().unwrap().faults().push(fault);
}

fn outcomes(stack: &LocalStack, operation: &str) -> BTreeMap<String, u64> {
    stack.s3().unwrap().request_counts().remove(operation).unwrap_or_default()
}

#[tokio::test]
async fn a_lost_answer_leaves_the_object_and_the_retry_meets_it() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 3);
    fail(&stack, S3Fault::new(S3Action::ApplyThenDrop).on(Operation::PutObject));
    let result = create(&client, "k", "me").send().await;
    assert_eq!(refusal(result), (412, "PreconditionFailed".into()));
    assert_eq!(writer(&client, "k").await.as_deref(), Some("me"));
    let counts = outcomes(&stack, "PutObject");
    assert_eq!(counts, [("412".into(), 1), ("answer_lost".into(), 1)].into());
}

#[tokio::test]
async fn a_connection_cut_before_leaves_nothing_and_the_retry_succeeds() {
    let (_folder, stack) = s3_stack();
    let once = s3_client(&stack, 1);
    fail(&stack, S3Fault::new(S3Action::DropBefore).on(Operation::PutObject).times(2));
    assert_eq!(refusal(create(&once, "k", "me").send().await).0, 0);
    assert_eq!(writer(&once, "k").await, None);
    create(&s3_client(&stack, 2), "k", "me").send().await.unwrap();
    let counts = outcomes(&stack, "PutObject");
    assert_eq!(counts, [("200".into(), 1), ("not_applied".into(), 2)].into());
}

#[tokio::test]
async fn errors_are_answered_as_s3_words_them() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    for (action, status, code, applied) in [
        (S3Action::SlowDown, 503, "SlowDown", false),
        (S3Action::InternalError, 500, "InternalError", false),
        (S3Action::Conflict, 409, "ConditionalRequestConflict", false),
        (S3Action::AccessDenied, 403, "AccessDenied", false),
        (S3Action::ApplyThenInternalError, 500, "InternalError", true),
    ] {
        let key = format!("{status}/{applied}");
        fail(&stack, S3Fault::new(action).on(Operation::PutObject));
        assert_eq!(refusal(create(&client, &key, "me").send().await), (status, code.into()));
        assert_eq!(writer(&client, &key).await.is_some(), applied, "{code}");
    }
    fail(&stack, S3Fault::new(S3Action::SlowDown).on(Operation::HeadObject));
    let head = client.head_object().bucket(BUCKET).key("k").send().await;
    assert_eq!(refusal(head).0, 503, "HEAD has no body");
}

#[tokio::test]
async fn a_large_body_is_answered_with_the_error_and_not_with_a_broken_connection() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    fail(&stack, S3Fault::new(S3Action::SlowDown));
    let body = ByteStream::from(vec![7; 8 << 20]);
    let put = client.put_object().bucket(BUCKET).key("k").body(body).send().await;
    assert_eq!(refusal(put).0, 503);
}

#[tokio::test]
async fn a_connection_cut_in_a_body_leaves_nothing_and_the_retry_succeeds() {
    let (_folder, stack) = s3_stack();
    let once = s3_client(&stack, 1);
    let body = pattern(1 << 20);
    let put = |client: &Client| {
        let body = ByteStream::from(body.clone());
        client.put_object().bucket(BUCKET).key("k").if_none_match("*").body(body).send()
    };
    let fault = S3Fault::new(S3Action::DropInBody { bytes: 100_000 });
    fail(&stack, fault.on(Operation::PutObject).times(2));
    assert_eq!(refusal(put(&once).await).0, 0);
    assert!(keys(&once).await.is_empty());
    put(&s3_client(&stack, 2)).await.unwrap();
    let stored = once.get_object().bucket(BUCKET).key("k").send().await.unwrap();
    assert_eq!(stored.body.collect().await.unwrap().to_vec(), body);
}

#[tokio::test]
async fn requests_reach_a_server_behind_with_their_faults_on_the_way() {
    let (_folder, real) = s3_stack();
    let folder = tempfile::tempdir().unwrap();
    let behind = real.s3().unwrap();
    let upstream = behind.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    let s3 = S3Options { upstream: Some(upstream), ..behind.options().clone() };
    let options = Options { s3: Some(s3), ..Options::s3_only(folder.path()) };
    let front = LocalStack::start(options).unwrap();
    let client = s3_client(&front, 1);

    create(&client, "day/a+0 b", "me").send().await.unwrap();
    assert_eq!(writer(&s3_client(&real, 1), "day/a+0 b").await.as_deref(), Some("me"));
    assert_eq!(refusal(create(&client, "day/a+0 b", "other").send().await).0, 412);
    fail(&front, S3Fault::new(S3Action::ApplyThenDrop).on(Operation::PutObject));
    fail(&front, S3Fault::new(S3Action::DropInBody { bytes: 1 }).on(Operation::PutObject));
    assert_eq!(refusal(create(&client, "kept", "me").send().await).0, 0);
    assert_eq!(refusal(create(&client, "cut", "me").send().await).0, 0);
    assert_eq!(keys(&client).await, ["day/a+0 b", "kept"]);
    let counts = outcomes(&front, "PutObject");
    let expected = [("200", 1), ("412", 1), ("answer_lost", 1), ("not_applied", 1)];
    assert_eq!(counts, expected.map(|(outcome, count)| (outcome.to_owned(), count)).into());

    real.stop_s3().unwrap();
    assert_eq!(refusal(create(&client, "later", "me").send().await).0, 0);
    real.start_s3().unwrap();
    create(&client, "later", "me").send().await.unwrap();
}

#[tokio::test]
async fn faults_hit_the_operation_and_key_they_name() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    let fault = S3Fault::new(S3Action::SlowDown).on(Operation::PutObject);
    fail(&stack, fault.key_contains("+3+").skip(1).always());
    for (key, is_hit) in [("t+2+0", false), ("t+3+0", false), ("t+3+1", true), ("t+3+2", true)] {
        assert_eq!(create(&client, key, "me").send().await.is_err(), is_hit, "{key}");
        assert!(client.list_objects_v2().bucket(BUCKET).send().await.is_ok());
    }
    stack.s3().unwrap().faults().clear();
    create(&client, "t+3+3", "me").send().await.unwrap();
}

#[tokio::test]
async fn a_held_put_goes_on_when_released_and_may_find_that_it_lost() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    fail(&stack, S3Fault::new(S3Action::Hold).on(Operation::PutObject));
    let zombie = tokio::spawn(create(&client, "k", "zombie").send());
    stack.s3().unwrap().faults().wait_held(1).await;
    create(&client, "k", "new owner").send().await.unwrap();
    stack.s3().unwrap().faults().release();
    assert_eq!(refusal(zombie.await.unwrap()), (412, "PreconditionFailed".into()));
    assert_eq!(writer(&client, "k").await.as_deref(), Some("new owner"));
    assert_eq!(stack.s3().unwrap().faults().held(), 0);
}

#[tokio::test]
async fn a_delayed_request_is_served() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    fail(&stack, S3Fault::new(S3Action::Delay { milliseconds: 1 }));
    create(&client, "k", "me").send().await.unwrap();
    assert!(stack.s3().unwrap().faults().list().is_empty());
}

#[tokio::test]
async fn a_store_can_ignore_the_condition() {
    let (_folder, stack) = s3_stack();
    let client = s3_client(&stack, 1);
    fail(&stack, S3Fault::new(S3Action::IgnoreCondition).always());
    create(&client, "k", "first").send().await.unwrap();
    create(&client, "k", "second").send().await.unwrap();
    assert_eq!(writer(&client, "k").await.as_deref(), Some("second"));
}
