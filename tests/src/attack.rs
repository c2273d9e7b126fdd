//! Clients that do to an admin server whatever they can: they hold connections, send without end, read nothing, and
//! come in floods.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, ensure};

/// Connections that a client holds: all of them together, more than a server takes.
const HELD_MAX: usize = 40;
/// Between two rounds of a client. Without it the attack would have the whole machine.
const PAUSE: Duration = Duration::from_millis(20);
/// Time for a connection to be taken, where the server is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Adds to what a client holds, or lets go of it; one round.
type Client = fn(SocketAddr, &mut Vec<TcpStream>) -> std::io::Result<()>;

/// An attack under way; it ends with [`Attack::stop`], or when dropped.
#[derive(Debug)]
pub struct Attack {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Attack {
    /// Begins on `addr`, with a thread for each kind of client.
    pub fn start(addr: SocketAddr) -> Self {
        const CLIENTS: [Client; 6] = [
            slow_head,
            missing_body,
            no_reader,
            huge_head,
            flood_of_connections,
            flood_of_requests,
        ];
        let stop = Arc::new(AtomicBool::new(false));
        let clients = CLIENTS.map(|client| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut held = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    // To be shown the door is what an attacker has to expect.
                    let _ = client(addr, &mut held);
                    if held.len() > HELD_MAX {
                        held.remove(0);
                    }
                    std::thread::sleep(PAUSE);
                }
            })
        });
        Self { stop, clients: clients.into() }
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            ensure!(client.join().is_ok(), "an attacker panicked");
        }
        Ok(())
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let client = TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT)?;
    client.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    client.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    Ok(client)
}

/// A head that grows by a header a round and never ends.
fn slow_head(addr: SocketAddr, held: &mut Vec<TcpStream>) -> std::io::Result<()> {
    let mut client = connect(addr)?;
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")?;
    held.retain_mut(|client| client.write_all(b"X: x\r\n").is_ok());
    held.push(client);
    Ok(())
}

/// A body that is announced and never comes.
fn missing_body(addr: SocketAddr, held: &mut Vec<TcpStream>) -> std::io::Result<()> {
    let mut client = connect(addr)?;
    client.write_all(b"POST /runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{")?;
    held.push(client);
    Ok(())
}

/// Asks for more than the buffers of the connection hold, and reads none of it.
fn no_reader(addr: SocketAddr, held: &mut Vec<TcpStream>) -> std::io::Result<()> {
    let mut client = connect(addr)?;
    client.write_all("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100).as_bytes())?;
    held.push(client);
    Ok(())
}

/// A header of a megabyte.
fn huge_head(addr: SocketAddr, _: &mut Vec<TcpStream>) -> std::io::Result<()> {
    let mut client = connect(addr)?;
    client.write_all(
        format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).as_bytes(),
    )
}

/// Connections for their own sake.
fn flood_of_connections(addr: SocketAddr, held: &mut Vec<TcpStream>) -> std::io::Result<()> {
    held.clear();
    for _ in 0..100 {
        held.push(connect(addr)?);
    }
    Ok(())
}

/// Requests one after the other, as fast as they are answered.
fn flood_of_requests(addr: SocketAddr, _: &mut Vec<TcpStream>) -> std::io::Result<()> {
    let mut client = connect(addr)?;
    let mut answer = [0; 4096];
    for _ in 0..100 {
        client.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")?;
        if client.read(&mut answer)? == 0 {
            break;
        }
    }
    Ok(())
}
