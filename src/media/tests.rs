//! What only the inside can provoke.

use super::leg::{Command, example};
use super::*;
use crate::base::Random;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

#[test]
fn legs_move_between_tasks_and_workers_are_shared() {
    fn is_send<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    is_send::<Leg>();
    is_shared::<Workers>();
}

#[test]
fn a_panic_in_one_leg_ends_that_leg_only() {
    let config = MediaConfig {
        bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ports: 22_000..=22_099,
        workers: 1,
        ..MediaConfig::default()
    };
    let workers = Workers::start(config, Random::system()).unwrap();
    let (mut broken, mut sound) = (workers.open(LegMode::Agent).unwrap(), workers.open(LegMode::Agent).unwrap());
    for leg in [&mut broken, &mut sound] {
        leg.configure(example()).unwrap();
    }
    broken.commands.push(Command::Panic).unwrap();
    let started = Instant::now();
    while broken.events.try_pop() != Some(LegEvent::Panicked) {
        assert!(started.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    let before = sound.stats().sent;
    while sound.stats().sent < before + 10 {
        assert!(started.elapsed() < Duration::from_secs(10), "the other leg stopped too");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(workers.stats().legs, [1]);
}
