//! How fast a datagram is read: start line, all headers delimited, and Via, From, To, CSeq, Call-ID and Contact typed.
//!
//! `cargo bench --bench sip_parse`; prints one line per message with the best of a thousand short rounds.

use offhook::sip::{Message, Verdict, judge};
use std::hint::black_box;
use std::time::{Duration, Instant};

const INVITE: &str = "INVITE sip:agent@192.0.2.10:5060;line=7f3a SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.20:5060;rport;branch=z9hG4bKPj5d8f3c2a-91\r\n\
    From: \"Anna Schmidt\" <sip:501@pbx.example.com>;tag=2f9c1b7e-4a\r\n\
    To: <sip:agent@192.0.2.10;line=7f3a>\r\n\
    Contact: <sip:asterisk@192.0.2.20:5060>\r\n\
    Call-ID: 6e0a1c52-8f5b-4d1e-9a77-1f0c2b3d4e5f\r\n\
    CSeq: 22091 INVITE\r\n\
    Allow: OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, MESSAGE, REFER\r\n\
    Supported: 100rel, timer, replaces, norefersub, histinfo\r\n\
    Session-Expires: 1800\r\nMin-SE: 90\r\nMax-Forwards: 70\r\nUser-Agent: PBX\r\n\
    Content-Type: application/sdp\r\nContent-Length: 224\r\n\r\n\
    v=0\r\no=- 1736 1736 IN IP4 192.0.2.20\r\ns=PBX\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\nm=audio 17402 RTP/AVP 0 8 101\r\n\
    a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

const OK: &str = "SIP/2.0 200 OK\r\n\
    Via: SIP/2.0/UDP 192.0.2.10:5060;rport=5060;received=192.0.2.10;branch=z9hG4bK7f0e9d8c6b5a4\r\n\
    Call-ID: 0d1e2f3a4b5c6d7e@192.0.2.10\r\n\
    From: <sip:501@pbx.example.com>;tag=aa11bb22\r\n\
    To: <sip:501@pbx.example.com>;tag=z9hG4bK7f0e9d8c\r\n\
    CSeq: 41 REGISTER\r\nDate: Sat, 13 Nov 2027 23:29:00 GMT\r\n\
    Contact: <sip:501@192.0.2.10:5060;line=7f3a>;expires=299\r\nExpires: 300\r\nServer: PBX\r\nContent-Length: 0\r\n\r\n";

/// One reading as the endpoint needs it. The sum keeps the work from being optimised away.
fn read(bytes: &[u8]) -> usize {
    let Ok(message) = Message::parse(bytes) else { return 0 };
    let (Ok(via), Ok(from), Ok(to)) = (message.via(), message.from(), message.to()) else { return 0 };
    let (Ok(cseq), Ok(call_id), Ok(contact)) = (message.cseq(), message.call_id(), message.contact()) else { return 0 };
    via.branch().map_or(0, str::len)
        + from.tag().map_or(0, str::len)
        + to.tag().map_or(0, str::len)
        + cseq.number as usize
        + call_id.len()
        + contact.map_or(0, |c| c.uri_text().len())
}

fn judged(bytes: &[u8]) -> usize {
    match judge(bytes) {
        Verdict::Accept { head, .. } => head.call_id.len(),
        Verdict::Reject { .. } | Verdict::Drop { .. } => 0,
    }
}

/// Messages in a round, and rounds.
const ROUND: u32 = 500;
const ROUNDS: u32 = 1000;

fn measure(name: &str, bytes: &[u8], work: fn(&[u8]) -> usize) {
    assert!(work(bytes) > 0, "{name} is not accepted");
    // Short rounds: the best of many is one that no other process interrupted.
    let round = || {
        let start = Instant::now();
        for _ in 0..ROUND {
            black_box(work(black_box(bytes)));
        }
        start.elapsed()
    };
    let best = (0..ROUNDS).map(|_| round()).min().unwrap_or(Duration::MAX).as_nanos() as f64 / f64::from(ROUND);
    println!("{name:<28} {:>5} bytes {best:>7.0} ns/message {:>9.0} messages/s", bytes.len(), 1e9 / best);
}

fn main() {
    measure("INVITE with SDP, six typed", INVITE.as_bytes(), read);
    measure("INVITE with SDP, judged", INVITE.as_bytes(), judged);
    measure("200 to REGISTER, six typed", OK.as_bytes(), read);
    measure("200 to REGISTER, judged", OK.as_bytes(), judged);
}
