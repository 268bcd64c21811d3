//! The looks themselves: sockets, OPTIONS, a trial call.

use super::carriage;
use super::verdict::{self, Finding, UdpPort};
use crate::base::Random;
use crate::call::{Approved, Gateway, Line, LineEvent, Outbound};
use crate::cli::server::{Reply, Server};
use crate::media::LegMode;
use crate::net::{Listen, tls};
use crate::sip::event::Header;
use crate::sip::{Target, Transport};
use ipnet::IpNet;
use jiff::Timestamp;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Longest wait for a connection or an OPTIONS: nobody's answer helps after that.
const WAIT: Duration = Duration::from_secs(8);
/// How long an ICMP refusal may take to come back.
const REFUSAL_WAIT: Duration = Duration::from_millis(400);
/// How long a trial call rings at most, and how long its audio is followed.
const RING: Duration = Duration::from_secs(20);
const LISTEN: Duration = Duration::from_secs(4);
/// RTP ports that are tried, spread over the range.
const PORTS_TRIED: u16 = 24;

/// Tries to open ports of the range.
pub(super) fn ports(bind: IpAddr, range: (u16, u16)) -> Finding {
    let (first, last) = range;
    let step = ((last - first) / PORTS_TRIED).max(1);
    let all: Vec<u16> = (0..PORTS_TRIED).filter_map(|n| first.checked_add(n * step)).filter(|p| *p <= last).collect();
    let taken = all.iter().filter(|port| std::net::UdpSocket::bind((bind, **port)).is_err()).count();
    verdict::ports(range, all.len(), taken)
}

/// The certificates we show.
pub(super) fn own_certificates(listen: &[Listen]) -> Vec<Finding> {
    let shown = listen.iter().filter_map(|listen| listen.tls.as_ref());
    shown
        .map(|shown| match tls::describe_certificate(&shown.identity.certificate_file) {
            Ok(facts) => verdict::certificate(&facts, Timestamp::now()),
            Err(error) => verdict::own_certificate_unreadable(&error.to_string()),
        })
        .collect()
}

/// A trunk that only calls us cannot be asked.
pub(super) fn only_inbound(networks: &[IpNet]) -> Finding {
    verdict::only_inbound(networks)
}

/// Sends what no SIP server answers (RFC 5626's keep-alive) and waits for the host's refusal.
pub(super) async fn udp_port(target: Target) -> Option<UdpPort> {
    if target.transport != Transport::Udp {
        return None;
    }
    let any: SocketAddr = if target.remote.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = tokio::net::UdpSocket::bind(any).await.ok()?;
    socket.connect(target.remote).await.ok()?;
    socket.send(b"\r\n\r\n").await.ok()?;
    let mut answer = [0; 16];
    match timeout(REFUSAL_WAIT, socket.recv(&mut answer)).await {
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Some(UdpPort::Refused),
        _ => Some(UdpPort::Silent),
    }
}

/// Whether a stream to the target opens; what the SIP side already knows of it says more than another try.
pub(super) async fn stream(server: &Server, target: Target, has_answered: bool) -> Result<Duration, String> {
    if target.transport == Transport::Udp {
        return Ok(Duration::ZERO);
    }
    if !has_answered && let Some(reason) = server.sip.last_transport_error(target.transport, target.remote) {
        return Err(reason);
    }
    let asked = Instant::now();
    match timeout(WAIT, tokio::net::TcpStream::connect(target.remote)).await {
        Ok(Ok(_)) => Ok(asked.elapsed()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", WAIT.as_secs())),
    }
}

/// One OPTIONS.
pub(super) async fn options(server: &Server, gateway: &Gateway) -> Result<Reply, String> {
    timeout(WAIT, server.ask(gateway)).await.unwrap_or_else(|_| Err(format!("no answer within {} s", WAIT.as_secs())))
}

fn header<'h>(headers: &'h [Header], name: &str) -> Option<&'h str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.expose().as_str())
}

/// The Accept header of a response (RFC 3261 §20.1).
pub(super) fn accept(headers: &[Header]) -> Option<&str> {
    header(headers, "Accept")
}

/// The Date of a response (RFC 3261 §20.17).
pub(super) fn date(headers: &[Header]) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(header(headers, "Date")?).ok().map(|date| date.timestamp())
}

/// Where the peer saw our request come from: `received` and `rport` of our own Via (RFC 3581).
pub(super) fn seen_at(headers: &[Header]) -> Option<SocketAddr> {
    let via = header(headers, "Via")?;
    let parameter = |name: &str| {
        via.split(';').skip(1).find_map(|p| {
            let (key, value) = p.trim().split_once('=')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let ip: IpAddr = parameter("received")?.trim_matches(['[', ']']).parse().ok()?;
    Some(SocketAddr::new(ip, parameter("rport").and_then(|port| port.parse().ok()).unwrap_or_default()))
}

/// Calls a number for a few seconds and follows the audio. Our side echoes, as the other may.
pub(super) async fn call(server: &Server, gateway: &Gateway, targets: Vec<Target>, number: &str) -> Vec<Finding> {
    let to = match Approved::by_operator(number) {
        Ok(to) => to,
        Err(reason) => return vec![verdict::no_number(&reason)],
    };
    let outbound = Outbound::to(to);
    let Some(first) = targets.first().copied() else {
        return vec![verdict::no_number("the peer has no address")];
    };
    let local = server.media_ip_towards(first.remote);
    let mut random = Random::system();
    let (workers, codecs) = (server.supervisor.workers(), &gateway.terms.media);
    let prepare = |offer| outbound.invite(gateway, targets, offer);
    let dialled = Line::dial(&server.sip, local, workers, codecs, LegMode::Echo, &mut random, prepare);
    let mut line = match timeout(RING, dialled).await {
        Ok(Ok(line)) => line,
        Ok(Err(error)) => return vec![verdict::unanswered(number, &error)],
        Err(_) => {
            let reason = format!("{number} rings and nobody answers: give another with --call");
            return vec![verdict::no_number(&reason)];
        }
    };
    let follow = async {
        loop {
            match line.next().await {
                Some(LineEvent::Ended(_)) => return,
                Some(_) => {}
                None => while line.media.events.try_pop().is_some() {},
            }
        }
    };
    let _ = timeout(LISTEN, follow).await;
    let quality = line.quality();
    line.hang_up();
    vec![carriage::agreed(&gateway.terms.media, &quality), verdict::media(&quality.stats, line.is_held())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Pii;

    fn headers(fields: &[(&str, &str)]) -> Vec<Header> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), Pii::new((*value).to_owned()))).collect()
    }

    #[test]
    fn the_date_and_our_address_are_read_from_a_response() {
        let headers = headers(&[
            ("Via", "SIP/2.0/UDP 192.168.1.5:5060;branch=z9hG4bK1;received=203.0.113.9;rport=61000"),
            ("date", "Sun, 01 Mar 2026 00:00:05 GMT"),
        ]);
        assert_eq!(seen_at(&headers), Some("203.0.113.9:61000".parse().unwrap()));
        assert_eq!(date(&headers), Some("2026-03-01T00:00:05Z".parse().unwrap()));
        assert_eq!((seen_at(&[]), date(&[])), (None, None));
    }

    #[tokio::test]
    async fn a_closed_udp_port_is_told_from_a_silent_one() {
        // A port that the system gives to no socket by itself (discard, RFC 863).
        let closed = ([127, 0, 0, 1], 9).into();
        assert_eq!(udp_port(Target::udp(closed)).await, Some(UdpPort::Refused));
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(udp_port(Target::udp(silent.local_addr().unwrap())).await, Some(UdpPort::Silent));
    }
}
