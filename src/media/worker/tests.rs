use super::*;
use crate::base::Random;
use crate::media::engine::{Ends, Settings};
use crate::media::{LegMode, MediaConfig};
use rtrb::RingBuffer;
use std::net::UdpSocket;

fn engine() -> Box<Engine> {
    let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = MediaConfig::default();
    let settings = Settings { media_timeout: config.media_timeout, rtcp_interval: config.rtcp_interval };
    let ends = Ends {
        shared: Arc::default(),
        socket: Arc::new(socket()),
        rtcp: socket(),
        commands: RingBuffer::new(1).1,
        events: RingBuffer::new(1).0,
    };
    Box::new(Engine::new(Instant::now(), LegMode::Agent, settings, ends, &mut Random::seeded(1)))
}

#[test]
fn a_leg_that_comes_to_a_worker_that_has_slept_is_due_after_that_and_never_late() {
    let (mut opened, inbox) = RingBuffer::new(8);
    let mut worker = Worker {
        gauges: Arc::default(),
        inbox,
        ready: RingBuffer::new(8).0,
        retired: RingBuffer::new(8).0,
        bell: std::thread::current(),
        vad: VadMode::default(),
        admission: Admission::default(),
        raise_priority: false,
    };
    let mut wheel = Wheel::new(Admission::default());
    for (current, legs) in [(1_000, 1), (1_013, 2), (1_027, 3)] {
        opened.push(engine()).unwrap();
        worker.gauges.legs.fetch_add(1, Ordering::Relaxed);
        let before: Vec<u64> = (current - 9..=current).filter(|tick| wheel.has_work(*tick)).collect();
        worker.take_in(&mut wheel, current);
        let after: Vec<u64> = (current - 9..=current).filter(|tick| wheel.has_work(*tick)).collect();
        assert_eq!(before, after, "{current}: what was due before it came");
        assert_eq!(wheel.slots.iter().map(Vec::len).sum::<usize>(), legs);
        let newest = wheel.slots.iter().flatten().map(|resident| resident.due).max();
        assert!(newest.is_some_and(|due| due > current && due <= current + SLOTS as u64), "{newest:?}");
    }
}
