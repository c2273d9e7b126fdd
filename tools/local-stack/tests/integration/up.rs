//! The program: `local-stack up`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use local_stack::{LocalStack, Options, S3Options, StackError};

use crate::support::{BUCKET, http_get, refusal, s3_client_at};

/// A running program. Dropping it kills it.
struct Program {
    child: Child,
    lines: Vec<String>,
}

impl Program {
    /// Starts it and waits until it says that it is ready.
    fn start(data: &Path, arguments: &[&str]) -> Self {
        let mut child = command(data, arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.starts_with("ready")) {
            lines.push(output.next().expect("the program ended before it was ready").unwrap());
        }
        Self { child, lines }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-stack"));
    command.arg("up").arg("--data").arg(data).args(arguments).env("RUST_LOG", "warn");
    command
}

/// What a shell has after `. DATA/env`.
fn exports(data: &Path) -> BTreeMap<String, String> {
    let script = format!("set -eu; . '{}/env'; env", data.display());
    let Output { status, stdout, .. } =
        Command::new("sh").args(["-c", &script]).env_clear().output().unwrap();
    assert!(status.success());
    let text = String::from_utf8(stdout).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn client(exports: &BTreeMap<String, String>) -> Client {
    let options = S3Options {
        access_key: exports["AWS_ACCESS_KEY_ID"].clone(),
        secret_key: exports["AWS_SECRET_ACCESS_KEY"].clone(),
        ..S3Options::default()
    };
    s3_client_at(&exports["AWS_ENDPOINT_URL_S3"], &options, 1)
}

#[tokio::test]
async fn it_says_where_everything_is_and_ends_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let mut program = Program::start(folder.path(), &["--results", "500", "--topic", "other"]);
        let parts: Vec<_> =
            program.lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(parts, ["kafka", "s3", "api", "control", "ready"]);

        let exports = exports(folder.path());
        assert_eq!(exports["KAFKA_BOOTSTRAP_SERVERS"].split(',').count(), 3);
        assert_eq!(exports["KAFKA_TOPIC"], "other");
        assert_eq!(exports["API_RESULTS"], "500");
        assert_eq!(exports["S3_BUCKET"], BUCKET);
        assert_eq!(exports["AWS_REGION"], "us-east-1");
        client(&exports).head_bucket().bucket(BUCKET).send().await.unwrap();
        http_get(&exports["API_URL"]).await.error_for_status().unwrap();
        let stats = format!("{}/stats", exports["LOCAL_STACK_CONTROL_URL"]);
        http_get(stats).await.error_for_status().unwrap();

        program.signal(signal);
        assert_eq!(program.child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(!folder.path().join("env").exists());
    }
}

#[test]
fn a_second_one_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _program = Program::start(folder.path(), &[]);
    let second = command(folder.path(), &[]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains("another local stack is running on"), "{message}");
    let error = LocalStack::start(Options::s3_only(folder.path())).unwrap_err();
    assert!(matches!(error, StackError::DataDirInUse { .. }), "{error}");
    assert!(folder.path().join("env").exists(), "the first one's exports are left alone");
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--s3-port", "--api-port", "--control-port"] {
        let output = command(folder.path(), &[flag, &port]).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
        assert!(!folder.path().join("env").exists());
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let body = |number: usize| vec![number as u8; 100_000 + number];
    let mut acknowledged = 0;
    for life in 0..3 {
        let program = Program::start(folder.path(), &[]);
        let client = client(&exports(folder.path()));
        // Four writers keep writing until the kill cuts them off.
        let kill_at = acknowledged + 20;
        let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
        for writer in 0..4 {
            let (client, report) = (client.clone(), report.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    let key = format!("life={life}/writer={writer}/{number:05}");
                    let put = client
                        .put_object()
                        .bucket(BUCKET)
                        .key(&key)
                        .if_none_match("*")
                        .metadata("bytes", body(number).len().to_string())
                        .body(ByteStream::from(body(number)));
                    match put.send().await {
                        Ok(_) => report.send((key, number)).unwrap(),
                        Err(_) => return,
                    }
                }
            });
        }
        drop(report);
        let mut keys = Vec::new();
        while let Some(stored) = reports.recv().await {
            acknowledged += 1;
            keys.push(stored);
            if acknowledged == kill_at {
                program.signal("KILL");
            }
        }
        drop(program);
        assert!(folder.path().join("env").exists(), "left from the crash");

        let _program = Program::start(folder.path(), &[]);
        let client = client_of(folder.path());
        for (key, number) in keys {
            let object = client.get_object().bucket(BUCKET).key(&key).send().await.unwrap();
            assert_eq!(object.metadata().unwrap()["bytes"], body(number).len().to_string());
            assert_eq!(object.body.collect().await.unwrap().to_vec(), body(number), "{key}");
            let again = client.put_object().bucket(BUCKET).key(&key).if_none_match("*").send();
            assert_eq!(refusal(again.await).0, 412);
        }
        // What was cut off is there as a whole or not at all.
        let mut pages = client.list_objects_v2().bucket(BUCKET).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.unwrap().contents() {
                let head = client.head_object().bucket(BUCKET).key(object.key().unwrap());
                let head = head.send().await.unwrap();
                let bytes = head.content_length().unwrap().to_string();
                assert_eq!(head.metadata().unwrap()["bytes"], bytes);
            }
        }
        assert_eq!(std::fs::read_dir(folder.path().join("s3-staging")).unwrap().count(), 0);
    }
}

fn client_of(data: &Path) -> Client {
    client(&exports(data))
}
