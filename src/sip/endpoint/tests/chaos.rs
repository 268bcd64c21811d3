//! Seeded runs on bad networks: loss, delay, duplication, reordering, and applications that do anything at any time.

use super::*;
use crate::sip::fuzz_ops::{Tally, transaction_ops};
use crate::sip::pair::Weather;

/// Promises are asserted in `fuzz_ops`: one end per leg, one final response per request, nothing left over.
fn random_operations(seeds: std::ops::Range<u64>) {
    let mut total = Tally::default();
    for seed in seeds {
        let mut random = Random::seeded(seed);
        let length = 8 + random.below(100) as usize;
        // Calls, changes, agreement and time are likelier than in a byte soup, so that runs get deep.
        let likely = [0, 2, 3, 7, 13, 13, 15, 15, 16];
        let bytes: Vec<u8> = (0..length)
            .map(|i| match random.below(14) as usize {
                n if i % 2 == 0 && n < likely.len() => likely[n],
                n if i % 2 == 1 && n < 4 => random.below(16) as u8,
                _ => random.below(256) as u8,
            })
            .collect();
        let run = std::panic::catch_unwind(|| transaction_ops(&bytes));
        let Ok(tally) = run else { panic!("seed {seed}: {bytes:?}") };
        total += tally;
    }
    // A run that stays at the surface proves nothing.
    assert!(total.established > 2_000 && total.cancelled > 200 && total.timeouts > 200, "{total:?}");
    assert!(total.reoffers > 200 && total.transfers > 200 && total.pracks > 200, "{total:?}");
    assert!(total.updates > 1_000 && total.failovers > 100 && total.replacements > 20, "{total:?}");
    assert!(total.agreements > 100, "{total:?}");
}

// 10,000 runs in all, in parts that the test runner spreads over the cores.

#[test]
fn random_operations_keep_every_promise_in_runs_0_to_2000() {
    random_operations(0..2_000);
}

#[test]
fn random_operations_keep_every_promise_in_runs_2000_to_4000() {
    random_operations(2_000..4_000);
}

#[test]
fn random_operations_keep_every_promise_in_runs_4000_to_6000() {
    random_operations(4_000..6_000);
}

#[test]
fn random_operations_keep_every_promise_in_runs_6000_to_8000() {
    random_operations(6_000..8_000);
}

#[test]
fn random_operations_keep_every_promise_in_runs_8000_to_10000() {
    random_operations(8_000..10_000);
}

/// A plain call, answered and hung up by either side, on networks from fair to hopeless.
#[test]
fn calls_on_bad_networks_end_the_same_on_both_sides() {
    let mut completed = 0;
    for seed in 0..1000 {
        let mut pair = Pair::new(Instant::now(), seed);
        pair.weather = Weather {
            loss: f64::from(u32::try_from(seed % 4).unwrap()) * 0.1,
            duplication: 0.1,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(300),
        };
        let alice = pair.call(Side::Alice, "offer").unwrap();
        assert!(pair.run_for(Duration::from_secs(20)));
        if let Some(bob) = incoming(&mut pair, Side::Bob) {
            let now = pair.now;
            pair.bob.answer(now, bob, b"answer".to_vec()).unwrap();
            assert!(pair.run_for(Duration::from_secs(25)));
            let both_up = answered(&mut pair, Side::Alice).is_some()
                && pair.take(Side::Bob, |e| matches!(e, Event::Established { .. }).then_some(())).is_some();
            completed += u32::from(both_up);
            let now = pair.now;
            let _ = if seed % 2 == 0 { pair.alice.hangup(now, alice, &[]) } else { pair.bob.hangup(now, bob, &[]) };
        }
        assert_idle_after(&mut pair, 6 * MINUTE);
    }
    assert!(completed >= 990, "{completed} of 1000 calls came up");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let start = Instant::now();
    let run = || {
        let mut pair = Pair::new(start, 42);
        pair.weather.loss = 0.2;
        let (alice, _) = (pair.call(Side::Alice, "offer").unwrap(), pair.call(Side::Bob, "offer").unwrap());
        assert!(pair.run_for(Duration::from_secs(5)));
        let now = pair.now;
        pair.alice.hangup(now, alice, &[]).unwrap();
        assert!(pair.run_for(6 * MINUTE));
        pair.wire
    };
    assert_eq!(run(), run());
}
