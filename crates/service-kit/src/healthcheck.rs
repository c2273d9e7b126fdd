//! Asks a service's own admin server whether it is live and ready: for containers without a shell.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// No answer of `/healthz` is longer than this.
const RESPONSE_BYTES_MAX: u64 = 64 * 1024;

/// Why the service does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// Nothing answers there.
    #[error(
        "no answer from {addr}: {error}; is the service running, with ADMIN_ADDR at this port?"
    )]
    NoAnswer {
        /// The address that was asked.
        addr: SocketAddr,
        /// What went wrong.
        error: io::Error,
    },
    /// What answers there is no admin server.
    #[error("{addr} does not answer in HTTP: {answer:?}")]
    NotHttp {
        /// The address that was asked.
        addr: SocketAddr,
        /// The beginning of the answer.
        answer: String,
    },
    /// The service says that it is not live or not ready.
    #[error("{addr} is unhealthy (HTTP {status}): {body}")]
    Unhealthy {
        /// The address that was asked.
        addr: SocketAddr,
        /// The HTTP status.
        status: u16,
        /// The body, which names the reasons.
        body: String,
    },
}

/// `GET /healthz` at `addr` within `timeout`. An unspecified address (`0.0.0.0`) is asked through
/// the loopback. Blocks.
pub fn check(addr: SocketAddr, timeout: Duration) -> Result<(), HealthcheckError> {
    let addr = reachable(addr);
    let answer = get(addr, timeout).map_err(|error| HealthcheckError::NoAnswer { addr, error })?;
    let not_http = || HealthcheckError::NotHttp { addr, answer: answer.chars().take(80).collect() };
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let status = head
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or_else(not_http)?;
    match status {
        200 => Ok(()),
        status => Err(HealthcheckError::Unhealthy { addr, status, body: body.to_string() }),
    }
}

fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// HTTP/1.0, so that the server neither chunks the body nor keeps the connection.
fn get(addr: SocketAddr, timeout: Duration) -> io::Result<String> {
    let deadline = Instant::now() + timeout;
    let mut stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    // In one piece: who answers before the last one would cut the connection under it.
    let request = format!("GET /healthz HTTP/1.0\r\nHost: {addr}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while (answer.len() as u64) < RESPONSE_BYTES_MAX {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(timed_out()),
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    // A timeout of zero would mean none at all to the socket.
    match left.is_zero() {
        true => Err(timed_out()),
        false => Ok(left),
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "timed out")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at once")]

    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Answers one connection with `answer`, from a thread.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        addr
    }

    #[test]
    fn a_200_is_healthy() {
        let addr = server("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        check(addr, TIMEOUT).unwrap();
    }

    #[test]
    fn a_503_says_why() {
        let addr =
            server("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"kafka\":\"no assignment yet\"}");
        let error = check(addr, TIMEOUT).unwrap_err().to_string();
        assert!(error.contains("HTTP 503") && error.contains("no assignment yet"), "{error}");
    }

    #[test]
    fn something_else_on_the_port_is_told_apart() {
        let error = check(server("SSH-2.0-OpenSSH_9.9\r\n"), TIMEOUT).unwrap_err();
        assert!(matches!(error, HealthcheckError::NotHttp { .. }), "{error}");
    }

    #[test]
    fn nobody_there_names_the_setting() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = check(closed, TIMEOUT).unwrap_err().to_string();
        assert!(error.contains("ADMIN_ADDR") && error.contains("refused"), "{error}");
    }

    #[test]
    fn a_silent_server_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = check(listener.local_addr().unwrap(), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("timed out"), "{error}");
    }

    #[test]
    fn an_unspecified_address_is_asked_through_the_loopback() {
        assert_eq!(reachable("0.0.0.0:8080".parse().unwrap()), "127.0.0.1:8080".parse().unwrap());
        assert_eq!(reachable("[::]:1".parse().unwrap()), "[::1]:1".parse().unwrap());
    }
}
