//! A TCP proxy that can lose the network between a client and a server.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::task::{JoinHandle, JoinSet};

use crate::listen::{PortReservation, loopback};

/// Of each direction of a connection.
const BUFFER_BYTES: usize = 64 << 10;

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyOptions {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The server behind it.
    pub upstream: SocketAddr,
}

/// Why a proxy can't start.
#[derive(Debug, thiserror::Error)]
#[error("the proxy can't listen on 127.0.0.1:{port}; is another program using the port?")]
pub struct ProxyStartError {
    /// The port asked for; 0 for any.
    pub port: u16,
    /// What the system says.
    pub source: io::Error,
}

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Everything passes.
    Up,
    /// Connections stay and new ones are taken, but nothing passes: cables are cut.
    Stalled,
    /// Connections are closed, and new ones refused.
    Down,
}

/// A proxy on 127.0.0.1. Dropping it ends it.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    serving: JoinHandle<()>,
}

impl TcpProxy {
    pub(crate) fn open(options: ProxyOptions, runtime: &Handle) -> Result<Self, ProxyStartError> {
        let _context = runtime.enter();
        let failed = |source| ProxyStartError { port: options.port, source };
        let port = PortReservation::reserve(loopback(options.port)).map_err(failed)?;
        let listener = port.listen().map_err(failed)?;
        let address = port.address();
        let (network, state) = watch::channel(Network::Up);
        let serving = runtime.spawn(serve(port, listener, options.upstream, state));
        Ok(Self { address, network, serving })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what the network does, for connections that are there and for new ones.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Listens while the network is not down.
async fn serve(
    port: PortReservation,
    mut listener: TcpListener,
    upstream: SocketAddr,
    mut network: watch::Receiver<Network>,
) {
    let seen_by_connections = network.clone();
    loop {
        // Dropped with its connections when the network goes down.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                changed = network.wait_for(|network| *network == Network::Down) => match changed {
                    Ok(_) => break,
                    Err(_) => return,
                },
                accepted = listener.accept() => match accepted {
                    Ok((client, _)) => {
                        connections.spawn(carry(client, upstream, seen_by_connections.clone()));
                    }
                    Err(error) => tracing::warn!(%error, "accepting a proxied connection failed"),
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        connections.shutdown().await;
        if network.wait_for(|network| *network != Network::Down).await.is_err() {
            return;
        }
        listener = match port.listen() {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, address = %port.address(), "the proxy can't listen again");
                return;
            }
        };
    }
}

/// Carries bytes both ways until either side ends.
async fn carry(mut client: TcpStream, upstream: SocketAddr, mut network: watch::Receiver<Network>) {
    if wait_until_up(&mut network).await.is_err() {
        return;
    }
    let mut server = match TcpStream::connect(upstream).await {
        Ok(server) => server,
        Err(error) => {
            tracing::debug!(%upstream, %error, "the server behind the proxy can't be reached");
            return;
        }
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let mut other = network.clone();
    let ended = tokio::select! {
        ended = copy(&mut from_client, &mut to_server, &mut network) => ended,
        ended = copy(&mut from_server, &mut to_client, &mut other) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%upstream, %error, "a proxied connection broke");
    }
}

/// Passes bytes on while the network is up, and ends with either connection.
async fn copy(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    network: &mut watch::Receiver<Network>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 || wait_until_up(network).await.is_err() {
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
    }
}

/// An error once the proxy is gone.
async fn wait_until_up(network: &mut watch::Receiver<Network>) -> Result<(), RecvError> {
    network.wait_for(|network| *network == Network::Up).await.map(|_| ())
}
