use super::*;

const PCMU: &[u8] = &[0, 101];

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn header(ssrc: u32, sequence: u16) -> Header {
    Header { marker: false, payload_type: 0, sequence, timestamp: u32::from(sequence).wrapping_mul(160), ssrc }
}

/// A lock with its clock: packets come 20 ms apart.
struct Line {
    lock: SourceLock,
    now: Instant,
}

impl Line {
    fn new(sdp: &str, signalling: &str) -> Self {
        let now = Instant::now();
        Self { lock: SourceLock::new(now, address(sdp), signalling.parse().unwrap()), now }
    }

    fn after(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self
    }

    fn hear(&mut self, from: &str, ssrc: u32, sequence: u16) -> Admission {
        self.now += Duration::from_millis(20);
        self.lock.admit(self.now, address(from), &header(ssrc, sequence), PCMU)
    }

    /// Sequence numbers of those accepted out of `count` packets.
    fn run(&mut self, from: &str, ssrc: u32, first: u16, count: u16) -> Vec<u16> {
        (first..first + count).filter(|s| !matches!(self.hear(from, ssrc, *s), Admission::Refused(_))).collect()
    }

    fn destination(&self) -> String {
        self.lock.destination().map_or_else(|| "nowhere".into(), |d| d.to_string())
    }
}

#[test]
fn the_exact_address_is_heard_at_once_and_closes_the_window() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    assert_eq!(
        line.hear("203.0.113.5:4000", 1, 10),
        Admission::AcceptedNew { from: address("203.0.113.5:4000"), moved: true }
    );
    assert!(line.run("203.0.113.5:5000", 2, 10, 20).is_empty());
    assert_eq!(line.destination(), "203.0.113.5:4000");
}

#[test]
fn another_port_of_the_sdp_ip_is_learned_after_four_consecutive_packets() {
    let mut line = Line::new("203.0.113.5:4000", "198.51.100.9");
    assert_eq!(line.run("203.0.113.5:5000", 7, 100, 6), [103, 104, 105]);
    assert_eq!(line.destination(), "203.0.113.5:5000");
}

#[test]
fn the_signalling_source_counts_only_for_an_unroutable_sdp_ip() {
    let mut private = Line::new("192.168.1.20:4000", "8.8.8.8");
    assert_eq!(private.run("8.8.8.8:60000", 7, 1, 5), [4, 5]);
    assert_eq!(private.destination(), "8.8.8.8:60000");

    let mut public = Line::new("9.9.9.9:4000", "8.8.8.8");
    assert!(public.run("8.8.8.8:60000", 7, 1, 20).is_empty());
    assert_eq!(public.destination(), "9.9.9.9:4000");
}

#[test]
fn a_third_address_is_never_learned() {
    let mut line = Line::new("192.168.1.20:4000", "8.8.8.8");
    assert!(line.run("66.66.66.66:4000", 7, 1, 90).is_empty());
    assert_eq!(line.destination(), "192.168.1.20:4000");
}

#[test]
fn gaps_reordering_and_a_mixed_source_restart_the_probation() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    for sequence in [1, 2, 3, 5, 6, 7, 9, 8, 7, 6] {
        assert!(matches!(line.hear("203.0.113.5:5000", 7, sequence), Admission::Refused(Refusal::Probation)));
    }
    for sequence in 20..24 {
        assert!(matches!(line.hear("203.0.113.5:5000", u32::from(sequence), sequence), Admission::Refused(_)));
    }
    assert_eq!(line.destination(), "203.0.113.5:4000");
}

#[test]
fn after_two_seconds_nothing_is_learned() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    line.after(2_001);
    assert!(line.run("203.0.113.5:5000", 7, 1, 10).is_empty());
}

#[test]
fn one_change_per_window() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    assert_eq!(line.run("203.0.113.5:5000", 7, 1, 4), [4]);
    assert!(line.run("203.0.113.5:6000", 8, 1, 10).is_empty());
    assert_eq!(line.destination(), "203.0.113.5:5000");
}

#[test]
fn the_exact_address_wins_back_from_a_learned_one() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    line.run("203.0.113.5:5000", 7, 1, 10);
    let mut moved = line.lock.clone();
    let same = moved.admit(line.now, address("203.0.113.5:4000"), &header(7, 11), PCMU);
    assert!(matches!(same, Admission::AcceptedNew { moved: true, .. }), "the source that talks, at once");
    for sequence in 1..=3 {
        assert_eq!(line.hear("203.0.113.5:4000", 9, sequence), Admission::Refused(Refusal::Probation));
    }
    assert!(matches!(line.hear("203.0.113.5:4000", 9, 4), Admission::AcceptedNew { moved: true, .. }));
    assert!(line.run("203.0.113.5:5000", 7, 11, 10).is_empty());
    assert_eq!(line.destination(), "203.0.113.5:4000");
}

#[test]
fn a_renegotiation_reopens_the_window_and_keeps_what_was_learned() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    line.run("203.0.113.5:5000", 7, 1, 4);
    line.after(60_000);
    let (now, sdp) = (line.now, line.lock.advertised);
    line.lock.renegotiated(now, sdp, sdp.ip());
    assert_eq!(line.destination(), "203.0.113.5:5000");
    assert_eq!(line.hear("203.0.113.5:5000", 7, 5), Admission::Accepted);
    assert!(line.run("203.0.113.5:6000", 9, 1, 3).is_empty());
    assert_eq!(line.hear("203.0.113.5:5000", 7, 6), Admission::Accepted, "it still talks there");
    assert!(line.run("203.0.113.5:6000", 9, 4, 3).is_empty(), "so another source must wait");
    assert_eq!(line.run("203.0.113.5:6000", 7, 7, 4), [10], "NAT gave the same source another port");
    assert_eq!(line.destination(), "203.0.113.5:6000");
}

#[test]
fn a_new_sdp_address_is_used_at_once_and_the_old_one_is_no_longer_heard() {
    let mut line = Line::new("8.8.4.5:4000", "8.8.4.5");
    line.run("8.8.4.5:4000", 7, 1, 4);
    let now = line.now;
    line.lock.renegotiated(now, address("8.8.4.99:7000"), "8.8.4.5".parse().unwrap());
    assert_eq!(line.destination(), "8.8.4.99:7000");
    assert!(line.run("8.8.4.5:4000", 7, 5, 4).is_empty());
    assert_eq!(line.run("8.8.4.99:7000", 8, 1, 2), [1, 2]);
}

#[test]
fn payload_types_outside_the_negotiation_are_refused() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    let odd = Header { payload_type: 18, ..header(1, 1) };
    assert_eq!(
        line.lock.admit(line.now, address("203.0.113.5:4000"), &odd, PCMU),
        Admission::Refused(Refusal::PayloadType)
    );
}

#[test]
fn a_forged_source_on_the_right_address_is_refused_while_the_true_one_talks() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    line.run("203.0.113.5:4000", 7, 1, 5);
    for n in 0..50u16 {
        assert_eq!(line.hear("203.0.113.5:4000", 666, 900 + n), Admission::Refused(Refusal::Stream));
        assert_eq!(line.hear("203.0.113.5:4000", 7, 6 + n), Admission::Accepted);
    }
}

#[test]
fn a_new_source_is_taken_after_four_packets_once_the_old_one_is_silent() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    line.run("203.0.113.5:4000", 7, 1, 5);
    assert_eq!(line.run("203.0.113.5:4000", 8, 500, 8), [504, 505, 506, 507], "100 ms of silence take five packets");
    assert_eq!(line.lock.ssrc(), Some(8));
}

#[test]
fn a_restarted_sequence_or_clock_heals_like_a_new_source() {
    for restart in [
        Header { sequence: 40_000, timestamp: 800, ..header(7, 0) },
        Header { sequence: 6, timestamp: 900_000_000, ..header(7, 0) },
    ] {
        let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
        line.run("203.0.113.5:4000", 7, 1, 5);
        let mut refused = 0;
        for n in 0..8u16 {
            line.after(20);
            let header = Header {
                sequence: restart.sequence + n,
                timestamp: restart.timestamp.wrapping_add(u32::from(n) * 160),
                ..restart
            };
            let verdict = line.lock.admit(line.now, address("203.0.113.5:4000"), &header, PCMU);
            refused += u32::from(matches!(verdict, Admission::Refused(_)));
        }
        assert_eq!(refused, 4);
    }
}

#[test]
fn silence_suppression_and_held_clocks_are_not_restarts() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    line.run("203.0.113.5:4000", 7, 1, 5);
    line.after(30_000);
    assert_eq!(line.hear("203.0.113.5:4000", 7, 6), Admission::Accepted, "the clock stood still");
    line.after(30_000);
    let moved = Header { timestamp: 7 * 160 + 240_000, ..header(7, 7) };
    assert_eq!(line.lock.admit(line.now, address("203.0.113.5:4000"), &moved, PCMU), Admission::Accepted);
}

#[test]
fn ipv4_on_an_ipv6_socket_is_the_same_address() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    assert!(matches!(line.hear("[::ffff:203.0.113.5]:4000", 1, 1), Admission::AcceptedNew { .. }));
}

#[test]
fn a_peer_without_a_usable_address_is_learned_from_its_signalling_source() {
    let mut line = Line::new("0.0.0.0:4000", "8.8.4.4");
    assert_eq!(line.destination(), "nowhere");
    line.run("8.8.4.4:4000", 7, 1, 4);
    assert_eq!(line.destination(), "8.8.4.4:4000");
}

#[test]
fn unroutable_addresses_by_table() {
    for ip in [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "192.0.0.8",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "::ffff:10.0.0.1",
    ] {
        assert!(is_unroutable(ip.parse().unwrap()), "{ip}");
    }
    for ip in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2a00:1450::1", "::ffff:8.8.8.8"] {
        assert!(!is_unroutable(ip.parse().unwrap()), "{ip}");
    }
}

#[test]
fn timestamps_are_judged_by_the_clock_of_the_codec() {
    for (clock_rate, ok, bad) in [(8_000, 39_000, 41_000), (48_000, 239_000, 241_000)] {
        for (jump, expected) in [(ok, true), (bad, false)] {
            let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
            line.lock.set_clock_rate(clock_rate);
            line.run("203.0.113.5:4000", 7, 1, 1);
            let next = Header { timestamp: 160 + jump, ..header(7, 2) };
            let verdict = line.lock.admit(line.now, address("203.0.113.5:4000"), &next, PCMU);
            assert_eq!(verdict == Admission::Accepted, expected, "{clock_rate} {jump}");
        }
        let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
        line.lock.set_clock_rate(clock_rate);
        line.run("203.0.113.5:4000", 7, 1, 1);
        line.after(3_600_000);
        let next = Header { timestamp: 160 + clock_rate * 3_602, ..header(7, 2) };
        let verdict = line.lock.admit(line.now, address("203.0.113.5:4000"), &next, PCMU);
        assert_eq!(verdict, Admission::Accepted, "an hour of silence with a running clock");
    }
}

#[test]
fn nothing_moves_before_a_packet_is_authentic() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    let before = format!("{:?}", line.lock);
    for sequence in 1..50 {
        for from in ["203.0.113.5:4000", "203.0.113.5:5000"] {
            let verdict = line.lock.admit_with(line.now, address(from), &header(7, sequence), PCMU, |_| false);
            assert_eq!(verdict, Admission::Refused(Refusal::Unauthentic));
        }
        let stranger =
            line.lock.admit_with(line.now, address("66.66.66.66:1"), &header(7, sequence), PCMU, |_| panic!("asked"));
        assert_eq!(stranger, Admission::Refused(Refusal::Stranger), "strangers cost no authentication");
    }
    assert_eq!(format!("{:?}", line.lock), before);
}

#[test]
fn what_a_packet_claims_to_be_is_told_to_whoever_authenticates_it() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    let mut claims = Vec::new();
    for (from, ssrc, sequence) in [
        ("203.0.113.5:5000", 7, 1),
        ("203.0.113.5:5000", 7, 2),
        ("203.0.113.5:5000", 7, 3),
        ("203.0.113.5:5000", 7, 4),
        ("203.0.113.5:5000", 7, 5),
        ("203.0.113.5:5000", 8, 5),
        ("203.0.113.5:4000", 7, 6),
    ] {
        line.lock.admit_with(line.now, address(from), &header(ssrc, sequence), PCMU, |claim| {
            claims.push(claim);
            true
        });
    }
    use Claim::{Begins, Candidate, Continues};
    assert_eq!(claims, [Candidate, Candidate, Candidate, Begins, Continues, Candidate, Begins]);
}

#[test]
fn handshakes_are_let_in_from_the_description_and_the_signalling_only() {
    let mut line = Line::new("192.168.1.20:4000", "8.8.8.8");
    for (from, admitted) in [
        ("192.168.1.20:4000", true),
        ("192.168.1.20:9", true),
        ("8.8.8.8:777", true),
        ("[::ffff:8.8.8.8]:777", true),
        ("66.66.66.66:4000", false),
    ] {
        assert_eq!(line.lock.admits_handshake(address(from)), admitted, "{from}");
    }
    assert!(
        !Line::new("9.9.9.9:4000", "8.8.8.8").lock.admits_handshake(address("8.8.8.8:4000")),
        "a public SDP counts alone"
    );
    line.run("8.8.8.8:60000", 7, 1, 5);
    assert!(line.lock.admits_handshake(address("8.8.8.8:60000")));
}

#[test]
fn reports_are_believed_from_the_source_that_is_heard_only() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    assert!(!line.lock.admits_report(address("203.0.113.5:4001"), 7), "nobody is heard yet");
    line.run("203.0.113.5:4000", 7, 1, 1);
    assert!(line.lock.admits_report(address("203.0.113.5:4001"), 7));
    assert!(line.lock.admits_report(address("[::ffff:203.0.113.5]:4000"), 7));
    assert!(!line.lock.admits_report(address("203.0.113.5:4001"), 8));
    assert!(!line.lock.admits_report(address("66.66.66.66:4001"), 7));
}

#[test]
fn a_talking_source_is_not_pushed_off_by_another_one_at_a_vouched_address() {
    let mut line = Line::new("203.0.113.5:4000", "203.0.113.5");
    line.run("203.0.113.5:4000", 7, 1, 5);
    let (now, sdp) = (line.now, line.lock.advertised);
    line.lock.renegotiated(now, sdp, sdp.ip());
    // Two hosts behind one NAT: the window is open, the IP vouched for, the packets in order.
    for n in 0..90u16 {
        assert!(matches!(line.hear("203.0.113.5:6000", 666, 900 + n), Admission::Refused(_)));
        line.now -= Duration::from_millis(20);
        assert_eq!(line.hear("203.0.113.5:4000", 7, 6 + n), Admission::Accepted);
    }
    assert_eq!(line.destination(), "203.0.113.5:4000");
}
