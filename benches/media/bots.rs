//! Far ends of the bridges: each sends back the audio that it gets. One thread.

use futures_util::{SinkExt, StreamExt};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

/// AudioSocket's kinds of message: the end of a call, and 8 kHz PCM.
const HANG_UP: u8 = 0x00;
const AUDIO: u8 = 0x10;

/// Runs the bot named `name` at `address` until the process ends.
pub fn run(name: &str, address: SocketAddr) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("ready");
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            match name {
                "audiosocket" => drop(tokio::spawn(audiosocket(stream))),
                "websocket" => drop(tokio::spawn(websocket(stream))),
                _ => return Err(io::Error::other(format!("no bot named {name}"))),
            }
        }
    })
}

async fn audiosocket(mut stream: TcpStream) -> io::Result<()> {
    let mut message = vec![0; 3 + usize::from(u16::MAX)];
    loop {
        stream.read_exact(&mut message[..3]).await?;
        let end = 3 + usize::from(u16::from_be_bytes([message[1], message[2]]));
        stream.read_exact(&mut message[3..end]).await?;
        match message[0] {
            HANG_UP => return Ok(()),
            AUDIO => stream.write_all(&message[..end]).await?,
            _ => {}
        }
    }
}

/// Binary messages go back as they came; what the other side says in words is not for an echo.
async fn websocket(stream: TcpStream) {
    #[expect(clippy::result_large_err, reason = "the library's type")]
    let take_protocol = |request: &Request, mut response: Response| {
        if let Some(protocol) = request.headers().get("Sec-WebSocket-Protocol") {
            response.headers_mut().insert("Sec-WebSocket-Protocol", protocol.clone());
        }
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, take_protocol).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Binary(audio) = message
            && socket.send(Message::Binary(audio)).await.is_err()
        {
            return;
        }
    }
}
