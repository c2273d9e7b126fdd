//! The admin server among clients that mean no good, on real sockets: whatever they do, a fair one
//! gets its answer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::routing::{get, post};
use service_kit::admin::{AdminServer, Router};
use service_kit::health::Health;
use service_kit::healthcheck;
use service_kit::metrics::{BuildInfo, Metrics};
use tokio::sync::{Notify, oneshot};

/// More clients than the server has places.
const CROWD: usize = 300;
/// Below the 10 s after which the server closes what says nothing.
const FAIR_TIMEOUT: Duration = Duration::from_secs(8);

/// A server in a runtime of its own; it stops when dropped.
struct Server {
    addr: SocketAddr,
    /// A request for `/slow` has come.
    slow_asked: Arc<Notify>,
    /// Answers one request for `/slow`.
    slow_answered: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let health = Health::new(Duration::from_secs(3600));
        health.started();
        let build = BuildInfo { service: "demo", version: "1.2.3", revision: None };
        let metrics = Metrics::new(build).unwrap();
        // Long enough to fill the buffers of a socket whose other end does not read.
        metrics.counter("demo_filler_total", &"x".repeat(1 << 20)).unwrap();
        let any_port = "127.0.0.1:0".parse().unwrap();
        let server = runtime.block_on(AdminServer::bind(any_port, health, metrics)).unwrap();
        let addr = server.local_addr();
        let (slow_asked, slow_answered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (asked, answered) = (Arc::clone(&slow_asked), Arc::clone(&slow_answered));
        let slow = async move || {
            asked.notify_one();
            answered.notified().await;
            "at last"
        };
        let routes = Router::new()
            .route("/slow", get(slow))
            .route("/read", post(|body: String| async move { body.len().to_string() }));
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(server.serve(routes, async { drop(stopped.await) }));
        Self { addr, slow_asked, slow_answered, stop: Some(stop), runtime }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).unwrap()
    }

    /// Clients that send this and then nothing, and read nothing.
    fn crowd(&self, request: &str) -> Vec<TcpStream> {
        let client = || {
            let mut client = self.connect();
            // It may be shown the door before it is done.
            let _ = client.write_all(request.as_bytes());
            client
        };
        std::iter::repeat_with(client).take(CROWD).collect()
    }

    fn assert_fair_client_is_answered(&self) {
        healthcheck::check(self.addr, FAIR_TIMEOUT).unwrap();
    }

    /// The same for one that asks again when it is sent away, as a client is that gets no core for
    /// longer than it is safe.
    fn assert_fair_client_is_answered_in_the_end(&self) {
        let deadline = Instant::now() + FAIR_TIMEOUT;
        while let Err(error) = healthcheck::check(self.addr, FAIR_TIMEOUT) {
            assert!(Instant::now() < deadline, "{error}");
        }
    }

    fn metric(&self, name: &str) -> u64 {
        let answer = ask(self.connect(), "GET /metrics HTTP/1.0\r\n\r\n");
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

/// Everything that is answered until the server closes; it may do so with a reset.
fn ask(mut client: TcpStream, request: &str) -> String {
    let _ = client.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn clients_that_hold_connections_keep_nobody_out() {
    let requests = [
        // Nothing; a head that never ends; a body that never comes, wanted or not; answers that
        // nobody reads.
        String::new(),
        "GET /healthz HTTP/1.1\r\nX: ".to_string(),
        "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nab".to_string(),
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".to_string(),
        "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(64),
    ];
    for request in requests {
        let server = Server::start();
        let crowd = server.crowd(&request);
        server.assert_fair_client_is_answered();
        let open = server.metric("demo_admin_connections");
        assert!(open < CROWD as u64 / 2, "{open} are open: {request:?}");
        drop(crowd);
    }
}

#[test]
fn those_who_are_sent_away_are_counted() {
    let server = Server::start();
    assert_eq!(server.metric("demo_admin_connections_evicted_total"), 0);
    let crowd = server.crowd("");
    assert!(server.metric("demo_admin_connections_evicted_total") > 0);
    drop(crowd);
}

#[test]
fn a_request_that_is_being_answered_is_not_cut_off_for_idle_clients() {
    let server = Server::start();
    let mut asker = server.connect();
    asker.write_all(b"GET /slow HTTP/1.0\r\n\r\n").unwrap();
    server.runtime.block_on(server.slow_asked.notified());
    let crowd = server.crowd("");
    server.assert_fair_client_is_answered();
    server.slow_answered.notify_one();
    let answer = ask(asker, "");
    assert!(answer.ends_with("at last"), "{answer}");
    drop(crowd);
}

#[test]
fn requests_that_wait_for_their_answer_keep_nobody_out() {
    let server = Server::start();
    let crowd = server.crowd("GET /slow HTTP/1.0\r\n\r\n");
    server.assert_fair_client_is_answered();
    drop(crowd);
}

#[test]
fn few_idle_clients_among_many_that_wait_for_their_answer_keep_nobody_out() {
    let server = Server::start();
    let waiting = server.crowd("GET /slow HTTP/1.0\r\n\r\n");
    // Were only these replaced, one would have to grow old for each that comes.
    let idle = server.crowd("");
    server.assert_fair_client_is_answered();
    drop((waiting, idle));
}

#[test]
fn huge_heads_are_refused() {
    let server = Server::start();
    let heads = [
        format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20)),
        format!("GET /healthz HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(10_000)),
        format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10)),
    ];
    for head in heads {
        let answer = ask(server.connect(), &head);
        // Where the client is still sending, the reset may overtake the refusal.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        server.assert_fair_client_is_answered();
    }
    let usual = format!("GET /healthz HTTP/1.0\r\nX: {}\r\n\r\n", "x".repeat(8 << 10));
    assert!(ask(server.connect(), &usual).starts_with("HTTP/1.0 200"));
}

#[test]
fn a_flood_of_connections_leaves_room_for_a_fair_client() {
    const CONNECTIONS: usize = 1000;
    let server = Server::start();
    std::thread::scope(|scope| {
        for request in ["", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"] {
            let server = &server;
            scope.spawn(move || {
                for _ in 0..CONNECTIONS {
                    let _ = server.connect().write_all(request.as_bytes());
                }
            });
        }
        for _ in 0..10 {
            server.assert_fair_client_is_answered_in_the_end();
        }
    });
    server.assert_fair_client_is_answered();
}

#[test]
fn probes_are_answered_while_the_service_is_too_busy_for_anything() {
    let server = Server::start();
    server.assert_fair_client_is_answered();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let (blocked, is_blocked) = std::sync::mpsc::channel();
    // The runtime's only worker.
    server.runtime.spawn(async move {
        blocked.send(()).unwrap();
        wait.recv().unwrap();
    });
    is_blocked.recv().unwrap();
    server.assert_fair_client_is_answered();
    done.send(()).unwrap();
}

#[test]
fn the_count_of_connections_goes_down_when_clients_leave() {
    let server = Server::start();
    let clients: Vec<_> = std::iter::repeat_with(|| server.connect()).take(20).collect();
    assert!(server.metric("demo_admin_connections") > 1);
    drop(clients);
    // Their ends are seen one after the other.
    let deadline = Instant::now() + FAIR_TIMEOUT;
    while server.metric("demo_admin_connections") > 1 {
        assert!(Instant::now() < deadline, "they stay");
        std::thread::sleep(Duration::from_millis(5));
    }
}
