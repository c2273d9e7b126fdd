//! A network that fails as told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use local_stack::{LocalStack, Network, Options, ProxyOptions, TcpProxy};
use tempfile::TempDir;

/// Long enough for bytes to pass a network that lets them.
const SHORT: Duration = Duration::from_millis(300);

/// A proxy in front of a server that answers every byte with the next one.
fn proxied() -> (TempDir, LocalStack) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in server.incoming() {
            std::thread::spawn(move || answer(connection.unwrap()));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let proxies = vec![ProxyOptions { port: 0, upstream }];
    let stack = LocalStack::start(Options {
        kafka: None,
        s3: None,
        api: None,
        proxies,
        ..Options::new(folder.path())
    });
    (folder, stack.unwrap())
}

fn answer(mut connection: TcpStream) {
    let mut byte = [0];
    while connection.read_exact(&mut byte).is_ok() {
        // The proxy may be gone by now.
        let _ = connection.write_all(&[byte[0] + 1]);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    connection
}

fn ask(connection: &mut TcpStream, question: u8) -> std::io::Result<u8> {
    connection.write_all(&[question])?;
    let mut answer = [0];
    connection.read_exact(&mut answer)?;
    Ok(answer[0])
}

fn proxy(stack: &LocalStack) -> &TcpProxy {
    stack.proxies().first().unwrap()
}

#[test]
fn bytes_pass_both_ways() {
    let (_folder, stack) = proxied();
    let mut connection = connect(proxy(&stack).address());
    for question in 1..9 {
        assert_eq!(ask(&mut connection, question).unwrap(), question + 1);
    }
}

#[test]
fn a_network_that_is_down_cuts_and_refuses_until_it_is_up() {
    let (_folder, stack) = proxied();
    let proxy = proxy(&stack);
    let mut connection = connect(proxy.address());
    assert_eq!(ask(&mut connection, 1).unwrap(), 2);
    proxy.set(Network::Down);
    assert!(ask(&mut connection, 1).is_err());
    while TcpStream::connect(proxy.address()).is_ok() {
        // The one above was cut before the port was closed, or after; this one says that it is.
    }
    proxy.set(Network::Up);
    let again = loop {
        if let Ok(connection) = TcpStream::connect(proxy.address()) {
            break connection;
        }
    };
    again.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(ask(&mut { again }, 3).unwrap(), 4);
}

#[test]
fn a_stalled_network_keeps_connections_and_what_was_sent() {
    let (_folder, stack) = proxied();
    let proxy = proxy(&stack);
    let mut connection = connect(proxy.address());
    assert_eq!(ask(&mut connection, 1).unwrap(), 2);
    proxy.set(Network::Stalled);
    connection.set_read_timeout(Some(SHORT)).unwrap();
    assert!(ask(&mut connection, 5).is_err());
    let mut young = TcpStream::connect(proxy.address()).unwrap();
    young.set_read_timeout(Some(SHORT)).unwrap();
    assert!(ask(&mut young, 7).is_err());

    proxy.set(Network::Up);
    for (mut connection, answer) in [(connection, 6), (young, 8)] {
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut late = [0];
        connection.read_exact(&mut late).unwrap();
        assert_eq!(late, [answer]);
    }
}
