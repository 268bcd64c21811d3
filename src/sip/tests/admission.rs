//! Budgets, bans and proofs in virtual time.

use super::*;

fn admission() -> Admission {
    Admission::new(&mut Random::seeded(1))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// How many of `n` datagrams a second apart by `gap` are read.
fn admitted(admission: &mut Admission, start: Instant, gap: Duration, sources: impl Iterator<Item = IpAddr>) -> usize {
    let mut at = start;
    let mut read = 0;
    for source in sources {
        read += usize::from(admission.admit(at, source, Standing::Unproven) == Admit::Yes);
        at += gap;
    }
    read
}

#[test]
fn one_unproven_address_has_a_burst_and_then_its_rate() {
    let (mut admission, start) = (admission(), Instant::now());
    let one = std::iter::repeat_n(ip("203.0.113.5"), 10_000);
    // 10,000 datagrams in 10 s.
    let read = admitted(&mut admission, start, Duration::from_millis(1), one);
    assert!((125..=132).contains(&read), "{read}");
    assert_eq!(admission.admit(start, ip("203.0.114.5"), Standing::Unproven), Admit::Yes, "others are not affected");
}

#[test]
fn a_network_that_uses_each_address_once_has_one_budget() {
    let (mut admission, start) = (admission(), Instant::now());
    let v4 = (0..10_000u32).map(|n| IpAddr::from([198, 51, 100, (n % 256) as u8]));
    let read = admitted(&mut admission, start, Duration::from_millis(1), v4);
    assert!((640..=655).contains(&read), "{read}");
    let v6 = (0..10_000u128).map(|n| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8u128 << 96) | n)));
    let read = admitted(&mut admission, start, Duration::from_millis(1), v6);
    assert!((640..=655).contains(&read), "{read}");
}

#[test]
fn any_number_of_forged_addresses_has_one_budget_and_bounded_memory() {
    let (mut admission, start) = (admission(), Instant::now());
    let mut random = Random::seeded(2);
    let forged = (0..500_000).map(move |_| IpAddr::from((random.next_u64() as u32).to_be_bytes()));
    let read = admitted(&mut admission, start, Duration::from_micros(10), forged);
    assert!(read <= 2_000 + 5 * 2_000 + 1, "{read}");
    assert!(admission.len() <= SOURCES + NETWORKS + PEERS);
}

#[test]
fn the_flood_of_others_does_not_touch_the_budget_of_a_peer() {
    let (mut admission, start) = (admission(), Instant::now());
    let mut random = Random::seeded(3);
    for n in 0..300_000u64 {
        let at = start + Duration::from_micros(10 * n);
        let forged = IpAddr::from((random.next_u64() as u32).to_be_bytes());
        admission.admit(at, forged, Standing::Unproven);
        if n % 100 == 0 {
            assert_eq!(admission.admit(at, ip("192.0.2.1"), Standing::Known), Admit::Yes);
        }
    }
    let looping = (0..100_000).filter(|_| admission.admit(start, ip("192.0.2.2"), Standing::Known) == Admit::Yes);
    assert_eq!(looping.count(), 20_000);
}

#[test]
fn ten_strikes_ban_for_ten_minutes_and_end_by_themselves() {
    let (mut admission, start) = (admission(), Instant::now());
    let scanner = ip("203.0.113.5");
    let bans: Vec<bool> = (0..12).map(|_| admission.strike(start, scanner, Strike::Claimed)).collect();
    assert_eq!(bans.iter().position(|banned| *banned), Some(9), "{bans:?}");
    assert_eq!(bans.iter().filter(|banned| **banned).count(), 1);
    assert_eq!(admission.admit(start + BAN / 2, scanner, Standing::Unproven), Admit::Banned);
    assert_eq!(admission.admit(start + BAN, scanner, Standing::Unproven), Admit::Yes);
}

#[test]
fn strikes_are_forgiven_with_time() {
    let (mut admission, start) = (admission(), Instant::now());
    for minute in 0..600 {
        let at = start + Duration::from_secs(61 * minute);
        assert!(!admission.strike(at, ip("203.0.113.5"), Strike::Claimed), "minute {minute}");
    }
}

#[test]
fn a_ban_outlives_a_flood_from_forged_addresses() {
    let (mut admission, start) = (admission(), Instant::now());
    for _ in 0..10 {
        admission.strike(start, ip("203.0.113.5"), Strike::Shown);
    }
    let mut random = Random::seeded(4);
    for n in 0..300_000u64 {
        let forged = IpAddr::from((random.next_u64() as u32).to_be_bytes());
        admission.admit(start + Duration::from_micros(n), forged, Standing::Unproven);
    }
    assert_eq!(admission.admit(start + BAN / 2, ip("203.0.113.5"), Standing::Unproven), Admit::Banned);
}

#[test]
fn a_proven_address_does_not_answer_for_what_others_send_in_its_name() {
    let (mut admission, start) = (admission(), Instant::now());
    let peer = ip("203.0.113.5");
    admission.prove(start, peer);
    assert!(admission.is_proven(start + PROOF / 2, peer) && !admission.is_proven(start + PROOF, peer));
    assert!((0..100).all(|_| !admission.strike(start, peer, Strike::Claimed)));
    let banned = (0..10).any(|_| admission.strike(start, peer, Strike::Shown));
    assert!(banned && !admission.is_proven(start, peer), "wrong passwords over our nonces are its own");
}

#[test]
fn ipv4_over_a_dual_stack_socket_is_the_same_address() {
    let (mut admission, start) = (admission(), Instant::now());
    admission.prove(start, ip("::ffff:203.0.113.5"));
    assert!(admission.is_proven(start, ip("203.0.113.5")));
}

#[test]
fn strangers_are_never_admitted_and_leave_nothing_behind() {
    let (mut admission, start) = (admission(), Instant::now());
    assert_eq!(admission.admit(start, ip("203.0.113.5"), Standing::Stranger), Admit::Throttled);
    assert!(admission.is_empty());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 200, failure_persistence: None, ..proptest::prelude::ProptestConfig::default()
    })]

    #[test]
    fn any_course_of_datagrams_strikes_and_proofs_keeps_the_promises(
        ops in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..3_000),
    ) {
        crate::sip::fuzz::admission_ops(&ops);
    }
}
