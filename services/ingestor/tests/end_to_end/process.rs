//! The real binary as a child process.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::api::Api;
use crate::kafka::Kafka;

/// The name of SIGTERM for `kill`.
pub(crate) const TERMINATE: &str = "TERM";

/// The name of SIGKILL for `kill`.
pub(crate) const KILL: &str = "KILL";

/// Waits for `future`, and fails the test after a minute.
pub(crate) async fn within_a_minute<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .unwrap_or_else(|_| panic!("still waiting for {what} after a minute"))
}

/// A command line of the binary, with an environment of its own.
pub(crate) struct Ingestor(Command);

impl Ingestor {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ingestor"));
        command
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self(command)
    }

    pub(crate) fn run(kafka: &Kafka, api: &Api) -> Self {
        Self::new(&["run"]).pointed_at(kafka, api)
    }

    pub(crate) fn serve(kafka: &Kafka, api: &Api) -> Self {
        Self::new(&["serve"]).pointed_at(kafka, api)
    }

    pub(crate) fn healthcheck(admin: &str) -> Self {
        Self::new(&["healthcheck", "--admin-addr", admin])
    }

    fn pointed_at(self, kafka: &Kafka, api: &Api) -> Self {
        self.env("KAFKA_BOOTSTRAP_SERVERS", &kafka.bootstrap_servers())
            .env("API_URL", &api.url)
            .env("API_RETRY_DELAY_SECONDS", "1ms")
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn envs<const N: usize>(mut self, pairs: [(&str, String); N]) -> Self {
        self.0.envs(pairs);
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = self.0.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Running { child, stderr, seen: String::new() }
    }
}

/// The binary at work.
pub(crate) struct Running {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    seen: String,
}

impl Running {
    /// Sends a signal.
    pub(crate) fn signal(&mut self, signal: &str) {
        let pid = self.child.id().expect("the process has ended").to_string();
        let sent = std::process::Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Reads the log up to the next line with `message`.
    pub(crate) async fn logs(&mut self, message: &str) -> Value {
        within_a_minute(message, async {
            while let Some(line) = self.stderr.next_line().await.unwrap() {
                self.remember(&line);
                let json: Value = serde_json::from_str(&line).unwrap_or_default();
                if json["message"].as_str().is_some_and(|logged| logged.starts_with(message)) {
                    return json;
                }
            }
            panic!("the process ended before it logged {message:?}:\n{}", self.seen)
        })
        .await
    }

    /// Waits for the end of the process.
    pub(crate) async fn wait(mut self) -> Ended {
        within_a_minute("the end of the process", async {
            let mut stdout_pipe = self.child.stdout.take().unwrap();
            let mut stdout = String::new();
            let read = stdout_pipe.read_to_string(&mut stdout);
            let seen = &mut self.seen;
            let drain = async {
                while let Some(line) = self.stderr.next_line().await.unwrap() {
                    seen.push_str(&line);
                    seen.push('\n');
                }
            };
            let (read, ()) = tokio::join!(read, drain);
            read.unwrap();
            let code = self.child.wait().await.unwrap().code();
            Ended { code, stdout, stderr: self.seen }
        })
        .await
    }

    fn remember(&mut self, line: &str) {
        self.seen.push_str(line);
        self.seen.push('\n');
    }
}

/// What the binary left behind.
pub(crate) struct Ended {
    code: Option<i32>,
    stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn expect_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
    }

    /// The one line on stdout.
    pub(crate) fn summary(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The log lines with exactly this message.
    pub(crate) fn logged(&self, message: &str) -> Vec<Value> {
        self.stderr
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["message"] == message)
            .collect()
    }
}
