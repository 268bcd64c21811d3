//! The least SIP that lets the load generator call a prototype: 200 with one audio port, and 200 to BYE.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// The media of a prototype.
pub trait Media {
    /// A call whose far side takes audio at `remote`; gives our port.
    fn open(&mut self, remote: SocketAddr) -> io::Result<u16>;
    /// That call is over.
    fn close(&mut self, port: u16);
}

/// Answers on port 5060 of `ip` until the process ends.
pub fn serve(ip: IpAddr, mut media: impl Media) -> io::Result<()> {
    let socket = UdpSocket::bind((ip, 5060))?;
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
    let mut calls: HashMap<String, u16> = HashMap::new();
    let mut buffer = [0; 4_096];
    println!("ready");
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        let id = field(&text, "Call-ID").to_owned();
        let body = match text.split(' ').next() {
            Some("INVITE") => {
                let port = match (calls.get(&id), audio_address(&text)) {
                    (Some(port), _) => *port,
                    (None, Some(remote)) => {
                        let port = media.open(remote)?;
                        calls.insert(id, port);
                        port
                    }
                    (None, None) => continue,
                };
                format!(
                    "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=ptime:20\r\n"
                )
            }
            Some("BYE") => {
                if let Some(port) = calls.remove(&id) {
                    media.close(port);
                }
                String::new()
            }
            _ => continue,
        };
        let mut out = "SIP/2.0 200 OK\r\n".to_owned();
        for line in text.lines().take_while(|line| !line.is_empty()) {
            if ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
                out += &format!("{line}\r\n");
            } else if line.starts_with("To:") {
                out += &format!("{line}{}\r\n", if line.contains("tag=") { "" } else { ";tag=p" });
            }
        }
        out += &format!(
            "Contact: <sip:{ip}:5060>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.send_to(out.as_bytes(), from)?;
    }
}

fn field<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()))
        .unwrap_or_default()
}

fn audio_address(text: &str) -> Option<SocketAddr> {
    let ip = text.lines().find_map(|line| line.strip_prefix("c=IN IP4 "))?.trim().parse().ok()?;
    let port = text.lines().find_map(|line| line.strip_prefix("m=audio "))?.split(' ').next()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}
