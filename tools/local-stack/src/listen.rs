//! A TCP port that stays ours while its server is stopped, so that an outage ends on the same address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted.
const BACKLOG_CONNECTIONS_MAX: u32 = 1024;

/// A port of 127.0.0.1; 0 is any free one.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Holds a port that a server has just left, and that it will bind again with `SO_REUSEADDR`: else
/// the kernel may give it to any connection as its own, such as a client's that tries to reach the
/// server, and the server could not come back.
pub(crate) fn hold(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Holds a port for as long as it lives.
///
/// The holding socket is bound but never listens: while no listener is open the kernel refuses
/// connections (which is what an outage looks like), and no other program can be given the port.
#[derive(Debug)]
pub(crate) struct PortReservation {
    address: SocketAddr,
    _holder: TcpSocket,
}

impl PortReservation {
    /// Reserves the port of `wanted`, or any free one for 0.
    pub(crate) fn reserve(wanted: SocketAddr) -> io::Result<Self> {
        if wanted.port() != 0 {
            // Two sockets that both ask for SO_REUSEPORT may share a port, so the holder alone would
            // not notice another running stack; an ordinary bind does.
            drop(std::net::TcpListener::bind(wanted)?);
        }
        let holder = unbound_socket(wanted)?;
        holder.bind(wanted)?;
        Ok(Self { address: holder.local_addr()?, _holder: holder })
    }

    /// The address to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens the port to connections. Must run inside a tokio runtime.
    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        let socket = unbound_socket(self.address)?;
        // Connections have it from their listener: those that linger after their end keep nobody from the port.
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        socket.listen(BACKLOG_CONNECTIONS_MAX)
    }
}

fn unbound_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    socket.set_reuseport(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use std::time::Duration;

    use super::*;

    /// Why `address` refuses a connection, in the end: a process that another test starts has each
    /// open listener, too, until it is executed.
    async fn refusal(address: SocketAddr) -> io::ErrorKind {
        const TRIES_MAX: u32 = 1000;
        for _ in 0..TRIES_MAX {
            if let Err(error) = tokio::net::TcpStream::connect(address).await {
                return error.kind();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{address} still takes connections");
    }

    #[tokio::test]
    async fn refuses_while_not_listening_and_comes_back_on_the_same_port() {
        let port = PortReservation::reserve(loopback(0)).unwrap();
        assert_eq!(refusal(port.address()).await, io::ErrorKind::ConnectionRefused);

        for _ in 0..2 {
            let listener = port.listen().unwrap();
            let connect = tokio::net::TcpStream::connect(port.address());
            let (client, server) = tokio::join!(connect, listener.accept());
            client.unwrap();
            server.unwrap();
            drop(listener);
            assert_eq!(refusal(port.address()).await, io::ErrorKind::ConnectionRefused);
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error_even_while_its_server_is_stopped() {
        let first = PortReservation::reserve(loopback(0)).unwrap();
        let error = PortReservation::reserve(first.address()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let _listener = first.listen().unwrap();
        let error = PortReservation::reserve(first.address()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
