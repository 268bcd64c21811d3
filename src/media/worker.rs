//! One worker thread: the wheel, and the bell thread beside it.
//!
//! The wheel turns once in 20 ms and has ten slots of 2 ms. Each leg sits in one slot, chosen so that it is served soon after
//! its peer's packet arrived; few legs share few slots. A leg whose call listens is served in two halves: it hears in its own
//! slot and speaks a few slots later, so that an answer to what was heard leaves in the same turn. A call that keeps time gets
//! a beat a little before its leg speaks. The worker sleeps until the next slot that has work; slots that it slept through are
//! served at once, each leg once, however late it is.
//!
//! The bell wakes the calls whose rings have something and frees what ended legs leave behind, so that the
//! wheel takes no lock of a runtime or of the allocator.

use super::admission::{Admission, LatenessGauge};
use super::engine::{Engine, Scratch, Turn};
use super::limits::{BEAT_BEFORE, LEGS_PER_WORKER, SLOT, SLOTS};
use super::setup::Retired;
use super::shared::Shared;
use super::slots::{OpenSlots, slot_of, speaking_slot, tick_at, time_of};
use super::sys::{Datagrams, prefetch, raise_priority, thread_cpu_time};
use crate::audio::{VadMode, VoiceDetector};
use rtrb::{Consumer, Producer};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{Thread, park_timeout};
use std::time::{Duration, Instant, SystemTime};

/// How long a worker without legs sleeps before it looks around.
const IDLE: Duration = Duration::from_secs(1);
/// Turns with a heard peer before the first look at whether the leg sits in the best slot: in two seconds packets
/// show when they come.
const ALIGN_FIRST: u32 = 100;
/// Turns between two further looks, 10 s: every move makes one of our packets leave early.
const ALIGN_EVERY: u32 = 500;
/// A leg is moved when it is served this much later than it could be, in microseconds: two slots.
const ALIGN_WORTH_US: i64 = 4_000;
/// Kept between arrival and service, in microseconds, for the scheduler's sake.
const ALIGN_MARGIN_US: i64 = 2_000;
/// CPU time is read every so many slots.
const CPU_EVERY: u64 = 64;

/// What a worker and its owner share.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) stop: AtomicBool,
    pub(super) legs: AtomicUsize,
    pub(super) slots: AtomicU64,
    pub(super) late_slots: AtomicU64,
    pub(super) missed_turns: AtomicU64,
    pub(super) worst_late_us: AtomicU64,
    pub(super) cpu_us: AtomicU64,
    /// It takes no further legs, and the share of late slots in millionths.
    pub(super) is_overloaded: AtomicBool,
    pub(super) late_share: AtomicU32,
    pub(super) priority: OnceLock<&'static str>,
}

struct Resident {
    engine: Box<Engine>,
    voice: VoiceDetector,
    /// The tick at which it is due.
    due: u64,
    until_aligned: u32,
    /// Its turn is half done.
    speaks: bool,
    /// Its turns are done in halves.
    is_halved: bool,
    /// Its call keeps time.
    beats: bool,
}

/// What is done for a leg in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Half {
    /// All of its turn, or the first half.
    Hear,
    /// The second half, [`SPEAK_AFTER`](super::limits::SPEAK_AFTER) slots later.
    Speak,
}

/// The worker's ends of its rings.
pub(super) struct Worker {
    pub(super) gauges: Arc<Gauges>,
    pub(super) inbox: Consumer<Box<Engine>>,
    pub(super) ready: Producer<Arc<Shared>>,
    pub(super) retired: Producer<Retired>,
    pub(super) bell: Thread,
    pub(super) vad: VadMode,
    pub(super) admission: Admission,
    pub(super) raise_priority: bool,
}

struct Wheel {
    slots: [Vec<Resident>; SLOTS],
    spare_voices: Vec<VoiceDetector>,
    datagrams: Datagrams,
    scratch: Box<Scratch>,
    lateness: LatenessGauge,
}

impl Worker {
    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        let _ = self.gauges.priority.set(if self.raise_priority { raise_priority() } else { "normal" });
        let mut wheel = Wheel::new(self.admission);
        let epoch = Instant::now();
        let mut next: u64 = 0;
        while !self.gauges.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            let current = tick_at(epoch, now);
            wheel.lateness.advance(now);
            self.gauges.is_overloaded.store(wheel.lateness.is_overloaded(), Ordering::Relaxed);
            self.gauges.late_share.store((wheel.lateness.late_share() * 1e6) as u32, Ordering::Relaxed);
            self.take_in(&mut wheel, current);
            // Whatever is older than one turn of the wheel is past: its legs are in the slots that follow.
            next = next.max((current + 1).saturating_sub(SLOTS as u64));
            while next <= current {
                self.run_slot(&mut wheel, epoch, next);
                next += 1;
            }
            // Recomputed after every wake-up: a new leg may sit in a slot before the one slept for.
            let sleep = wheel
                .next_occupied(next)
                .map_or(IDLE, |tick| time_of(epoch, tick).saturating_duration_since(Instant::now()));
            park_timeout(sleep);
        }
        for slot in &mut wheel.slots {
            for resident in slot.drain(..) {
                let _ = self.retired.push(Retired::Engine(resident.engine));
            }
        }
        self.bell.unpark();
    }

    /// Gives new legs the emptiest of the open slots.
    fn take_in(&mut self, wheel: &mut Wheel, current: u64) {
        while let Ok(engine) = self.inbox.pop() {
            let voice = match wheel.spare_voices.pop() {
                Some(mut voice) => {
                    voice.restart(self.vad);
                    voice
                }
                None => VoiceDetector::new(self.vad, false),
            };
            let open = self.open_slots();
            let emptiest = (current + 1..=current + SLOTS as u64)
                .filter(|tick| open.has(*tick))
                .min_by_key(|tick| wheel.slots.get(slot_of(*tick)).map_or(usize::MAX, Vec::len))
                .unwrap_or(current + 1);
            if let Some(slot) = wheel.slots.get_mut(slot_of(emptiest)) {
                let until_aligned = ALIGN_FIRST;
                slot.push(Resident {
                    engine,
                    voice,
                    due: emptiest,
                    until_aligned,
                    speaks: false,
                    is_halved: false,
                    beats: false,
                });
            }
        }
    }

    fn open_slots(&self) -> OpenSlots {
        OpenSlots::of(self.gauges.legs.load(Ordering::Relaxed))
    }

    fn run_slot(&mut self, wheel: &mut Wheel, epoch: Instant, tick: u64) {
        if !wheel.has_work(tick) {
            return;
        }
        self.note_slot(epoch, tick, &mut wheel.lateness);
        let [spoke, heard] = [Half::Speak, Half::Hear].map(|half| self.run_half(wheel, tick, half));
        if self.beat(wheel, tick) || spoke || heard {
            self.bell.unpark();
        }
    }

    /// Tells the calls that keep time that their legs speak soon; true when the bell must be woken.
    fn beat(&mut self, wheel: &Wheel, tick: u64) -> bool {
        let mut wake = false;
        for resident in wheel.beating(tick) {
            resident.engine.shared.beat.store(true, Ordering::Release);
            wake |= self.ring(&resident.engine.shared);
        }
        wake
    }

    /// Serves the legs of a slot whose half is due at this tick; true when the bell must be woken.
    fn run_half(&mut self, wheel: &mut Wheel, tick: u64, half: Half) -> bool {
        let Wheel { slots, spare_voices, datagrams, scratch, .. } = wheel;
        let number = match half {
            Half::Hear => slot_of(tick),
            Half::Speak => speaking_slot(tick),
        };
        let Some(mut residents) = slots.get_mut(number).map(std::mem::take) else { return false };
        let (mut wake, mut n, open) = (false, 0, self.open_slots());
        if let Some(first) = residents.first() {
            prefetch(&*first.engine);
        }
        while n < residents.len() {
            look_ahead(&residents, n);
            let Some(resident) = residents.get_mut(n) else { break };
            let has_to_wait = match half {
                Half::Hear => !resident.is_due(tick),
                Half::Speak => !resident.speaks,
            };
            if has_to_wait {
                n += 1;
                continue;
            }
            let missed = match half {
                Half::Hear => tick.saturating_sub(resident.due) / SLOTS as u64,
                Half::Speak => 0,
            };
            if missed > 0 {
                self.gauges.missed_turns.fetch_add(missed, Ordering::Relaxed);
            }
            let mut turn = Turn {
                now: Instant::now(),
                wall: SystemTime::now(),
                missed: missed.min(1_000) as u32,
                datagrams,
                scratch,
                retired: &mut self.retired,
                voice: &mut resident.voice,
            };
            let survived = catch_unwind(AssertUnwindSafe(|| match half {
                Half::Hear => resident.engine.turn(&mut turn),
                Half::Speak => resident.engine.speak(&mut turn),
            }));
            if survived.is_err() {
                resident.engine.panicked();
            }
            if resident.engine.rings {
                wake |= self.ring(&resident.engine.shared);
            }
            resident.speaks = resident.engine.has_to_speak();
            if half == Half::Hear {
                (resident.is_halved, resident.beats) = (resident.speaks, resident.engine.keeps_time());
            }
            // A call that ends between the halves is let go by the next first one, which says goodbye to the peer.
            let is_over = half == Half::Hear && resident.engine.is_closed();
            if survived.is_err() || is_over {
                let resident = residents.swap_remove(n);
                spare_voices.push(resident.voice);
                self.gauges.legs.fetch_sub(1, Ordering::Relaxed);
                // A full ring cannot be: it has room for every leg. Were it, the leg is freed here.
                let _ = self.retired.push(Retired::Engine(resident.engine));
                wake = true;
                continue;
            }
            if half == Half::Speak {
                n += 1;
                continue;
            }
            resident.due = tick + SLOTS as u64;
            match resident.earlier_by(open) {
                Some(slots_earlier) if self.move_leg(slots, &mut residents, n, slots_earlier) => {}
                _ => n += 1,
            }
        }
        if let Some(slot) = slots.get_mut(number) {
            *slot = residents;
        }
        wake
    }

    /// Moves a leg to a slot further ahead in the wheel; false when that slot has no room without allocating.
    fn move_leg(
        &self,
        slots: &mut [Vec<Resident>; SLOTS],
        residents: &mut Vec<Resident>,
        n: usize,
        earlier: u64,
    ) -> bool {
        let Some(due) = residents.get(n).map(|r| r.due - earlier) else { return false };
        let Some(slot) = slots.get_mut(slot_of(due)).filter(|slot| slot.len() < slot.capacity()) else { return false };
        let mut resident = residents.swap_remove(n);
        resident.due = due;
        slot.push(resident);
        true
    }

    /// Puts a leg on the bell's list if its call waits; true when the bell must be woken.
    fn ring(&mut self, shared: &Arc<Shared>) -> bool {
        // Pairs with the fence in `Leg::ready`: either the call sees the ring's content, or we see it waiting.
        fence(Ordering::SeqCst);
        if !shared.waiting.swap(false, Ordering::AcqRel) {
            return false;
        }
        if self.ready.push(Arc::clone(shared)).is_err() {
            shared.waiting.store(true, Ordering::Release);
        }
        true
    }

    fn note_slot(&self, epoch: Instant, tick: u64, lateness: &mut LatenessGauge) {
        let gauges = &*self.gauges;
        let slots = gauges.slots.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let late = now.saturating_duration_since(time_of(epoch, tick));
        lateness.record(now, late);
        if late > SLOT {
            gauges.late_slots.fetch_add(1, Ordering::Relaxed);
        }
        gauges.worst_late_us.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
        if slots.is_multiple_of(CPU_EVERY) {
            gauges.cpu_us.store(thread_cpu_time().as_micros() as u64, Ordering::Relaxed);
        }
    }
}

impl Resident {
    /// Whether its turn has come. A tick that the worker slept through is older than a leg that came to its slot since.
    fn is_due(&self, tick: u64) -> bool {
        self.due <= tick
    }

    /// By how many slots it should be served earlier, in an open one, when it is time to look.
    fn earlier_by(&mut self, open: OpenSlots) -> Option<u64> {
        if !self.engine.hears() {
            return None;
        }
        self.until_aligned = self.until_aligned.saturating_sub(1);
        if self.until_aligned > 0 {
            return None;
        }
        // Seen from when it is due next: the packet for that turn is on its way.
        let excess = self.engine.excess_us(Instant::now() + SLOT * SLOTS as u32)?;
        self.until_aligned = ALIGN_EVERY;
        if excess < ALIGN_WORTH_US {
            return None;
        }
        let most = u64::try_from((excess - ALIGN_MARGIN_US) / SLOT.as_micros() as i64).ok()?;
        (1..=most.min(SLOTS as u64 - 1)).rev().find(|earlier| open.has(self.due - earlier))
    }
}

impl Wheel {
    /// One without legs. Allocates all that it will ever need, but for the voice detectors.
    fn new(admission: Admission) -> Self {
        Self {
            slots: std::array::from_fn(|_| Vec::with_capacity(LEGS_PER_WORKER / SLOTS)),
            spare_voices: Vec::with_capacity(LEGS_PER_WORKER),
            datagrams: Datagrams::new(),
            scratch: Scratch::new(),
            lateness: LatenessGauge::new(admission, Instant::now()),
        }
    }

    /// Whether a leg is to be served at this tick.
    fn has_work(&self, tick: u64) -> bool {
        self.slots.get(slot_of(tick)).is_some_and(|slot| slot.iter().any(|resident| resident.is_due(tick)))
            || self.slots.get(speaking_slot(tick)).is_some_and(|slot| slot.iter().any(|resident| resident.speaks))
            || self.beating(tick).next().is_some()
    }

    /// The legs that speak soon after this tick and whose calls keep time.
    fn beating(&self, tick: u64) -> impl Iterator<Item = &Resident> {
        let then = tick + BEAT_BEFORE as u64;
        let legs = |number: usize| self.slots.get(number).into_iter().flatten().filter(|resident| resident.beats);
        // A leg that is served in one piece speaks in its own slot.
        let half = legs(speaking_slot(then)).filter(|resident| resident.speaks);
        half.chain(legs(slot_of(then)).filter(move |resident| !resident.is_halved && resident.due == then))
    }

    /// The first tick from `from` on at which there is work.
    fn next_occupied(&self, from: u64) -> Option<u64> {
        (from..from + SLOTS as u64).find(|tick| self.has_work(*tick))
    }
}

/// Asks for what the legs behind this one need, while it is served.
fn look_ahead(residents: &[Resident], n: usize) {
    if let Some(second) = residents.get(n + 2) {
        prefetch(&*second.engine);
    }
    if let Some(next) = residents.get(n + 1) {
        if n == 0 {
            prefetch(&*next.engine);
        }
        next.engine.prefetch();
    }
}

/// The bell's loop: wakes calls, frees ended legs.
pub(super) fn run_bell(gauges: &Gauges, mut ready: Consumer<Arc<Shared>>, mut retired: Consumer<Retired>) {
    loop {
        while let Ok(shared) = ready.pop() {
            shared.waker.wake();
        }
        while let Ok(retired) = retired.pop() {
            if let Retired::Engine(engine) = retired {
                engine.shared.waker.wake();
            }
        }
        if gauges.stop.load(Ordering::Acquire) && retired.is_abandoned() && retired.is_empty() {
            return;
        }
        park_timeout(IDLE);
    }
}

#[cfg(test)]
mod tests;
