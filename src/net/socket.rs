//! Sockets: how they are opened, and the task that accepts streams.

use super::connection::in_words;
use super::limits::UNACKNOWLEDGED_TIME;
use crate::sip::Transport;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Kernel buffer asked for, so that a burst of INVITEs survives a busy moment.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Streams that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1_024;
/// Wait after an accept that failed, mostly for want of file descriptors, so that the failure does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A stream somebody opened to us.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Which listener it came by.
    pub(super) local: SocketAddr,
    pub(super) transport: Transport,
    pub(super) remote: SocketAddr,
    pub(super) stream: TcpStream,
}

/// Opens a UDP socket.
pub(super) fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // The kernel caps these silently; a smaller buffer only means earlier loss under a flood.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    if address.is_ipv6() {
        // So that an IPv4 socket fits beside it.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Opens a listening TCP socket.
pub(super) fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Streams of the process before us may linger in TIME-WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts streams until the driver is gone.
pub(super) async fn accept(
    listener: TcpListener,
    local: SocketAddr,
    transport: Transport,
    accepted: mpsc::Sender<Accepted>,
) {
    loop {
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = accepted.closed() => return,
        };
        match stream {
            Ok((stream, remote)) => {
                if accepted.send(Accepted { local, transport, remote, stream }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "sip_accept_failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Connects from the address of our socket `local`, whatever its port.
pub(super) async fn connect(local: SocketAddr, remote: SocketAddr, within: Duration) -> Result<TcpStream, String> {
    let open = async {
        let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if !local.ip().is_unspecified() && local.is_ipv4() == remote.is_ipv4() {
            socket.bind(SocketAddr::new(local.ip(), 0))?;
        }
        socket.connect(remote).await
    };
    match timeout(within, open).await {
        Ok(Ok(stream)) => {
            tune(&stream);
            Ok(stream)
        }
        Ok(Err(error)) => Err(in_words(&error)),
        Err(_) => Err(format!("no answer to a connection attempt within {} s", within.as_secs_f32())),
    }
}

/// Sets what every stream wants. Failures only cost speed.
pub(super) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIME));
}
