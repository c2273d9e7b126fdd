//! `bucket ensure` against the embedded store, and against answers that only other stores give.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use crate::common::{Run, Scene, pipectl};
use local_stack::s3::{Operation, S3Action, S3Fault};

const OTHER: &str = "bucket ensure --s3-bucket other";

fn faulty(scene: &Scene, action: S3Action, times: u64) {
    scene
        .stack
        .s3()
        .unwrap()
        .faults()
        .push(S3Fault::new(action).on(Operation::ListObjects).times(times));
}

#[test]
fn a_missing_bucket_is_created_once() {
    let scene = Scene::new(false);
    let said = |run: Run| (run.code, run.out, run.err);
    let line = |text: &str| (Some(0), format!("{text}\n"), String::new());
    assert_eq!(said(scene.pipectl("bucket ensure")), line("names: exists"));
    assert_eq!(said(scene.pipectl(OTHER)), line("other: created"));
    assert_eq!(said(scene.pipectl(OTHER)), line("other: exists"));
    assert!(scene.stack.s3().unwrap().objects_dir().join("other").is_dir());
}

#[test]
fn a_store_that_is_about_to_start_is_waited_for() {
    let scene = Scene::new(false);
    faulty(&scene, S3Action::DropBefore, 2);
    faulty(&scene, S3Action::InternalError, 1);
    let run = scene.pipectl(OTHER);
    assert_eq!((run.code, run.out.as_str()), (Some(0), "other: created\n"), "{run:?}");
}

#[test]
fn a_store_that_does_not_answer_is_given_up() {
    let scene = Scene::new(false);
    let closed = "http://127.0.0.1:9";
    let run = scene.pipectl(&format!("{OTHER} --timeout 1 --aws-endpoint-url-s3 {closed}"));
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{run:?}");
    assert!(run.err.contains("the store was not ready within 1s"), "{}", run.err);
    assert!(run.err.contains("Connection refused"), "{}", run.err);
}

#[test]
fn credentials_that_are_nowhere_are_not_waited_for() {
    let mut environment = Scene::new(false).environment();
    environment.retain(|(name, _)| !name.starts_with("AWS_SECRET"));
    environment.push(("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()));
    let run = pipectl(OTHER, &environment);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.starts_with("pipectl: LIST other/ failed: "), "{}", run.err);
    assert!(run.err.contains("no credentials found"), "{}", run.err);
}

#[test]
fn a_refusal_is_not_waited_for() {
    let scene = Scene::new(false);
    faulty(&scene, S3Action::AccessDenied, 1);
    let run = scene.pipectl(OTHER);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.starts_with("pipectl: LIST other/ failed: AccessDenied: "), "{}", run.err);
}

#[test]
fn a_name_that_somebody_else_has_taken_is_an_error() {
    let store = Scripted::start(vec![
        (404, "NoSuchBucket"),
        (409, "BucketAlreadyExists"),
        (403, "AccessDenied"),
    ]);
    let run = pipectl(OTHER, &store.environment());
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("bucket \"other\" exists and belongs to somebody else"), "{run:?}");
    assert_eq!(store.requests().len(), 3);
}

#[test]
fn a_region_is_named_where_the_store_wants_it() {
    let store = Scripted::start(vec![
        (404, "NoSuchBucket"),
        (400, "IllegalLocationConstraintException"),
        (200, ""),
    ]);
    let run = pipectl(OTHER, &store.environment());
    assert_eq!((run.code, run.out.as_str()), (Some(0), "other: created\n"), "{run:?}");
    let requests = store.requests();
    let constraint = "<LocationConstraint>eu-central-1</LocationConstraint>";
    assert!(!requests[1].contains(constraint), "{}", requests[1]);
    assert!(requests[2].contains(constraint), "{}", requests[2]);
}

#[test]
fn a_bucket_that_was_created_meanwhile_is_fine() {
    let store = Scripted::start(vec![(404, "NoSuchBucket"), (409, "BucketAlreadyOwnedByYou")]);
    let run = pipectl(OTHER, &store.environment());
    assert_eq!((run.code, run.out.as_str()), (Some(0), "other: exists\n"), "{run:?}");
    assert_eq!(store.requests().len(), 2);
}

/// A store that gives these answers, one for each request, and remembers the requests.
struct Scripted {
    url: String,
    server: JoinHandle<Vec<String>>,
}

impl Scripted {
    fn start(answers: Vec<(u16, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let answer = |(status, code)| answer(listener.accept().unwrap().0, status, code);
            answers.into_iter().map(answer).collect()
        });
        Self { url, server }
    }

    fn environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ENDPOINT_URL_S3", self.url.as_str()),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Every request, head and body; waits until all answers are given.
    fn requests(self) -> Vec<String> {
        self.server.join().unwrap()
    }
}

/// Answers the one request of a connection, and returns it.
fn answer(stream: TcpStream, status: u16, code: &str) -> String {
    let mut reader = BufReader::new(&stream);
    let mut request = String::new();
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(length) = line.to_lowercase().strip_prefix("content-length:") {
            body_bytes = length.trim().parse().unwrap();
        }
        request.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; body_bytes];
    reader.read_exact(&mut body).unwrap();
    request.push_str(&String::from_utf8(body).unwrap());
    let body = match code {
        "" => String::new(),
        code => format!("<Error><Code>{code}</Code><Message>so it is</Message></Error>"),
    };
    write!(
        &stream,
        "HTTP/1.1 {status} Any\r\ncontent-type: application/xml\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    request
}
