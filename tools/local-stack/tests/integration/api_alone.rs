//! The program: `local-stack api` and `local-stack healthcheck`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

use crate::support::{http, http_get};

/// A running `local-stack api`. Dropping it kills it.
struct Api {
    child: Child,
    url: String,
    _output: BufReader<ChildStdout>,
}

impl Api {
    fn start(listen: &str, arguments: &[&str]) -> Self {
        let mut child = local_stack(&["api", "--listen", listen])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let url = line.strip_prefix("ready ").expect("the first line says ready").trim().to_owned();
        Self { child, url, _output: output }
    }

    /// Host and port.
    fn address(&self) -> String {
        self.url.strip_prefix("http://").unwrap().strip_suffix("/api/").unwrap().to_owned()
    }

    async fn users(&self, query: &str) -> Value {
        let page = http_get(format!("{}{query}", self.url)).await.error_for_status().unwrap();
        page.json::<Value>().await.unwrap()["results"].clone()
    }

    fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn local_stack(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-stack"));
    command.args(arguments).env("RUST_LOG", "warn");
    command
}

fn healthcheck(address: &str) -> (Option<i32>, String) {
    let Output { status, stderr, .. } =
        local_stack(&["healthcheck", "--address", address]).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn it_serves_other_users_each_time_until_it_is_told_to_leave() {
    let mut api = Api::start("127.0.0.1:0", &[]);
    assert_eq!(healthcheck(&api.address()), (Some(0), String::new()));
    assert_eq!(api.users("?results=50").await.as_array().unwrap().len(), 50);
    assert_ne!(api.users("").await, api.users("").await);
    assert_eq!(api.users("?seed=a").await, api.users("?seed=a").await);

    // A kept connection does not keep the program.
    let client = http();
    client.get(&api.url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(api.terminate(), Some(0));
    let (code, message) = healthcheck(&api.address());
    assert_eq!(code, Some(1));
    assert!(message.contains("Connection refused"), "{message}");
    assert!(message.contains("does `local-stack api` listen there?"), "{message}");
}

#[tokio::test]
async fn a_seed_gives_the_same_users_after_each_start() {
    let mut starts = Vec::new();
    for _ in 0..2 {
        let api = Api::start("127.0.0.1:0", &["--api-seed", "x"]);
        starts.push([api.users("").await, api.users("").await]);
    }
    assert_eq!(starts[0], starts[1]);
    assert_ne!(starts[0][0], starts[0][1]);
}

#[tokio::test]
async fn it_answers_as_it_is_told() {
    let api = Api::start("[::1]:0", &["--api-invalid-ratio", "1", "--api-rate-limit", "3"]);
    let users = api.users("?results=2").await;
    let users = users.as_array().unwrap();
    let is_flawed = |user: &Value| {
        let latitude = &user["location"]["coordinates"]["latitude"];
        user.get("email").is_none() || latitude == "north" || latitude == "123.4"
    };
    assert!(users.iter().all(is_flawed), "{users:?}");
    assert_eq!(http_get(format!("{}?results=2", api.url)).await.status(), 429);
    assert_eq!(healthcheck(&api.address()).0, Some(0), "a limit on users is no ill health");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = local_stack(&["api", "--listen", &address]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains(&format!("the API can't listen on {address}")), "{message}");
}
